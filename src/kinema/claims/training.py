"""Short trainings in memory, as the arms of claims take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from kinema.claims.claim import Cost
from kinema.data.batches import Source
from kinema.noise import Noise
from kinema.planning.meters import flops
from kinema.training.log import StepBar
from kinema.training.objective import Batch, Objective
from kinema.training.recipe import Recipe
from kinema.training.trainer import Trainer

T = TypeVar("T")


def initialize(make: Callable[[], T], seed: int) -> T:
    """What `make` makes, with initial weights that the seed fixes: arms of one seed start alike."""
    torch.manual_seed(seed)
    return make()


def train(objective: Objective, source: Source, recipe: Recipe, *, seed: int) -> None:
    """Trains on the CPU to the end of a recipe; the averaged weights are left, in eval mode.

    Nothing is written: a claim goes on at the arm and seed that it had come to.

    Raises:
        InputError: a loss is not finite.
    """
    trainer = Trainer(objective, source, recipe, seed=seed, device="cpu")
    with StepBar(start=0, total=recipe.steps) as bar:
        for trainer.step in range(recipe.steps):
            bar.advance(trainer.train_step())
    trainer.finish()


def cost_of(objective: Objective, batch: Batch, rows: int) -> Cost:
    """Parameters that the only player of an objective trains, and FLOPs of its loss and gradient.

    Args:
        objective: with one player.
        batch: what it trains on in a step.
        rows: of the batch.
    """
    (player,) = objective.players
    trained = objective.trained(player)
    for name, parameter in objective.named_parameters():
        parameter.requires_grad_(name in trained)

    def step() -> None:
        objective.loss(player, batch, 0, Noise(0, tuple(range(rows))))[0].backward()

    return Cost(parameters=sum(p.numel() for p in trained.values()), flops=flops(step))


class InMemory:
    """Batches of samples that were drawn once; indices beyond their number begin anew.

    Args:
        fields: by name, tensors (N, ...) or lists of N values.
        constant: what every batch holds as it is.
    """

    def __init__(self, fields: dict[str, Any], constant: dict[str, Any]) -> None:
        self.fields, self.constant = fields, constant
        (self.count,) = {len(values) for values in fields.values()}

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        rows = [sample % self.count for sample in samples]
        chosen = {
            name: values[rows] if isinstance(values, torch.Tensor) else [values[r] for r in rows]
            for name, values in self.fields.items()
        }
        return {**chosen, **self.constant}
