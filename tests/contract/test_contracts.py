"""What every system keeps to, those with networks on the real classes at nano size.

A system is tested as soon as it is registered. A stage reads its own world, or latents that a codec
of its system has made of clips of the world `shapes`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kinema import registry
from kinema.config import from_dict, to_json
from kinema.data import latents
from kinema.data.clips import SPLITS, split_of
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.training.encode import encode_world, latent_key
from kinema.training.objective import Objective
from kinema.training.run import Run
from kinema.training.stage import Data
from kinema.training.trainer import Trainer

NANO = 200_000
ROWS = (3, 8)
ROUNDING = 1e-9  # a gradient that is nowhere larger is none


@cache
def systems() -> dict[str, Any]:
    """The classes of all systems, by name."""
    return {name: registry.system_class(name) for name in registry.cards()}


def models() -> dict[str, Any]:
    """The classes of the systems that have networks, by name."""
    return {name: system for name, system in systems().items() if hasattr(system, "PARTS")}


def jobs() -> list[tuple[str, str]]:
    return [(name, job) for name, system in systems().items() for job in system.JOBS]


def stages() -> list[tuple[str, str]]:
    return [(name, stage) for name, system in models().items() for stage in system.STAGES]


def presets() -> list[tuple[str, str]]:
    return [(name, preset) for name, system in models().items() for preset in system.PRESETS]


def nano(name: str) -> Any:
    """A system at nano size with fixed weights, none of them zero.

    Layers that start at zero would hide what lies before them.
    """
    torch.manual_seed(0)
    model = models()[name](models()[name].PRESETS["nano"]())
    stir(model.parts)
    return model


@torch.no_grad()
def stir(module: nn.Module) -> None:
    """Adds keyed noise to all parameters, in proportion to their size."""
    for name, parameter in module.named_parameters():
        noise = Noise(0, (0,)).normal((1, *parameter.shape), name)[0]
        fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 100
        parameter.add_(noise.to(parameter), alpha=0.3 / fan_in**0.5)


class Leg:
    """One stage of a nano system: its objective in float32, its recipe, its data."""

    def __init__(self, name: str, stage: str, folder: Path) -> None:
        self.model = nano(name)
        self.plan = self.model.STAGES[stage]
        # Equality to the last digits is a matter of float32.
        self.recipe = replace(self.plan.recipes["nano"], precision="float32")
        self.folder = folder
        self.objective: Objective = self.plan.objective(self.model, self.recipe)
        self.data: Data = self.plan.read(self.model, self.recipe, self._named())

    @property
    def last(self) -> int:
        """The last step, in which all players move."""
        return self.recipe.steps - 1

    def run(self, objective: Objective, folder: str) -> Run:
        trainer = Trainer(objective, self.data.source, self.recipe, seed=0, device="cpu")
        held_out = self.data.held_out
        return Run(trainer, self.folder / folder, held_out=held_out, sheet=Path.touch)

    def losses(self, samples: tuple[int, ...] = ROWS) -> dict[str, Tensor]:
        """The loss of each player in the last step, on these samples."""
        batch, noise = self.data.source(samples), Noise(0, samples)
        turns = self.objective.turns(self.last)
        return {p: self.objective.loss(p, batch, self.last, noise)[0] for p in turns}

    def gradients(self) -> dict[str, Tensor | None]:
        """The gradient of each trained parameter for its player's loss, in training."""
        self.objective.train()
        batch, noise = self.data.source(ROWS), Noise(0, ROWS)
        found: dict[str, Tensor | None] = {}
        for player in self.objective.turns(self.last):
            trained = self.objective.trained(player)
            loss, _ = self.objective.loss(player, batch, self.last, noise)
            values = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
            found |= dict(zip(trained, values))
        return found

    def _named(self) -> str | None:
        if not self.plan.latents_of:
            return None
        codec = self.model.parts[self.plan.latents_of]
        for split in SPLITS:
            world = split_of("shapes", split, self.model.config.sampling)
            encode = partial(encode_world, self.model.encoded, self.model.told, world, batch_size=8)
            folder = self.folder / "latents" / split
            key = latent_key(codec, world, self.model.STILLS)
            latents.write(folder, key, self.recipe.held_out, encode)
        return str(self.folder / "latents")


