"""Stages: the legs of a training plan, and the driver that runs one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kinema.data.batches import Source
from kinema.data.class_folder import listed_once
from kinema.errors import InputError, unknown
from kinema.training import checkpoint, distributed, preflight
from kinema.training.objective import Batch, Objective
from kinema.training.recipe import Recipe
from kinema.training.run import Run, locked
from kinema.training.trainer import Trainer

LOGGER = logging.getLogger(__name__)


class Data(NamedTuple):
    """What a stage trains on: batches by sample index, and one batch that is held out."""

    source: Source
    held_out: Batch


def as_named(system: Any, recipe: Any, named: str | None, folder: Path) -> str | None:
    """What a stage does that needs no preparation: `data` gets what the user named."""
    return named


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One leg of a training plan of a system.

    A stage reads either what is drawn, or latents.

    Args:
        trains: the roles whose networks change.
        recipes: the numbers for each preset; of a class of the stage's own where it needs more.
        objective: ``(system, recipe)`` makes the objective.
        data: ``(system, recipe, named)`` makes two sources from the name of a world or the folder
            of latents: samples to train on, and samples to hold out.
        prepare: ``(system, recipe, named, folder of the run)`` does what comes before all that, on
            every start of a run, such as encoding clips; gives the name that `data` gets then.
        sheet: ``(system, held-out batch, path)`` draws what the system can do.
        worlds: names of what it may be drawn from; the first if the user names none. The user may
            add options, as in ``shapes:level=2``.
        latents_of: the role of the codec whose latents it reads, which `kinema encode` writes with
            what else the stage needs (`Model.encoded`).
        starts_from: the stages whose weights must be there before.
    """

    trains: tuple[str, ...]
    recipes: Mapping[str, Recipe]
    objective: Callable[[Any, Any], Objective]
    data: Callable[[Any, Any, str], tuple[Source, Source]]
    sheet: Callable[[Any, Batch, Path], None]
    prepare: Callable[[Any, Any, str | None, Path], str | None] = as_named
    worlds: tuple[str, ...] = ()
    latents_of: str = ""
    starts_from: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert bool(self.worlds) != bool(self.latents_of), "a stage reads worlds or latents"

    def adapt(self, system: Any, named: str | None) -> None:
        """Changes the networks as the data asks, in every process; most stages ask nothing."""

    def read(self, system: Any, recipe: Recipe, named: str | None) -> Data:
        """The data that the user named; those of the stage's first world if None.

        Raises:
            InputError: the stage cannot read that, or there is nothing that it could read.
        """
        if self.worlds and named is not None and named.partition(":")[0] not in self.worlds:
            found = "nothing to read in the folder" if Path(named).is_dir() else "no folder"
            world = unknown("world", named, self.worlds)
            raise InputError(f"{world} (there is {found} of that name)")
        if self.latents_of and named is None:
            raise InputError(
                f"this stage trains on latents of the {self.latents_of}: "
                "pass --data FOLDER that `kinema encode` wrote"
            )
        source, unseen = self.data(system, recipe, self.worlds[0] if named is None else named)
        return Data(source, unseen(tuple(range(recipe.held_out))))


def train(
    system: Any,
    stage: Stage,
    recipe: Recipe,
    *,
    data: str | None,
    folder: Path,
    seed: int,
    device: str,
) -> None:
    """Runs a stage to its end, or goes on where the run in `folder` stands.

    Before a new run, a copy is trained for a few steps to see that it can learn and what the run
    will cost, which is logged. The system holds the averaged weights afterwards; of several
    processes (`distributed.joined`) that of the first does, and the others hold nothing.

    Args:
        system: its networks are trained in place.
        stage: one of the system's.
        recipe: one of the stage's, or a copy with other numbers.
        data: what the user named for the stage to read.
        folder: of the run; checkpoints, log and sheets are written there.
        seed: of the noise.
        device: where to train.

    Raises:
        InputError: the data or the recipe do not fit, a check before the run fails, a loss is not
            finite, a file cannot be written, or another job trains in the folder.
        Stopped: a signal asked to stop; the run can be resumed.
    """
    with locked(folder):
        train_locked(system, stage, recipe, data=data, folder=folder, seed=seed, device=device)


def train_locked(
    system: Any,
    stage: Stage,
    recipe: Recipe,
    *,
    data: str | None,
    folder: Path,
    seed: int,
    device: str,
) -> None:
    """`train` for whoever holds the lock of the folder already."""
    with listed_once():
        named = distributed.told(
            distributed.by_first(lambda: stage.prepare(system, recipe, data, folder))
        )
        stage.adapt(system, named)
        objective = stage.objective(system, recipe)
        source, held_out = stage.read(system, recipe, named)
    begun = bool(checkpoint.paths(folder))
    if not begun:
        cost = preflight.check(objective, source, recipe, dead=system.CARD.dead, device=device)
        LOGGER.info("%s; all goes to %s", cost.told(recipe), folder)
    trainer = Trainer(objective, source, recipe, seed=seed, device=device)
    run = Run(
        trainer,
        folder,
        held_out=held_out,
        sheet=lambda path: stage.sheet(system, held_out, path),
    )
    if begun:
        run.resume()
    run.train()
    trainer.finish()
