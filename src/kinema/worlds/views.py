"""How the camera of a world moves over its plane: not at all, steadily aside, nearer, farther.

A place of the world is measured in pixels of the picture at scale one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kinema.worlds.world import Draws, Frames

Camera = Literal["static", "pan", "zoom"]

PAN = (0.16, 0.24)  # shorter sides a second
ZOOM = 1.3  # from the first frame to the last, or back
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
MOVES = {
    "static": ("static",),
    "pan": tuple(f"pan {direction}" for direction in DIRECTIONS),
    "zoom": ("zoom in", "zoom out"),
}
NAMES = tuple(name for camera in get_args(Camera) for name in MOVES[camera])


@dataclass(frozen=True, eq=False)
class View:
    """What is seen: a point of the world lies in the picture at middle + scale (point - center).

    Attributes:
        middle: (2,) of the picture.
        centers: (T, 2) of the world, what lies in the middle of the picture.
        scales: (T,).
    """

    middle: np.ndarray
    centers: np.ndarray
    scales: np.ndarray

    def seen(self, points: np.ndarray) -> np.ndarray:
        """Where points (T, 2) of the world lie in the picture."""
        return self.middle + self.scales[:, None] * (points - self.centers)

    def flow(self, places: np.ndarray, axis: int) -> np.ndarray:
        """How far places at rest in the world go in the picture from each frame to the next.

        Args:
            places: coordinates x (axis 0) or y (axis 1) in the picture, (T - 1 or 1, ...).
            axis: which.
        """
        still = (slice(None), *(None,) * (places.ndim - 1))
        scales, centers, middle = (
            self.scales[still],
            self.centers[:, axis][still],
            self.middle[axis],
        )
        world = (places - middle) / scales[:-1] + centers[:-1]
        return middle + scales[1:] * (world - centers[1:]) - places

    @property
    def is_static(self) -> bool:
        """Whether it never changes."""
        return bool((self.centers == self.centers[0]).all() and (self.scales == 1).all())


def view(name: str, frames: Frames, draws: Draws) -> View:
    """What a camera sees over time.

    Args:
        name: of `NAMES`.
        frames: size and times of the clip.
        draws: give a panning camera its speed.
    """
    middle = frames.size / 2
    centers = np.broadcast_to(middle, (frames.count, 2))
    scales = np.ones(frames.count)
    how, _, where = name.partition(" ")
    if how == "pan":
        speed = draws.uniform(*PAN) * frames.side
        centers = centers + speed * frames.times[:, None] * np.array(DIRECTIONS[where])
    elif how == "zoom":
        share = np.linspace(0, 1, frames.count)
        scales = ZOOM ** (share if where == "in" else 1 - share)
    return View(middle, centers, scales)