@pytest.fixture(params=stages(), ids=".".join)
def leg(request: pytest.FixtureRequest, tmp_path: Path) -> Leg:
    return Leg(*request.param, tmp_path)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


def test_there_are_systems() -> None:
    assert models()


# -- configurations and sizes ---------------------------------------------------------------


@pytest.mark.parametrize(("name", "preset"), presets())
def test_a_preset_is_equal_after_json(name: str, preset: str) -> None:
    system = models()[name]
    config = system.PRESETS[preset]()
    assert type(config) is system.CONFIG
    assert from_dict(system.CONFIG, json.loads(to_json(config))) == config


@pytest.mark.parametrize(("name", "preset"), presets())
def test_a_preset_builds_on_meta_with_one_network_per_role(name: str, preset: str) -> None:
    system = models()[name]
    model = system(system.PRESETS[preset](), device="meta")
    assert list(model.parts) == list(system.PARTS)
    assert all(value.is_meta for value in model.parts.state_dict().values())
    assert not model.parts.training


@pytest.mark.parametrize("name", models())
def test_sizes_rise_from_nano_to_full(name: str) -> None:
    system = models()[name]
    count = {}
    for preset in ("nano", "tiny", "full"):
        parts = system(system.PRESETS[preset](), device="meta").parts
        count[preset] = sum(parameter.numel() for parameter in parts.parameters())
    assert count["nano"] < NANO
    assert count["nano"] < count["tiny"] < count["full"]


@pytest.mark.parametrize("name", models())
def test_stages_name_roles_and_stages(name: str) -> None:
    system = models()[name]
    for stage, plan in system.STAGES.items():
        assert set(plan.trains) <= set(system.PARTS), stage
        assert set(plan.starts_from) <= set(system.STAGES) - {stage}, stage
        assert not plan.latents_of or plan.latents_of in system.PARTS, stage
    codecs = {plan.latents_of for plan in system.STAGES.values() if plan.latents_of}
    assert len(codecs) <= 1, "`kinema encode` takes the one network whose latents are read"


# -- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models())
def test_what_is_saved_is_loaded_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = nano(name)
    model.save_pretrained(tmp_path / "model.safetensors")
    again = models()[name].from_pretrained(tmp_path / "model.safetensors")
    assert again.config == model.config
    assert not again.parts.training
    assert_equal(state(again.parts), state(model.parts))
    again.save_pretrained(tmp_path / "again.safetensors")
    first, second = (tmp_path / f"{n}.safetensors" for n in ("model", "again"))
    assert first.read_bytes() == second.read_bytes()


# -- stages ---------------------------------------------------------------------------------


def test_losses_are_finite_and_deterministic(leg: Leg) -> None:
    leg.objective.eval()
    first = leg.losses()
    torch.rand(1)  # nothing draws from the global generator
    second = leg.losses()
    assert first.keys() == set(leg.objective.players)
    for player, loss in first.items():
        assert loss.ndim == 0
        assert torch.isfinite(loss), player
        assert torch.equal(loss, second[player]), player
        assert loss.requires_grad, player


def test_players_train_what_the_stage_says(leg: Leg) -> None:
    trained = {
        id(parameter)
        for player in leg.objective.players
        for parameter in leg.objective.trained(player).values()
    }
    for role, part in leg.model.parts.items():
        own = {id(parameter) for parameter in part.parameters()}
        assert own <= trained if role in leg.plan.trains else not own & trained, role


def test_a_gradient_reaches_every_trained_parameter(leg: Leg) -> None:
    dead = leg.model.CARD.dead
    for name, gradient in leg.gradients().items():
        alive = gradient is not None and bool((gradient.abs() > ROUNDING).any())
        known = any(fnmatchcase(name, pattern) for pattern in dead)
        assert alive != known, f"{name} {'has a' if alive else 'has no'} gradient"
        assert gradient is None or torch.isfinite(gradient).all(), name


def test_rows_are_independent(leg: Leg) -> None:
    if leg.model.CARD.coupled:
        pytest.skip(leg.model.CARD.coupled)
    leg.objective.eval()
    with torch.no_grad():
        together = leg.losses()
        alone = [leg.losses((row,)) for row in ROWS]
    for player, loss in together.items():
        mean = torch.stack([losses[player] for losses in alone]).mean()
        torch.testing.assert_close(loss, mean, rtol=1e-5, atol=1e-5)
        assert not torch.equal(alone[0][player], alone[1][player]), "the rows are alike"


