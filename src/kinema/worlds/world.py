"""What every world gives: samples whose complete truth is known.

A world is infinite and has no state: `sample(index)` depends on the world's options and on the
index alone, whatever was drawn before, in whatever process.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from kinema.clip import Clip
from kinema.config import config
from kinema.sample import Boxes, Masks, Tracks

T = TypeVar("T")


@config
class Phase:
    """What an object does for a while.

    Attributes:
        motion: its name.
        pace: "slow", "steady" or "quick", or "" if the motion has no pace of its own.
        direction: "left", "right", "clockwise" or "counterclockwise" where the motion leaves it
            open, else "".
    """

    motion: str
    pace: str
    direction: str


@config
class Object:
    """What one object is and does.

    Attributes:
        shape, color, size: their names; the size is "" where a world has only one.
        place: where its center is in the first frame: "upper left", "top", "center" and so on, or
            "outside".
        phases: what it does, one after the other.
    """

    shape: str
    color: str
    size: str
    place: str
    phases: tuple[Phase, ...]

    @property
    def motions(self) -> tuple[str, ...]:
        """The names of what it does, one after the other."""
        return tuple(phase.motion for phase in self.phases)


@config
class Relation:
    """What one object does to another, which are given by number: 0 "orbits" 1."""

    name: str
    subject: int
    object: int


@config
class Event:
    """Something that happens at a moment, in seconds from the first frame.

    Attributes:
        name: "impact" of an object on an edge of the frame, "collision" of two objects, "pass" of
            one in front of another where their centers are nearest, "stop", "go", "phase" where
            another motion begins, "done" where a task is.
        seconds: when.
        objects: numbers of those to which it happens.
    """

    name: str
    seconds: float
    objects: tuple[int, ...]


@config
class SceneGraph:
    """What there is in a clip and what happens; `kinema.config.to_dict` makes it JSON.

    Attributes:
        kind: of scene, as the world names them.
        objects: their numbers are their places here.
        relations: between them.
        events: in order of time.
        depth_order: numbers of the objects from front to back.
        background_kind, background: of the ground, as in the labels.
        camera: "static", or how it moves.
    """

    kind: str
    objects: tuple[Object, ...]
    relations: tuple[Relation, ...]
    events: tuple[Event, ...]
    depth_order: tuple[int, ...]
    background_kind: str
    background: str
    camera: str


@dataclass(frozen=True, kw_only=True)
class Frames:
    """The size and the times of a clip: `count` frames of `height` x `width` pixels at `fps`."""

    count: int
    height: int
    width: int
    fps: float

    @property
    def times(self) -> np.ndarray:
        """When each frame is seen, (T,) in seconds; the first at 0."""
        return np.arange(self.count) / self.fps

    @property
    def seconds(self) -> float:
        """How long the clip lasts."""
        return self.count / self.fps

    @property
    def side(self) -> int:
        """The shorter side in pixels, the unit of lengths in a world."""
        return min(self.height, self.width)

    @property
    def size(self) -> np.ndarray:
        """(width, height) in pixels."""
        return np.array([self.width, self.height])


@dataclass(frozen=True, eq=False, kw_only=True)
class WorldSample:
    """One clip with everything that is true of it.

    Pixel coordinates are (x, y) with the origin at the upper left corner of the frame: the pixel in
    column i covers [i, i + 1), its center is at i + 0.5. N is the number of objects in the graph.

    Attributes:
        clip: frames (T, H, W, 3) uint8 at the world's frame rate.
        captions: what a person could say about the clip; the first is the brief canonical one,
            which names every label, the others are paraphrases that may leave something out.
        detailed: a long sentence: also places, pace, times, order in depth and camera.
        labels: attribute to value, of the scene and of its first object.
        graph: all objects, their relations and what happens.
        tracks: (T, N, 2), the objects' centers in pixels, and whether they are seen: in the frame
            and behind no other object. On a torus the first lies in the frame, and a track does not
            wrap, so that it is smooth where the object leaves on one side and comes back on the
            other. Modulo (width, height) it is the center that is seen.
        boxes: (T, N, 4), x0 y0 x1 y1 in pixels of the whole objects, clipped to the frame; NaN
            where one is out of it. Of an object that is cut by an edge and seen on both sides, it
            is the box of the piece that holds the center.
        draw_masks, draw_flow: what `masks` and `flow` call.
    """

    clip: Clip
    captions: tuple[str, ...]
    detailed: str
    labels: Mapping[str, str]
    graph: SceneGraph
    tracks: Tracks
    boxes: Boxes
    draw_masks: Callable[[], np.ndarray]
    draw_flow: Callable[[], np.ndarray]

    @cached_property
    def masks(self) -> Masks:
        """(T, N, H, W): pixels that an object covers by more than half and that no other hides.

        Drawn on first use: training needs only the clip and a caption.
        """
        return Masks(self.draw_masks())

    @cached_property
    def flow(self) -> np.ndarray:
        """Forward optical flow (T - 1, H, W, 2) float32, drawn on first use.

        How far (x, y), in pixels, the surface that the center of a pixel of frame t shows has gone
        in frame t + 1, whether it is seen there or not.
        """
        return self.draw_flow()


PLACES = (
    ("upper left", "top", "upper right"),
    ("left", "center", "right"),
    ("lower left", "bottom", "lower right"),
)


def place_name(place: Sequence[float]) -> str:
    """The ninth of the frame in which (x, y) lies, in units of its sides; or "outside"."""
    column, row = (math.floor(3 * at) for at in place)
    return PLACES[row][column] if min(row, column) >= 0 and max(row, column) < 3 else "outside"


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

    def weighted(self, shares: Mapping[T, float]) -> T:
        """One of the keys, each as likely as its share of the sum."""
        ends = list(itertools.accumulate(shares.values()))
        return list(shares)[bisect.bisect(ends, self.uniform(0, ends[-1]))]
