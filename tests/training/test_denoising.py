"""The objective of generators: the process's loss under prepared conditions, by noise level."""

from __future__ import annotations

import pytest
import torch
from nano_stage import fresh, recipe_of, write_latents
from torch import Tensor, nn

from kinema.condition import Conditions
from kinema.noise import Noise
from kinema.processes.edm import EDM, v_scaling
from kinema.systems.ltx_video import LTXVideo
from kinema.training.denoising import LEVELS, DenoisingObjective, Prepared
from kinema.training.objective import Batch
from kinema.training.stage import Data

NOISE = Noise(0, (0, 1, 2, 3))
RECIPE = recipe_of("generator")


@pytest.fixture(scope="module")
def model() -> LTXVideo:
    return fresh()


@pytest.fixture(scope="module")
def reading(model: LTXVideo, tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("latents")
    write_latents(folder, model)
    return model.STAGES["generator"].read(model, RECIPE, str(folder))


def objective(model: LTXVideo) -> DenoisingObjective:
    made = model.STAGES["generator"].objective(model, RECIPE)
    assert isinstance(made, DenoisingObjective)
    return made


def test_the_player_owns_transformer_text_and_a_head(model: LTXVideo) -> None:
    made = objective(model)
    trained = {id(p) for p in made.trained("generator").values()}
    networks = (model.transformer, model.text, made.networks["shown"])
    parts = [p for network in networks for p in network.parameters()]
    assert trained == {id(p) for p in parts}


def test_held_out_is_the_loss_by_noise_level(model: LTXVideo, reading: Data) -> None:
    logs = objective(model).eval().held_out(reading.held_out, NOISE)
    levels = [float(logs[f"loss/t={level}"]) for level in LEVELS]
    assert float(logs["loss"]) == pytest.approx(sum(levels) / len(levels))
    # The output layer starts at zero, so an untrained network is the trivial predictor.
    assert levels == pytest.approx([float(logs["trivial"])] * len(levels))


def test_times_captions_and_drops_are_keyed(model: LTXVideo, reading: Data) -> None:
    made = objective(model)
    batch = reading.source((0, 1, 2, 3))
    loss = made.loss("generator", batch, 0, NOISE)[0]
    torch.rand(3)
    assert torch.equal(made.loss("generator", batch, 5, NOISE)[0], loss)
    assert not torch.equal(made.loss("generator", batch, 0, Noise(1, NOISE.samples))[0], loss)


def test_text_is_dropped_as_often_as_the_configuration_says(model: LTXVideo, reading: Data) -> None:
    made = objective(model)
    samples = tuple(range(300))
    prepared = made.prepare(reading.source(samples), Noise(0, samples))
    words = prepared.conditions["text"].mask.sum(1)
    dropped = float((words == 1).float().mean())  # the begin token alone
    assert dropped == pytest.approx(RECIPE.text_drop, abs=0.05)
    assert len(words.unique()) > 5, "always the same caption of a clip"


class Silent(nn.Linear):
    """A network that gives 0 and notes the times it is told."""

    def forward(self, x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        """Zeros like x."""
        self.times = [*getattr(self, "times", []), time]
        return 0 * super().forward(x)


def test_held_out_levels_are_the_process_s_own() -> None:
    process = EDM(sigma_data=0.5, sigma_max=80.0, P_mean=0.0, P_std=1.0, preconditioning=v_scaling)
    network, data = Silent(3, 3), 0.5 * NOISE.normal((4, 2000, 3), "data")

    def prepare(batch: Batch, noise: Noise) -> Prepared:
        return Prepared(x0=data, conditions=Conditions({}), noise=noise)

    made = DenoisingObjective({"net": network}, predict="net", process=process, prepare=prepare)
    logs = made.held_out({}, NOISE)
    assert list(logs) == [*(f"loss/t={u}" for u in (0.1, 0.3, 0.5, 0.7, 0.9)), "loss", "trivial"]
    for level, time in zip(LEVELS, network.times):
        sigma = torch.full((4,), 0.5 * level / (1 - level))
        torch.testing.assert_close(time, sigma.log() / 4)
    # Preconditioning gives every level a target of variance 1.
    assert [float(value) for value in logs.values()] == pytest.approx([1.0] * 7, rel=0.05)
    torch.testing.assert_close(logs["trivial"], logs["loss"])
