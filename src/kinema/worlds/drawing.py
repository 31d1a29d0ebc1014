"""Draws one shaded, anti-aliased object with a soft shadow, in every frame of a clip at once.

Shapes are signed distance functions (negative inside) in units of the object's radius, with y
downward. Only a window around the object is computed; its pixels wrap around the frame's edges.
Shape letters: T frames, H, W frame, N side of the window in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]  # x (T, 1, N), y (T, N, 1) -> (T, N, N)

SHADOW_SHIFT = (0.10, 0.22)  # radii to the right and down: the light comes from the upper left
SHADOW_BLUR = 0.32  # radii
SHADOW_DEPTH = 0.42  # how much light the shadow takes
EDGE = 0.65  # half the width of the soft edge, in pixels
PIXELS_AT_ONCE = 60_000  # work arrays of this many floats stay in the cache of one core


@dataclass(frozen=True)
class Shape:
    """A shape of radius one.

    Attributes:
        distance: its signed distance; exact near the outline, a lower bound far from it.
        extent: its bounding box x0 y0 x1 y1 around the center.
    """

    distance: Distance
    extent: tuple[float, float, float, float]


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
    outer, inner = 1.28, 0.60
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


SHAPES: dict[str, Shape] = {
    "circle": Shape(_circle, (-1.0, -1.0, 1.0, 1.0)),
    "square": Shape(_square, (-0.88, -0.88, 0.88, 0.88)),
    "triangle": Shape(_triangle, (-1.126, -1.3, 1.126, 0.65)),
    "star": Shape(_star, (-1.2174, -1.28, 1.2174, 1.0355)),
    "cross": Shape(_cross, (-1.05, -1.05, 1.05, 1.05)),
    "ring": Shape(_ring, (-1.07, -1.07, 1.07, 1.07)),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """Everything that is drawn.

    Attributes:
        shape: a name of `SHAPES`.
        radius: of the object, in pixels.
        color: of the object, sRGB in [0, 255].
        top, bottom: of the background, sRGB in [0, 255]; equal for a flat one.
        tracks: (T, 2) float64, the object's center (x, y) in pixels; may leave the frame.
        height, width: of the frame, in pixels.
    """

    shape: str
    radius: float
    color: tuple[int, int, int]
    top: tuple[int, int, int]
    bottom: tuple[int, int, int]
    tracks: np.ndarray
    height: int
    width: int


@dataclass(frozen=True)
class _Window:
    """The pixels around the object in some frames: where they are and how far from its center."""

    frames: slice
    rows: np.ndarray  # (t, N) into the frame
    columns: np.ndarray  # (t, N) into the frame
    x: np.ndarray  # (t, 1, N) from the object's center, in radii
    y: np.ndarray  # (t, N, 1)

    def put(self, target: np.ndarray, values: np.ndarray) -> None:
        """Writes values (t, N, N, ...) into a target (T, H, W, ...)."""
        t = np.arange(self.frames.start, self.frames.stop)[:, None, None]
        target[t, self.rows[:, :, None], self.columns[:, None, :]] = values


def draw_frames(scene: Scene) -> np.ndarray:
    """The frames of a scene, (T, H, W, 3) uint8."""
    share = np.linspace(0, 1, scene.height, dtype=np.float32)[:, None]
    top, bottom = np.array(scene.top, np.float32), np.array(scene.bottom, np.float32)
    ramp_HC = (1 - share) * top + share * bottom
    frames = np.empty((len(scene.tracks), scene.height, scene.width, 3), np.uint8)
    frames[:] = np.rint(ramp_HC).astype(np.uint8)[:, None, :]

    distance = SHAPES[scene.shape].distance
    shift_x, shift_y = SHADOW_SHIFT
    for window in _windows(scene):
        x, y = window.x, window.y
        d = distance(x, y)
        cover = _smooth(d, EDGE / scene.radius)
        shadow = _smooth(distance(x - shift_x, y - shift_y), SHADOW_BLUR)
        light = 1 - SHADOW_DEPTH * shadow
        shade, gloss = _shading(x, y, d)
        pixels = np.empty((*d.shape, 3), np.uint8)
        for c, color in enumerate(scene.color):
            ground = light * ramp_HC[:, c][window.rows][:, :, None]
            body = np.minimum(color * shade, 255)
            body += gloss * (255 - body)
            pixels[..., c] = ground + cover * (body - ground) + 0.5
        window.put(frames, pixels)
    return frames


def draw_masks(scene: Scene) -> np.ndarray:
    """Pixels that the object covers by more than half, (T, H, W) bool."""
    masks = np.zeros((len(scene.tracks), scene.height, scene.width), bool)
    for window in _windows(scene):
        window.put(masks, SHAPES[scene.shape].distance(window.x, window.y) < 0)
    return masks


def boxes(scene: Scene) -> np.ndarray:
    """The box of the piece that holds the object's center, clipped to the frame; (T, 4) float32."""
    size = np.array([scene.width, scene.height])
    around = scene.radius * np.array(SHAPES[scene.shape].extent)
    corners = np.tile(scene.tracks % size, 2) + around
    return np.clip(corners, 0, np.tile(size, 2)).astype(np.float32)


def _shading(x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How bright the body is and how glossy, at places whose distance to the outline is d.

    The body is a low dome: lighter where it faces the upper left, darker toward its rim, with one
    soft highlight. Averaged over the body the color stays what it is called.
    """
    rim = np.maximum(1 + d / 0.45, 0)  # 0 inside, 1 at the outline
    rim *= rim
    slope = -0.5 * x - 0.7 * y  # toward the light
    shade = 1.04 + (0.10 + 0.16 * rim) * slope - 0.10 * rim
    gloss = 0.30 * np.exp(-((x + 0.34) ** 2) / 0.16) * np.exp(-((y + 0.42) ** 2) / 0.13)
    return shade, gloss


def _smooth(d: np.ndarray, width: float) -> np.ndarray:
    """1 where d < -width, 0 where d > width, a smooth step in between."""
    u = np.clip(0.5 - d / np.float32(2 * width), 0, 1)
    return u * u * (3 - 2 * u)


def _windows(scene: Scene) -> Iterator[_Window]:
    """Windows that hold the object and its shadow, for a few frames at a time."""
    extent = max(abs(e) for e in SHAPES[scene.shape].extent)
    reach = scene.radius * (extent + max(SHADOW_SHIFT) + SHADOW_BLUR) + 1
    half = int(np.ceil(reach))
    side = 2 * half + 1
    assert side <= min(scene.height, scene.width), "the object is too large to wrap around"
    step = max(1, PIXELS_AT_ONCE // side**2)
    for start in range(0, len(scene.tracks), step):
        frames = slice(start, min(start + step, len(scene.tracks)))
        center = scene.tracks[frames]
        first = np.floor(center).astype(np.int64) - half
        columns, rows = (first[:, i, None] + np.arange(side) for i in (0, 1))
        x = (columns + 0.5 - center[:, :1]) / scene.radius
        y = (rows + 0.5 - center[:, 1:]) / scene.radius
        yield _Window(
            frames=frames,
            rows=rows % scene.height,
            columns=columns % scene.width,
            x=x.astype(np.float32)[:, None, :],
            y=y.astype(np.float32)[:, :, None],
        )
