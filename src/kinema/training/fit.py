"""Fitting to one input: an objective that needs no data, trained inside a job."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from kinema.training.objective import Batch, Objective
from kinema.training.recipe import Recipe
from kinema.training.trainer import Trainer


def fit(
    objective: Objective, recipe: Recipe, *, folder: Path | None, seed: int, device: str
) -> None:
    """Trains an objective whose loss reads no batch, such as the variables of a scene.

    Args:
        objective: trained in place; holds the averaged weights afterwards.
        recipe: the numbers; its `batch_size` is the number of draws of noise in a step.
        folder: of the run, which goes on where it stands there; None if it need not outlive a kill.
        seed: of the noise.
        device: where to fit.

    Raises:
        InputError: a loss is not finite, or a file cannot be written.
        Stopped: a signal asked to stop.
    """
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        trainer = Trainer(
            objective, no_data, no_data(()), recipe, folder=folder, seed=seed, device=device
        )
        trainer.resume()
        trainer.run(sheet=lambda path: None)
        trainer.ema.copy_to(objective)
        objective.eval()


def no_data(samples: tuple[int, ...]) -> Batch:
    """The empty batch."""
    return {}
