"""Episodes of GR-1: the tables that it is taught and tried on; see `gr1.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kinema.errors import InputError
from kinema.sample import Table
from kinema.worlds.tabletop import Split, Tabletop

if TYPE_CHECKING:
    from kinema.systems.gr1 import GR1
    from kinema.worlds.tabletop_env import Trial

SCENES = 2  # the seed of the table that a policy is tried on; 0 and 1 are trained and held out


def table(model: GR1, split: Split, seed: int) -> Tabletop:
    """The table of a split, with pictures of the model's size."""
    side, rollout = model.config.policy.image_size, model.config.rollout
    return Tabletop(
        seed=seed,
        split=split,
        num_frames=rollout.steps,
        height=side,
        width=side,
        fps=rollout.fps,
    )


def trial(model: GR1, seed: int, instruction: str | None) -> Trial:
    """One episode in the scene of a seed; None does what the scene asks for.

    Raises:
        InputError: gymnasium is not installed.
    """
    try:
        from kinema.worlds.tabletop_env import TabletopEnv, attempt
    except ImportError as error:
        raise InputError("to act needs gymnasium: pip install kinema[worlds]") from error
    return attempt(model, TabletopEnv(table(model, "train", SCENES)), seed, instruction)


def result(made: Trial, seed: int) -> Table:
    """How an episode in the scene of a seed ended, in one row."""
    columns = ("instruction", "seed", "success", "steps")
    steps = len(made.frames) - 1
    return Table(columns, ((made.instruction, seed, int(made.success), steps),))
