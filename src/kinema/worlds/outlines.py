"""The outlines of the world `shapes`, as signed distances and as corners.

Distances are negative inside, in units of the object's radius, with y downward. Shape letters: T
frames, H, W rows and columns of a window in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x, y that broadcast -> (T, H, W)
Point = tuple[float, float]

STAR = 1.28, 0.60  # radii of the star's tips and of its notches


@dataclass(frozen=True)
class Shape:
    """A shape of radius one.

    Attributes:
        distance: its signed distance; exact near the outline, a lower bound far from it.
        corners: the points whose convex hull, grown by `rounding`, is that of the shape.
        rounding: radius of the corners.
        pieces: convex polygons that make up the shape, for physics; none for a disc.
    """

    distance: Distance
    corners: tuple[Point, ...]
    rounding: float
    pieces: tuple[tuple[Point, ...], ...]

    @cached_property
    def extent(self) -> tuple[float, float, float, float]:
        """The bounding box x0 y0 x1 y1 around the center, unturned."""
        x, y = zip(*self.corners)
        r = self.rounding
        return min(x) - r, min(y) - r, max(x) + r, max(y) + r

    @cached_property
    def reach(self) -> float:
        """How far the outline goes from the center."""
        return max(math.hypot(*corner) for corner in self.corners) + self.rounding


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y) - 1


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.sqrt(x * x + y * y) - 0.8) - 0.27


def _box(x: np.ndarray, y: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    rounding = 0.08
    qx = np.abs(x) - (half_width - rounding)
    qy = np.abs(y) - (half_height - rounding)
    outside = np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
    return outside + np.minimum(np.maximum(qx, qy), 0) - rounding


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _box(x, y, 0.88, 0.88)


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum(_box(x, y, 1.05, 0.37), _box(x, y, 0.37, 1.05))


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Equilateral, tip up: the inner sides of three lines at half the outer radius of 1.3."""
    sides = np.float32(np.sqrt(3) / 2) * np.abs(x) - 0.5 * y
    return np.maximum(sides, y) - 0.65


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five tips, one up: the plane is folded onto half a tip, whose outline is a straight line."""
    outer, inner = STAR
    c, s = np.cos(np.pi / 5), np.sin(np.pi / 5)
    u, v = np.abs(x), -y  # v runs through the upper tip
    for nx, ny in ((c, -s), (-c, -s)):  # the two mirrors bring every tip onto the upper one
        reflect = 2 * np.maximum(np.float32(nx) * u + np.float32(ny) * v, 0)
        u = u - np.float32(nx) * reflect
        v = v - np.float32(ny) * reflect
    u = np.abs(u)
    # The line from the tip (0, outer) to the notch inner (sin 36, cos 36), as unit normal . p = d.
    normal = np.array([outer - inner * c, inner * s])
    normal /= np.linalg.norm(normal)
    return np.float32(normal[0]) * u + np.float32(normal[1]) * v - np.float32(normal[1] * outer)


def _bar(x: float, y: float) -> tuple[Point, ...]:
    return (-x, -y), (x, -y), (x, y), (-x, y)


def _around(radius: float, turns: float) -> tuple[Point, ...]:
    """Five points around the center; the first is that part of a turn clockwise from the top."""
    angles = [2 * math.pi * (turns + k / 5) for k in range(5)]
    return tuple((radius * math.sin(a), -radius * math.cos(a)) for a in angles)


_CORNER = 0.97, 0.29  # of the bars of the cross, before they are rounded
_SIDE = 1.126  # half the lower side of the triangle
_TRIANGLE = (0.0, -1.3), (_SIDE, 0.65), (-_SIDE, 0.65)
_TIPS, _NOTCHES = _around(STAR[0], 0), _around(STAR[1], 0.1)
_KITES = tuple(((0.0, 0.0), _NOTCHES[k - 1], _TIPS[k], _NOTCHES[k]) for k in range(5))
_BARS = _bar(1.05, 0.37), _bar(0.37, 1.05)

SHAPES: dict[str, Shape] = {
    "circle": Shape(_circle, ((0.0, 0.0),), 1.0, ()),
    "square": Shape(_square, _bar(0.8, 0.8), 0.08, (_bar(0.88, 0.88),)),
    "triangle": Shape(_triangle, _TRIANGLE, 0.0, (_TRIANGLE,)),
    "star": Shape(_star, _TIPS, 0.0, _KITES),
    "cross": Shape(_cross, _bar(*_CORNER) + _bar(*_CORNER[::-1]), 0.08, _BARS),
    "ring": Shape(_ring, ((0.0, 0.0),), 1.07, ()),
}
