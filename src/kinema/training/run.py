"""Runs: a training in a folder. A killed run resumes to the same losses, exactly.

With another number of processes it resumes to the same losses up to rounding.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import torch

from kinema.config import to_dict
from kinema.errors import InputError
from kinema.files import alone
from kinema.noise import Noise
from kinema.training import checkpoint, distributed
from kinema.training.distributed import by_first
from kinema.training.log import Log
from kinema.training.objective import Batch, Objective
from kinema.training.trainer import Trainer

HELD_OUT_SEED = 1_000_003


class Stopped(Exception):  # noqa: N818 (nothing went wrong: the run was asked to stop)
    """The run was asked to stop (SIGINT, SIGTERM) and has saved where it stands."""


class Run:
    """A training whose folder holds all that is known about it.

    Of several processes the first writes, reports and draws; each has a run in the same folder.
    Whoever trains holds the lock of the folder, see `locked`.

    Args:
        trainer: as it stands at the first step, or at that of a checkpoint.
        folder: checkpoints, `log.jsonl`, TensorBoard events and sheets go there.
        held_out: one batch that is never trained on.
        sheet: draws what the averaged weights can do into a picture at the given path.
    """

    def __init__(
        self, trainer: Trainer, folder: Path, *, held_out: Batch, sheet: Callable[[Path], None]
    ) -> None:
        self.trainer, self.folder = trainer, folder
        self.held_out, self.sheet = held_out, sheet
        self.saved: Path | None = None

    def train(self) -> None:
        """Trains from the current step to the end of the recipe.

        Raises:
            Stopped: after SIGINT or SIGTERM; the state was saved.
        """
        trainer, recipe, stop = self.trainer, self.trainer.recipe, StopSignal()
        with contextlib.ExitStack() as opened:
            log = by_first(
                lambda: opened.enter_context(
                    Log(self.folder, start=trainer.step, total=recipe.steps)
                )
            )
            opened.enter_context(stop.caught())
            while trainer.step < recipe.steps:
                values = trainer.train_step()
                if log is not None:
                    log.write(trainer.step, values)
                trainer.step += 1
                last = trainer.step == recipe.steps
                if last or trainer.step % recipe.report_every == 0:
                    self.report(log)
                asked = any(distributed.of_all(stop.asked))
                if last or asked or trainer.step % recipe.save_every == 0:
                    self.save()
                if asked and not last:
                    raise Stopped(f"stopped at step {trainer.step}; saved in {self.folder}")

    def report(self, log: Log | None) -> None:
        """Held-out numbers and a sample sheet with the averaged weights.

        Args:
            log: that of the first process.
        """
        with self.trainer.averaged() as averaged, torch.no_grad():
            by_first(lambda: self._report(averaged, log))

    def _report(self, averaged: Objective, log: Log | None) -> None:
        assert log is not None, "the first process has the log"
        trainer = self.trainer
        noise = Noise(HELD_OUT_SEED, tuple(range(trainer.recipe.held_out)))
        with trainer.autocast():
            logs = averaged.held_out(self.held_out, noise)
        log.report(trainer.step, {f"held_out/{k}": float(v) for k, v in logs.items()})
        self.sheet(self.folder / "sheets" / f"step-{trainer.step:08d}.png")

    def save(self) -> None:
        """Writes a checkpoint of everything; of the others only the one before it is kept.

        Raises:
            InputError: it cannot be written; those that were written before stay.
        """
        trainer = self.trainer
        values = {"step": trainer.step, "seed": trainer.seed, "recipe": to_dict(trainer.recipe)}
        path = checkpoint.write(self.folder, trainer.step, trainer.state(), values)
        by_first(lambda: checkpoint.keep(self.folder, {path, self.saved or path}))
        self.saved = path

    def resume(self) -> bool:
        """Goes back to the newest whole checkpoint of the folder; false if there is none.

        Raises:
            InputError: the run in the folder has another seed, recipe (its length may grow) or
                model, or none of its checkpoints is whole.
        """
        found = checkpoint.latest(self.folder)
        if found is None:
            return False
        trainer, values = self.trainer, found.values
        mine = {**to_dict(trainer.recipe), "seed": trainer.seed}
        for name, old in (values["recipe"] | {"seed": values["seed"]}).items():
            if name not in mine and not old:
                continue  # recipes had it once, and here it was empty
            if name != "steps" and mine.get(name) != old:
                said = " ".join(f"{name}={old}".split())
                raise InputError(
                    f"the run in {self.folder} has {said:.80}, not {mine.get(name)}; "
                    "use another --output"
                )
        if values["step"] > trainer.recipe.steps:
            raise InputError(
                f"the run in {self.folder} has done {values['step']} steps, more than "
                f"{trainer.recipe.steps}; use another --output"
            )
        try:
            trainer.load_state(found.read(trainer.room))
        except RuntimeError as error:
            raise InputError(
                f"the run in {self.folder} trains another model; use another --output"
            ) from error
        trainer.step, self.saved = values["step"], found.path
        return True


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside the block no other job writes in the folder of a run; one left empty is removed.

    Raises:
        InputError: another job does, or the folder cannot be written.
    """
    with contextlib.ExitStack() as opened:
        by_first(lambda: opened.enter_context(_alone(folder)))
        yield


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with alone(folder):
            yield
    finally:
        with contextlib.suppress(OSError):  # a run is in it, or it was never made
            folder.rmdir()


class StopSignal:
    """Remembers that SIGINT or SIGTERM came, so that a step can be finished and saved."""

    asked = False

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catches both signals inside the block."""
        before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
