"""Checks before a long run: trained tensors receive gradients, and one batch can be overfitted."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from torch import Tensor

from kinema.errors import InputError
from kinema.training.objective import Batch, Objective
from kinema.training.recipe import Recipe
from kinema.training.trainer import Source, Trainer

LOGGER = logging.getLogger(__name__)
STEPS = 24
SAMPLES = 2
ENOUGH = 0.97  # the last loss on one batch over the first one


def check(
    objective: Objective,
    source: Source,
    held_out: Batch,
    recipe: Recipe,
    *,
    dead: Mapping[str, str],
    device: str,
) -> None:
    """Trains a copy for a few steps on one small batch, without touching the objective.

    Noise and turns are those of the run's last step, so that every player which ever joins the
    game moves. A player without a turn in that step is not checked.

    Args:
        dead: {pattern of parameter names: reason} that may stay without gradient.

    Raises:
        InputError: a trained tensor receives no gradient, or the first player's loss does not fall.
    """
    size = min(SAMPLES, recipe.batch_size)
    batch = source(tuple(range(size)))
    trainer = Trainer(
        copy.deepcopy(objective),
        lambda _: batch,
        held_out,
        replace(recipe, batch_size=size, accumulate=1, warmup=1, decay=0.0),
        folder=Path(),
        seed=0,
        device=device,
    )
    trainer.step = recipe.steps - 1  # it is never advanced, so the noise stays the same
    turns = objective.turns(trainer.step)
    silent = {
        name
        for player in turns
        for name in trainer.players[player]
        if not any(fnmatchcase(name, pattern) for pattern in dead)
    }
    for player in turns:
        for name, parameter in trainer.players[player].items():
            # The names that hear from it are struck off; a gradient of zeros does not count.
            def strike(parameter: Tensor, name: str = name) -> None:
                if parameter.grad is not None and parameter.grad.any():
                    silent.discard(name)

            parameter.register_post_accumulate_grad_hook(strike)
    losses = [trainer.train_step()[f"{turns[0]}/loss"] for _ in range(STEPS)]
    if silent:
        raise InputError(
            f"{len(silent)} trained tensors receive no gradient: {', '.join(sorted(silent)[:5])}"
        )
    if not losses[-1] < ENOUGH * losses[0]:
        raise InputError(
            f"one batch cannot be overfitted: the loss of {turns[0]} went from {losses[0]:.4f} "
            f"to {losses[-1]:.4f} in {STEPS} steps"
        )
    LOGGER.info(
        "pre-flight: every trained tensor receives a gradient; on one batch the loss of %s falls "
        "from %.4f to %.4f in %d steps",
        turns[0],
        losses[0],
        losses[-1],
        STEPS,
    )
