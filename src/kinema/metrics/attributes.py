"""Attributes of clips of the world `shapes`, read back from their pixels.

The reader is told a clip and what kind of scene to look for, never what was asked for. It works by
classical means, and on soft or slightly wrong clips too: a background in the world's own colors
(`attributes_ground`), objects that differ from it, followed around the torus of the frame
(`attributes_objects`), their outlines (`attributes_outlines`) and paths (`attributes_paths`).

Level 1 and level 2 with a still camera and without occlusion; scenes of one object, of one in two
phases, and of two objects. Every clip is read as something; nothing is refused.

Shape letters: T frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from kinema.clip import Clip
from kinema.config import config
from kinema.metrics.attributes_ground import read_ground
from kinema.metrics.attributes_objects import Seen, find_objects
from kinema.metrics.attributes_outlines import Outline, outline, size_of, strengths
from kinema.metrics.attributes_paths import best_story, nearest_motion
from kinema.worlds.motions import GROWTH, SPIN, TURNABLE
from kinema.worlds.world import SceneGraph

Scene = Literal["one", "story", "pair"]

GROWN = 0.45 * float(np.log(GROWTH[0]))  # of the logarithm of the radius over a phase
RATES = SPIN * np.linspace(0.8, 1.2, 17)  # turns per second
AT_REST = (
    0.5  # what an outline at rest counts against one that spins: nothing rests in these scenes
)


@config
class ObjectReading:
    """What one object is and does, in the words of the world.

    Attributes:
        shape, color, size: their names.
        motions: one, or those of both phases of a story; "rest" where nothing happens.
    """

    shape: str
    color: str
    size: str
    motions: tuple[str, ...]


@config
class Reading:
    """What a clip shows, read by `read`, or what it should show, from `expected`.

    Attributes:
        objects: the most prominent first.
        background_kind, background: as in the labels of the world.
    """

    objects: tuple[ObjectReading, ...]
    background_kind: str
    background: str


def read(clip: Clip, scene: Scene) -> Reading:
    """Reads a clip.

    Args:
        clip: any; seconds and lengths are compared with those of the world.
        scene: "one" object in one motion, a "story" of two motions, or a "pair" of objects.
    """
    ground = read_ground(clip.frames)
    seen = find_objects(clip.frames, ground.pixels, 2 if scene == "pair" else 1)
    return Reading(
        objects=tuple(_read_object(thing, clip, is_story=scene == "story") for thing in seen),
        background_kind=ground.kind,
        background=ground.name,
    )


def expected(graph: SceneGraph) -> Reading:
    """What a reader that makes no mistake says of a clip of this graph."""
    return Reading(
        objects=tuple(
            ObjectReading(shape=o.shape, color=o.color, size=o.size, motions=o.motions)
            for o in graph.objects
        ),
        background_kind=graph.background_kind,
        background=graph.background,
    )


def agrees(reading: Reading, wanted: Reading) -> dict[str, bool]:
    """Which attributes of a reading are as wanted.

    Returns:
        ``background`` (kind and colors), ``color``, ``shape``, ``size``, ``motion`` of every object
        (of a story both motions, in whatever order) and ``all`` (background, color, shape and
        motion); of a story also ``order`` (both motions, in order), which ``all`` then asks for; of
        two objects also ``objects`` (color and shape of both). Two objects may come in either
        order; the one in which more is right is taken.
    """
    assert len(reading.objects) == len(wanted.objects), "the scene was read as another kind"
    orders = (reading.objects, reading.objects[::-1])
    right = max((_objects_agree(order, wanted.objects) for order in orders), key=_count)
    ground = (reading.background_kind, reading.background)
    right["background"] = ground == (wanted.background_kind, wanted.background)
    parts = ("background", "color", "shape", "order" if "order" in right else "motion")
    right["all"] = all(right[part] for part in parts)
    return right


def _objects_agree(
    seen: tuple[ObjectReading, ...], wanted: tuple[ObjectReading, ...]
) -> dict[str, bool]:
    pairs = list(zip(seen, wanted))
    right = {
        "color": all(a.color == b.color for a, b in pairs),
        "shape": all(a.shape == b.shape for a, b in pairs),
        "size": all(a.size == b.size for a, b in pairs),
        "motion": all(sorted(a.motions) == sorted(b.motions) for a, b in pairs),
    }
    if len(pairs) > 1:
        right["objects"] = right["color"] and right["shape"]
    elif len(wanted[0].motions) > 1:
        right["order"] = seen[0].motions == wanted[0].motions
    return right


def _count(right: dict[str, bool]) -> int:
    return sum(right.values())


def _read_object(seen: Seen, clip: Clip, *, is_story: bool) -> ObjectReading:
    side = min(clip.size)
    path, radii = seen.centers / side, np.log(np.maximum(seen.radii, 0.5) / side)
    if is_story:
        switch, moves = best_story(path, clip.fps)
        phases = [slice(0, switch), slice(switch, len(path))]
    else:
        moves, phases = [nearest_motion(path, clip.fps)], [slice(0, len(path))]
    moves = [
        _growth(radii[phase]) if move == "rest" else move for move, phase in zip(moves, phases)
    ]
    radius = float(np.exp((radii.min() + radii.max()) / 2))
    shape, spun = _shape(outline(seen.patches, radius), phases, moves, clip.fps)
    if spun is not None:
        moves[spun] = "spin"
    size = size_of(shape, radius)
    return ObjectReading(shape=shape, color=seen.color, size=size, motions=tuple(moves))


def _growth(log_radii: np.ndarray) -> str:
    """Whether an object whose center is still grows, shrinks or does neither."""
    t = np.linspace(-0.5, 0.5, len(log_radii))
    change = float((t * log_radii).sum()) / max(float(np.square(t).sum()), 1e-9)
    return "rest" if abs(change) < GROWN else "grow" if change > 0 else "shrink"


def _shape(
    seen: Outline, phases: list[slice], moves: list[str], fps: float
) -> tuple[str, int | None]:
    """The shape, and in which of the phases it spins, if in any."""
    upright = strengths(seen, np.zeros(len(seen.harmonics)))
    shape, spun = max(upright, key=upright.__getitem__), None
    best = upright[shape] * (AT_REST if "rest" in moves else 1)
    for number, angles in _spins(phases, moves, len(seen.harmonics), fps):
        turned = strengths(seen, angles)
        turnable = max(TURNABLE, key=turned.__getitem__)
        if turned[turnable] > best:
            shape, spun, best = turnable, number, turned[turnable]
    return shape, spun


def _spins(
    phases: list[slice], moves: list[str], length: int, fps: float
) -> Iterator[tuple[int, np.ndarray]]:
    """Phases at rest, and the angles (T,) of an object that spins in them at some rate."""
    for number, (phase, move) in enumerate(zip(phases, moves)):
        if move == "rest":
            frames = np.clip(np.arange(length) - phase.start, 0, phase.stop - phase.start)
            for rate in (*-RATES, *RATES):
                yield number, 2 * np.pi * rate * frames / fps
