"""What the parts of a clip show, in names and outlines: targets for a loss that asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kinema.worlds.backgrounds import KINDS, names_in, share_of_first
from kinema.worlds.motions import MOTIONS
from kinema.worlds.outlines import SHAPES
from kinema.worlds.palette import BACKGROUNDS, COLORS
from kinema.worlds.shapes_scenes import RADII
from kinema.worlds.world import SceneGraph, WorldSample

NAMES = (*SHAPES, *COLORS, *RADII, *MOTIONS, *BACKGROUNDS, *KINDS)
PIECES = (2, 4, 4)  # of a part, in time, rows and columns, of which each has a share of objects
CHANNELS = len(NAMES) + int(np.prod(PIECES))
LARGEST = 255  # stands for the whole of a part


def shown(sample: WorldSample, size: tuple[int, ...]) -> np.ndarray:
    """What each part of a clip shows, (`CHANNELS`, t, h, w) uint8: shares of 255.

    First, for each of `NAMES`, the share of the part that shows what is called so: shape, color and
    size of objects, what they do at that time, kind and colors of the ground, each as much as the
    row of parts has of it. Then the share of each of its `PIECES` that objects cover.

    Args:
        sample: of any world; names that are not in `NAMES` are left out.
        size: how many parts (t, h, w) a clip has. The first frame is a part of its own, the others
            are shared evenly; a codec's latents are such parts.
    """
    masks = sample.masks.x
    t, h, w = size
    spread = (masks.shape[0] - 1) // (t - 1) if t > 1 else 1
    frames = np.concatenate([np.repeat(masks[:1], spread - 1, axis=0), masks])
    frames = np.repeat(frames, PIECES[0], axis=0)  # a part may be a single frame
    pieces = tuple(parts * own for parts, own in zip(size, PIECES))
    fine = _mean(frames, pieces)  # (N, 2 t, 4 h, 4 w)
    coarse = _mean(frames, size)  # (N, t, h, w)
    named = np.zeros((len(NAMES), *size))
    for part, names in _doing(sample, t, spread):
        for number, said in enumerate(names):
            for name in said:
                named[NAMES.index(name), part] += coarse[number, part]
    ground = 1 - coarse.sum(0)
    for name, share in _ground(sample.graph, h):
        if name in NAMES:
            named[NAMES.index(name)] += share[:, None] * ground
    a, b, c = PIECES
    outlines = fine.sum(0).reshape(t, a, h, b, w, c).transpose(1, 3, 5, 0, 2, 4).reshape(-1, *size)
    return np.rint(LARGEST * np.concatenate([named, outlines]).clip(0, 1)).astype(np.uint8)


def _ground(graph: SceneGraph, rows: int) -> Iterator[tuple[str, np.ndarray]]:
    """The kind and the colors of the ground, and how much of each row (rows,) has them."""
    kind, whole = graph.background_kind, np.ones(rows)
    yield kind, whole
    colors = names_in(graph.background, kind)
    first = share_of_first(kind, rows) if len(colors) == 2 else whole
    yield from zip(colors, (first, whole - first))


def _mean(frames: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Masks (T, N, H, W) -> their shares (N, t, h, w) of as many equal parts."""
    count, objects, height, width = frames.shape
    t, h, w = size
    split = frames.reshape(t, count // t, objects, h, height // h, w, width // w)
    return split.mean((1, 4, 6)).transpose(1, 0, 2, 3)


def _doing(
    sample: WorldSample, parts: int, spread: int
) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
    """For each part in time, the names of each object and of what it does then."""
    objects, fps = sample.graph.objects, sample.clip.fps
    turns = [
        [
            event.seconds
            for event in sample.graph.events
            if event.name == "phase" and n in event.objects
        ]
        for n in range(len(objects))
    ]
    for part in range(parts):
        middle = max((part - 0.5) * spread + 0.5, 0) / fps
        told = []
        for seen, own in zip(objects, turns):
            phase = seen.phases[min(sum(middle >= turn for turn in own), len(seen.phases) - 1)]
            names = (seen.shape, seen.color, seen.size, phase.motion)
            told.append(tuple(name for name in names if name in NAMES))
        yield part, told
