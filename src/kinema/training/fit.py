"""Fitting to one input: an objective that needs no data, trained inside a job."""

from __future__ import annotations

from kinema.training.log import StepBar
from kinema.training.objective import Batch, Objective
from kinema.training.recipe import Recipe
from kinema.training.trainer import Trainer


def fit(objective: Objective, recipe: Recipe, *, seed: int, device: str) -> None:
    """Trains an objective whose loss reads no batch, such as the variables of a scene.

    Nothing is written: what was fitted is lost with the job that asked for it.

    Args:
        objective: trained in place; holds the averaged weights afterwards.
        recipe: the numbers; its `batch_size` is the number of draws of noise in a step.
        seed: of the noise.
        device: where to fit.

    Raises:
        InputError: a loss is not finite.
    """
    trainer = Trainer(objective, no_data, recipe, seed=seed, device=device)
    with StepBar(start=0, total=recipe.steps) as bar:
        for trainer.step in range(recipe.steps):
            bar.advance(trainer.train_step())
    trainer.finish()


def no_data(samples: tuple[int, ...]) -> Batch:
    """The empty batch."""
    return {}
