"""Draws the table of the world `tabletop`; see `tabletop.py`.

Shape letters: T states, S side of a picture in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    for color, places in blocks.items():
        px, py = places.astype(np.float32).T[:, :, None, None]
        distance = np.maximum(np.abs(x - px), np.abs(y - py)) - BLOCK
        picture = _over(picture, distance, palette.COLORS[color], pixel)
    distance = np.hypot(x - grippers[:, 0, None, None], y - grippers[:, 1, None, None]) - GRIPPER
    ring = np.maximum(distance, -distance - RING)
    shown = np.where(opened[:, None, None], ring, distance)
    return np.rint(_over(picture, shown, look.hand, pixel)).astype(np.uint8)


def masks(centers: np.ndarray, radius: float, side: int) -> np.ndarray:
    """The pixels (T, S, S) bool whose centers the gripper's disc covers, all in pixels."""
    places = np.arange(side) + 0.5
    x = places[None, None, :] - centers[:, 0, None, None]
    y = places[None, :, None] - centers[:, 1, None, None]
    return np.hypot(x, y) < radius


def _over(picture: np.ndarray, distance: np.ndarray, color: RGB, pixel: float) -> np.ndarray:
    """A shape, given by its signed distance (T, S, S), painted over; edges are a pixel soft."""
    share = np.clip(0.5 - distance / pixel, 0, 1)[..., None]
    return picture + share * (np.array(color, np.float32) - picture)
