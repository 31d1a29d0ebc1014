"""The checks before a run see what is dead and what cannot learn, and leave no trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from nano_stage import fresh, recipe_of, write_latents
from small_objectives import (
    RECIPE,
    Climbing,
    Game,
    Line,
    Unused,
    Zeroed,
    run,
    same,
    source,
    weights,
)

from kinema.errors import InputError
from kinema.training import checkpoint, preflight
from kinema.training.objective import Objective


def check(objective: Objective, dead: dict[str, str] | None = None) -> preflight.Cost:
    return preflight.check(objective, source, RECIPE, dead=dead or {}, device="cpu")


@pytest.mark.parametrize("objective", [Line, Game])
def test_what_can_learn_passes(objective: type[Objective]) -> None:
    check(objective())


@pytest.mark.parametrize("objective", [Unused, Zeroed])
def test_a_dead_tensor_is_named(objective: type[Objective]) -> None:
    with pytest.raises(InputError, match=r"2 trained tensors receive no gradient: line\.extra\.b"):
        check(objective())


def test_a_tensor_may_be_known_to_be_dead() -> None:
    check(Unused(), dead={"line.extra.*": "kept for the names of the authors' file"})


def test_a_dead_tensor_of_the_player_who_joins_later_is_seen() -> None:
    game = Game()
    game.mirror.extra = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"mirror\.extra"):
        check(game)


def test_what_cannot_learn_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be overfitted: the loss of line went from"):
        check(Climbing())


@pytest.mark.parametrize("stage", ["codec", "generator"])
def test_the_objective_stays_as_it_is(stage: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = fresh()
    folder = tmp_path_factory.mktemp("latents")
    write_latents(folder, model)
    plan, recipe = model.STAGES[stage], recipe_of(stage)
    objective = plan.objective(model, recipe)
    reading = plan.read(model, recipe, str(folder) if stage == "generator" else None)
    before, parts = weights(objective), weights(model.parts)
    random = torch.get_rng_state()
    preflight.check(objective, reading.source, recipe, dead={}, device="cpu")
    assert same(weights(objective), before)
    assert same(weights(model.parts), parts)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in objective.parameters())


def test_a_low_rate_passes_where_the_loss_falls() -> None:
    slow = replace(RECIPE, learning_rate=1e-5)
    preflight.check(Line(), source, slow, dead={}, device="cpu")
    with pytest.raises(InputError, match="cannot be overfitted"):
        preflight.check(Climbing(), source, slow, dead={}, device="cpu")


def test_it_tells_what_a_run_costs(tmp_path: Path) -> None:
    cost = check(Game())
    assert 0 < cost.seconds < 1
    assert cost.memory is not None
    assert 50e6 < cost.memory < 20e9
    saved = run(Game(), tmp_path)
    saved.trainer.step = RECIPE.steps - 1  # both players move
    saved.trainer.train_step()
    saved.save()
    tensors, _ = checkpoint.load(checkpoint.path_of(tmp_path, saved.trainer.step))
    assert cost.checkpoint == sum(tensor.nbytes for tensor in tensors.values())


@pytest.mark.parametrize(
    ("steps", "seconds", "memory", "said"),
    [
        (400, 0.1, None, "cost: 400 steps of 0.1 s are 40.0 seconds, beside the reports; two chec"),
        (400, 1.07, 2_480_000_000, "are 7.1 minutes, beside the reports; at most 2.48 GB of mem"),
        (20_000, 2.0, None, "cost: 20000 steps of 2 s are 11.1 hours, beside"),
    ],
)
def test_the_cost_is_one_line(steps: int, seconds: float, memory: int | None, said: str) -> None:
    told = preflight.Cost(seconds, memory, 56_400_000).told(replace(RECIPE, steps=steps))
    assert said in told
    assert told.endswith("two checkpoints of 56 MB")
