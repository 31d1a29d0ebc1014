"""Stages: the legs of a training plan, and the driver that runs one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from kinema.errors import unknown
from kinema.training import preflight
from kinema.training.objective import Batch, Objective
from kinema.training.recipe import Recipe
from kinema.training.trainer import Source, Trainer


class Data(NamedTuple):
    """What a stage trains on: batches by sample index, and one batch that is held out."""

    source: Source
    held_out: Batch


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One leg of a training plan of a system.

    Args:
        trains: the roles whose networks change.
        recipes: the numbers for each preset; of a class of the stage's own where it needs more.
        objective: ``(system, recipe)`` makes the objective.
        data: ``(system, recipe, named)`` makes the data from what the user named (None: the
            stage's own).
        sheet: ``(system, held-out batch, path)`` draws what the system can do.
        starts_from: the stages whose weights must be there before.
    """

    trains: tuple[str, ...]
    recipes: Mapping[str, Recipe]
    objective: Callable[[Any, Any], Objective]
    data: Callable[[Any, Any, str | None], Data]
    sheet: Callable[[Any, Batch, Path], None]
    starts_from: tuple[str, ...] = ()


def train(
    system: Any,
    stage: Stage,
    recipe: Recipe,
    *,
    data: str | None,
    folder: Path,
    seed: int,
    device: str,
    dead: Mapping[str, str],
) -> None:
    """Runs a stage to its end, or goes on where the run in `folder` stands.

    Before a new run, a copy is trained for a few steps to see that it can learn. The system holds
    the averaged weights afterwards.

    Args:
        system: its networks are trained in place.
        stage: one of the system's.
        recipe: one of the stage's, or a copy with other numbers.
        data: what the user named for the stage to read.
        folder: of the run; checkpoints, log and sheets are written there.
        seed: of the noise.
        device: where to train.
        dead: {pattern of parameter names: reason} that may stay without gradient.

    Raises:
        InputError: the data or the recipe do not fit, a check before the run fails, a loss is not
            finite, or a file cannot be written.
        Stopped: a signal asked to stop; the run can be resumed.
    """
    objective = stage.objective(system, recipe)
    source, held_out = stage.data(system, recipe, data)
    trainer = Trainer(objective, source, held_out, recipe, folder=folder, seed=seed, device=device)
    if not trainer.resume():
        preflight.check(objective, source, held_out, recipe, dead=dead, device=device)
    compile_modules(system.parts, recipe.compile)
    trainer.run(sheet=lambda path: stage.sheet(system, held_out, path))
    trainer.ema.copy_to(objective)
    objective.eval()


def compile_modules(parts: nn.Module, names: tuple[str, ...]) -> None:
    """Lets modules run through torch.compile, in place; their names and weights stay as they are.

    Raises:
        InputError: there is no module of this name.
    """
    modules = dict(parts.named_modules())
    for name in names:
        if name not in modules:
            raise unknown("module to compile", name, modules)
        modules[name].compile()
