"""Draws the table of the world `tabletop`; see `tabletop.py`.

Shape letters: T states, S side of a picture in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from kinema.worlds import palette

RGB = tuple[int, int, int]
BLOCK = 0.075  # half the side of a block, in sides of the table
GRIPPER = 0.06  # radius of the gripper
RING = 0.022  # how thick an open gripper is drawn
WRIST = 0.45  # side of what the wrist camera sees
FLOOR: RGB = (60, 48, 40)  # beyond the table


@dataclass(frozen=True)
class Look:
    """Colors, and the side of pictures in pixels."""

    ground: RGB
    hand: RGB
    side: int


def draw(
    *,
    grippers: np.ndarray,
    opened: np.ndarray,
    blocks: Mapping[str, np.ndarray],
    look: Look,
    centers: np.ndarray,
    span: float,
) -> np.ndarray:
    """Pictures (T, S, S, 3) uint8 of a square of the table.

    Args:
        grippers: (T, 2) centers.
        opened: (T,) bool.
        blocks: {color: (T, 2) centers}.
        look: colors and size.
        centers: (T, 2) of what is seen.
        span: side of what is seen, in sides of the table.
    """
    # In float32, which is exact enough to tell shares of a pixel and half the work.
    centers, grippers = centers.astype(np.float32), grippers.astype(np.float32)
    offsets = (((np.arange(look.side) + 0.5) / look.side - 0.5) * span).astype(np.float32)
    x = (centers[:, 0, None] + offsets)[:, None, :]  # (T, 1, S)
    y = (centers[:, 1, None] + offsets)[:, :, None]
    pixel = span / look.side
    table = np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)) - 0.5
    picture = np.broadcast_to(np.array(FLOOR, np.float32), (*table.shape, 3))
    picture = _over(picture, table, look.ground, pixel)
    for color, distance in zip(blocks, _blocks(blocks, x, y)):
        picture = _over(picture, distance, palette.COLORS[color], pixel)
    distance = _gripper(grippers, opened, x, y)
    return np.rint(_over(picture, distance, look.hand, pixel)).astype(np.uint8)


def masks(
    grippers: np.ndarray, opened: np.ndarray, blocks: Mapping[str, np.ndarray], side: int
) -> np.ndarray:
    """The pixels, seen from above, whose centers show the gripper or a block, (T, 1 + blocks, S, S)
    bool; arguments as for `draw`.
    """
    places = (np.arange(side) + 0.5) / side
    x, y = places[None, None, :], places[None, :, None]
    found = [distance < 0 for distance in _blocks(blocks, x, y)]
    found.append(_gripper(grippers, opened, x, y) < 0)
    for number, mask in enumerate(found):
        for above in found[number + 1 :]:
            mask &= ~above
    return np.stack([found[-1], *found[:-1]], axis=1)


def seen_centers(
    grippers: np.ndarray, opened: np.ndarray, blocks: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Whether the centers of the gripper and of the blocks lie below nothing, (T, 1 + blocks)."""
    places = list(blocks.values())
    seen = np.ones((len(grippers), 1 + len(places)), bool)
    for number, place in enumerate(places):
        seen[:, 1 + number] = _outline(np.hypot(*(place - grippers).T), opened) >= 0
        for above in places[number + 1 :]:
            seen[:, 1 + number] &= np.abs(place - above).max(axis=1) >= BLOCK
    return seen


def flow(shown: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Forward flow (T - 1, S, S, 2) float32 of things that neither turn nor grow.

    Args:
        shown: (T, N, S, S) bool, where each is seen.
        centers: (T, N, 2) in pixels.
    """
    steps = np.diff(centers, axis=0).astype(np.float32)
    return np.einsum("tnhw,tnc->thwc", shown[:-1].astype(np.float32), steps)


def _blocks(blocks: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> Iterator[np.ndarray]:
    """Signed distances to the blocks, each (T, S, S)."""
    for places in blocks.values():
        px, py = places.astype(np.float32).T[:, :, None, None]
        yield np.maximum(np.abs(x - px), np.abs(y - py)) - BLOCK


def _gripper(grippers: np.ndarray, opened: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance (T, S, S) to the gripper."""
    away = np.hypot(x - grippers[:, 0, None, None], y - grippers[:, 1, None, None])
    return _outline(away, opened[:, None, None])


def _outline(away: np.ndarray, opened: np.ndarray) -> np.ndarray:
    """Signed distance to a gripper of what is this far from its center; open, it is a ring."""
    distance = away - GRIPPER
    return np.where(opened, np.maximum(distance, -distance - RING), distance)


def _over(picture: np.ndarray, distance: np.ndarray, color: RGB, pixel: float) -> np.ndarray:
    """A shape, given by its signed distance (T, S, S), painted over; edges are a pixel soft."""
    share = np.clip(0.5 - distance / pixel, 0, 1)[..., None]
    return picture + share * (np.array(color, np.float32) - picture)
