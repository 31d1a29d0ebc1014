"""What every world gives: samples whose complete truth is known.

A world is infinite and has no state: `sample(index)` depends on the world's options and on the
index alone, whatever was drawn before, in whatever process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from kinema.clip import Clip

T = TypeVar("T")


@dataclass(frozen=True, eq=False, kw_only=True)
class WorldSample:
    """One clip with everything that is true of it.

    Pixel coordinates are (x, y) with the origin at the upper left corner of the frame: the pixel in
    column i covers [i, i + 1), its center is at i + 0.5.

    Attributes:
        clip: frames (T, H, W, 3) uint8 at the world's frame rate.
        captions: what a person could say about the clip; the first is the brief canonical one,
            which names every label, the others are paraphrases that may leave something out.
        labels: attribute to value, as `ATTRIBUTES` of the world lists them.
        tracks: (T, 2) float32, the object's center in pixels. The first lies in the frame; a track
            does not wrap, so that it is smooth where the object leaves on one side and comes back
            on the other. Modulo (width, height) it is the center that is seen.
        boxes: (T, 4) float32, x0 y0 x1 y1 in pixels, clipped to the frame. Of an object that is cut
            by an edge and seen on both sides, it is the box of the piece that holds the center.
        draw_masks: what `masks` calls.
    """

    clip: Clip
    captions: tuple[str, ...]
    labels: Mapping[str, str]
    tracks: np.ndarray
    boxes: np.ndarray
    draw_masks: Callable[[], np.ndarray]

    @cached_property
    def masks(self) -> np.ndarray:
        """(T, H, W) bool: pixels that the object covers by more than half, all its pieces.

        Drawn on first use: training needs only the clip and a caption.
        """
        return self.draw_masks()


class World(Protocol):
    """A program that draws samples with complete ground truth."""

    @property
    def name(self) -> str:
        """The name `kinema.worlds.load` knows it by."""

    @property
    def options(self) -> dict[str, str | int | float]:
        """The options it was made with: `load(name, **options)` makes an equal world."""

    def sample(self, index: int) -> WorldSample:
        """The sample of this index, 0 or more; equal whenever and wherever it is drawn."""


class Draws:
    """The random choices of one sample, keyed by (world, seed, index).

    Only uniform doubles are taken from numpy's counter-based Philox generator: of all its
    distributions the one least likely to differ between platforms and versions.
    """

    def __init__(self, world: str, seed: int, index: int) -> None:
        digest = hashlib.sha256(f"{world}/{seed}/{index}".encode()).digest()
        key = int.from_bytes(digest[:16], "little")
        self._generator = np.random.Generator(np.random.Philox(key=key))

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def choice(self, options: tuple[T, ...]) -> T:
        """One of the options, all equally likely."""
        return options[int(self.uniform(0, len(options)))]

    def pick(self, options: tuple[T, ...], count: int) -> tuple[T, ...]:
        """`count` different ones of the options, in random order."""
        left = list(options)
        return tuple(left.pop(int(self.uniform(0, len(left)))) for _ in range(count))
