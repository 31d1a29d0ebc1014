"""The checks before a run see what is dead and what cannot learn, and leave no trace."""

from __future__ import annotations

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
    same,
    source,
    weights,
)

from kinema.errors import InputError
from kinema.training import preflight
from kinema.training.objective import Objective


def check(objective: Objective, dead: dict[str, str] | None = None) -> None:
    held_out = source(tuple(range(100, 104)))
    preflight.check(objective, source, held_out, RECIPE, dead=dead or {}, device="cpu")


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
    reading = plan.data(model, recipe, str(folder) if stage == "generator" else None)
    before, parts = weights(objective), weights(model.parts)
    random = torch.get_rng_state()
    preflight.check(objective, reading.source, reading.held_out, recipe, dead={}, device="cpu")
    assert same(weights(objective), before)
    assert same(weights(model.parts), parts)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in objective.parameters())
