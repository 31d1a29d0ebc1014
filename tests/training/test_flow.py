"""The objective of generators: the process's loss under prepared conditions, by noise level."""

from __future__ import annotations

import pytest
import torch
from nano_stage import fresh, recipe_of, write_latents

from kinema.noise import Noise
from kinema.systems.ltx_video import LTXVideo
from kinema.training.flow import LEVELS, FlowObjective
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
    return model.STAGES["generator"].data(model, RECIPE, str(folder))


def objective(model: LTXVideo) -> FlowObjective:
    made = model.STAGES["generator"].objective(model, RECIPE)
    assert isinstance(made, FlowObjective)
    return made


def test_the_player_owns_transformer_and_text(model: LTXVideo) -> None:
    trained = {id(p) for p in objective(model).trained("generator").values()}
    parts = [p for role in ("transformer", "text") for p in model.parts[role].parameters()]
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
    _, conditions = made.prepare(reading.source(samples), Noise(0, samples))
    words = conditions["text"].mask.sum(1)
    dropped = float((words == 1).float().mean())  # the begin token alone
    assert dropped == pytest.approx(RECIPE.text_drop, abs=0.05)
    assert len(words.unique()) > 5, "always the same caption of a clip"