def test_gradient_checkpointing_changes_nothing(leg: Leg) -> None:
    parts = [p for p in leg.model.parts.values() if hasattr(p, "gradient_checkpointing")]
    if not parts:
        pytest.skip("no network of this system runs its blocks again")
    kept = state(leg.objective)
    plain = leg.gradients()
    leg.objective.load_state_dict(kept)  # statistics follow the data in training
    for part in parts:
        part.gradient_checkpointing = True
    again = leg.gradients()
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        if gradient is not None:
            torch.testing.assert_close(again[name], gradient, rtol=1e-6, atol=1e-8, msg=name)


def test_two_steps_and_two_after_resuming_are_four(leg: Leg) -> None:
    untouched = copy.deepcopy(leg.objective)
    whole = leg.run(leg.objective, "whole").trainer
    expected = steps(whole, 4)
    first = leg.run(copy.deepcopy(untouched), "cut")
    logs = steps(first.trainer, 2)
    first.save()
    second = leg.run(untouched, "cut")
    assert second.resume()
    logs += steps(second.trainer, 2)
    assert logs == expected
    assert_equal(state(second.trainer.objective), state(whole.objective))
    assert_equal(second.trainer.ema.average, whole.ema.average)


def steps(trainer: Trainer, count: int) -> list[dict[str, float]]:
    """Trains a few steps; the numbers of each without what depends on the clock."""
    logs = []
    for _ in range(count):
        line = trainer.train_step()
        trainer.step += 1
        logs.append({k: v for k, v in line.items() if not k.startswith("seconds")})
    return logs


def test_held_out_numbers_are_finite(leg: Leg) -> None:
    leg.objective.eval()
    noise = Noise(1, tuple(range(leg.recipe.held_out)))
    with torch.no_grad():
        logs = leg.objective.held_out(leg.data.held_out, noise)
    assert logs
    for name, value in logs.items():
        assert np.isfinite(float(value)), name


def test_a_sheet_is_drawn(leg: Leg) -> None:
    with torch.no_grad():
        leg.plan.sheet(leg.model, leg.data.held_out, leg.folder / "sheet.png")
    assert (leg.folder / "sheet.png").stat().st_size > 1000


# -- jobs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "job"), jobs())
def test_a_job_does_the_same_again(name: str, job: str, tmp_path: Path) -> None:
    system = nano(name) if name in models() else systems()[name]()
    inputs = system.example(job, tmp_path)
    takes, gives = system.JOBS[job].takes, system.JOBS[job].gives
    assert {key: type(value) for key, value in inputs.items()} == takes
    written = [files(system.run(inputs, seed, job), gives, tmp_path) for seed in (0, 0, 1)]
    assert written[0] == written[1]
    if system.CARD.kind == "generator":
        assert written[0] != written[2], "the seed changes nothing"


def files(made: Mapping[str, Any], gives: Mapping[str, Any], folder: Path) -> dict[str, bytes]:
    """The files of the artefacts that a job made."""
    assert {key: type(artefact) for key, artefact in made.items()} == gives
    content = {}
    for key, artefact in made.items():
        path = folder / f"{key}{artefact.SUFFIXES[0]}"
        artefact.write(path, overwrite=True)
        content[key] = path.read_bytes()
    return content


@pytest.mark.parametrize("name", systems())
def test_a_job_names_inputs_that_do_not_fit(name: str, tmp_path: Path) -> None:
    system = nano(name) if name in models() else systems()[name]()
    job = next(iter(system.JOBS))
    inputs = system.example(job, tmp_path)
    with pytest.raises(InputError, match="unknown input"):
        system.run({**inputs, "inputt": None}, 0)
    with pytest.raises(InputError, match="needs"):
        system.run(dict(list(inputs.items())[1:]), 0)
    with pytest.raises(InputError, match="unknown job"):
        system.run(inputs, 0, "no job")


@pytest.mark.parametrize("name", systems())
def test_a_card_of_the_class_is_the_one_that_was_read(name: str) -> None:
    assert registry.card(name) == systems()[name].CARD
