"""Which combinations of shape, color and motion the world `shapes` keeps out of training.

Of every shape and motion one of the ten colors is held out: a model that was trained on the others
has seen every shape, color and motion, and every pair of them, but never these three together.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from typing import Literal, get_args

from kinema.errors import unknown
from kinema.worlds.motions import TURNABLE
from kinema.worlds.outlines import SHAPES
from kinema.worlds.palette import COLORS

Split = Literal["train", "held_out", "all"]
SALT = 3  # the first with which held-out stories are told of every color
SPLIT = tuple(COLORS)[:10]  # the colors when the split was made; later ones are never held out


def held_out(shape: str, color: str, motion: str) -> bool:
    """Whether a combination is kept out of the split `train`; the same for every seed."""
    digest = hashlib.sha256(f"shapes/{SALT}/{shape}/{motion}".encode()).digest()
    return SPLIT[int.from_bytes(digest[:8], "little") % len(SPLIT)] == color


@functools.cache
def combinations(split: Split, motions: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    """The (shape, color, motion) combinations of a split; what looks the same turned never spins.

    Raises:
        InputError: there is no such split.
    """
    if split not in get_args(Split):
        raise unknown("split of the world shapes", split, get_args(Split))
    kept = {"train": (False,), "held_out": (True,), "all": (False, True)}[split]
    return tuple(
        (shape, color, motion)
        for shape, color, motion in itertools.product(SHAPES, COLORS, motions)
        if held_out(shape, color, motion) in kept and (motion != "spin" or shape in TURNABLE)
    )


@functools.cache
def stories(split: Split, motions: tuple[str, ...]) -> tuple[tuple[str, str, str, str], ...]:
    """The (shape, color, motion, next motion) of a split: both phases are combinations of it."""
    return tuple(
        (shape, color, first, second)
        for shape, color, first in combinations(split, motions)
        for other, same, second in combinations(split, motions)
        if (other, same) == (shape, color) and second != first
    )
