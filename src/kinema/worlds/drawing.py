"""Draws shaded, anti-aliased objects with soft shadows, in every frame of a clip at once.

Only a window around each object is computed. On a torus its pixels wrap around the frame's edges.
Shape letters: T frames, N objects, H, W frame or window in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kinema.worlds.outlines import SHAPES
from kinema.worlds.views import View

RGB = tuple[int, int, int]

SHADOW_SHIFT = (0.10, 0.22)  # radii to the right and down: the light comes from the upper left
SHADOW_BLUR = 0.32  # radii
SHADOW_DEPTH = 0.42  # how much light the shadow takes
EDGE = 0.65  # half the width of the soft edge, in pixels
PIXELS_AT_ONCE = 60_000  # work arrays of this many floats stay in the cache of one core


@dataclass(frozen=True, eq=False, kw_only=True)
class Body:
    """One object as it is drawn.

    Attributes:
        shape: a name of `SHAPES`.
        color: sRGB in [0, 255].
        centers: (T, 2) float64, (x, y) in pixels of the picture; may leave the frame.
        radii: (T,) in pixels.
        angles: (T,) in radians, clockwise; 0 is upright.
    """

    shape: str
    color: RGB
    centers: np.ndarray
    radii: np.ndarray
    angles: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """Everything that is drawn.

    Attributes:
        bodies: N objects.
        depth: their numbers from front to back.
        ground: (1 or T, H, 1 or W, 3) float32, sRGB in [0, 255].
        wraps: whether what leaves the frame comes back on the other side.
        height, width: of the frame, in pixels.
    """

    bodies: tuple[Body, ...]
    depth: tuple[int, ...]
    ground: np.ndarray
    wraps: bool
    height: int
    width: int

    def apart(self, number: int, other: int) -> np.ndarray:
        """The way from the center of another object to that of one, (T, 2) in pixels."""
        way = self.bodies[number].centers - self.bodies[other].centers
        if self.wraps:
            size = np.array([self.width, self.height])
            way = (way + size / 2) % size - size / 2
        return way


@dataclass(frozen=True)
class _Window:
    """The pixels around an object in some frames: where they are and how far from its center."""

    frames: slice
    rows: np.ndarray  # (t, H) into the frame
    columns: np.ndarray  # (t, W) into the frame
    x: np.ndarray  # (t, 1, W) from the object's center, in radii
    y: np.ndarray  # (t, H, 1)
    radii: np.ndarray  # (t, 1, 1) in pixels
    angles: np.ndarray | None  # (t, 1, 1); None where all are 0

    def put(self, target: np.ndarray, values: np.ndarray) -> None:
        """Writes values (t, H, W, ...) into a target (T, H, W, ...)."""
        target[self._places(target)] = values

    def get(self, source: np.ndarray) -> np.ndarray:
        """What a source (1 or T, H, 1 or W) has at these pixels, (t, H, 1 or W)."""
        return source[self._places(source)]

    def _places(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        frames = np.arange(self.frames.start, self.frames.stop)[:, None, None] % x.shape[0]
        columns = self.columns[:, None, : x.shape[2]] % x.shape[2]
        return frames, self.rows[:, :, None], columns

    def distance(self, shape: str, shift: tuple[float, float]) -> np.ndarray:
        """Signed distance to the outline that is shifted, (t, H, W) in radii."""
        x, y = self.x - shift[0], self.y - shift[1]
        if self.angles is not None:
            c, s = np.cos(self.angles), np.sin(self.angles)
            x, y = c * x + s * y, c * y - s * x
        return SHAPES[shape].distance(x, y)


def draw_frames(scene: Scene) -> np.ndarray:
    """The frames of a scene, (T, H, W, 3) uint8."""
    length = len(scene.bodies[0].centers)
    frames = np.empty((length, scene.height, scene.width, 3), np.uint8)
    ground = np.rint(scene.ground).astype(np.uint8)
    frames[:] = np.tile(ground, (1, 1, scene.width // ground.shape[2], 1))
    below = scene.ground
    for number in reversed(scene.depth):
        body = scene.bodies[number]
        for window in _windows(scene, body):
            _paint(frames, below, body, window)
        below = frames
    return frames


def _paint(frames: np.ndarray, below: np.ndarray, body: Body, window: _Window) -> None:
    """Draws an object and its shadow over what lies below it."""
    d = window.distance(body.shape, (0, 0))
    cover = _smooth(d, EDGE / window.radii)
    shadow = _smooth(window.distance(body.shape, SHADOW_SHIFT), np.array(SHADOW_BLUR))
    light = 1 - SHADOW_DEPTH * shadow
    shade, gloss = _shading(window.x, window.y, d)
    pixels = np.empty((*d.shape, 3), np.uint8)
    for c, color in enumerate(body.color):
        ground = light * window.get(below[..., c])
        lit = np.minimum(color * shade, 255)
        lit += gloss * (255 - lit)
        pixels[..., c] = ground + cover * (lit - ground) + 0.5
    window.put(frames, pixels)


def draw_masks(scene: Scene) -> np.ndarray:
    """Pixels whose centers lie on an object and on none in front of it, (T, N, H, W) bool."""
    length = len(scene.bodies[0].centers)
    masks = np.zeros((length, len(scene.bodies), scene.height, scene.width), bool)
    taken = np.zeros((length, scene.height, scene.width), bool)
    for number in scene.depth:
        body = scene.bodies[number]
        for window in _windows(scene, body):
            window.put(masks[:, number], window.distance(body.shape, (0, 0)) < 0)
        masks[:, number] &= ~taken
        taken |= masks[:, number]
    return masks


def boxes(scene: Scene) -> np.ndarray:
    """The boxes of the whole objects, clipped to the frame, (T, N, 4) float32.

    On a torus it is the box of the piece that holds the center. Of an object that is out of the
    frame it is NaN.
    """
    return np.stack([_boxes(scene, body) for body in scene.bodies], axis=1).astype(np.float32)


def _boxes(scene: Scene, body: Body) -> np.ndarray:
    size = np.array([scene.width, scene.height])
    centers = body.centers % size if scene.wraps else body.centers
    shape = SHAPES[body.shape]
    if body.angles.any():
        x, y = np.array(shape.corners).T[:, None]
        c, s = np.cos(body.angles)[:, None], np.sin(body.angles)[:, None]
        turned = np.stack([c * x - s * y, s * x + c * y], axis=-1)  # (T, corners, 2)
        low, high = turned.min(axis=1) - shape.rounding, turned.max(axis=1) + shape.rounding
        around = body.radii[:, None] * np.concatenate([low, high], axis=1)
    else:
        around = body.radii[:, None] * np.array(shape.extent)
    corners = np.tile(centers, 2) + around
    found = np.clip(corners, 0, np.tile(size, 2))
    found[((corners[:, :2] >= size) | (corners[:, 2:] <= 0)).any(axis=1)] = np.nan
    return found


def draw_flow(scene: Scene, view: View) -> np.ndarray:
    """Forward flow (T - 1, H, W, 2) float32: how far the surface that a pixel of frame t shows has
    gone in frame t + 1, (x, y) in pixels, whether it is seen there or not.

    Args:
        scene: what is drawn.
        view: how the ground is seen to move.
    """
    length = len(scene.bodies[0].centers) - 1
    flow = np.empty((length, scene.height, scene.width, 2), np.float32)
    x, y = np.arange(scene.width) + 0.5, np.arange(scene.height) + 0.5
    flow[..., 0], flow[..., 1] = view.flow(x[None, None, :], 0), view.flow(y[None, :, None], 1)
    for number in reversed(scene.depth):
        body = scene.bodies[number]
        step = np.diff(body.centers, axis=0)
        growth, turn = body.radii[1:] / body.radii[:-1], np.diff(body.angles)
        for window in _windows(scene, body):
            # Of the last frame nothing is asked; its place in the last window is dropped.
            t = np.arange(window.frames.start, min(window.frames.stop, length))
            k = len(t)
            inside = window.distance(body.shape, (0, 0))[:k] < 0
            c, s = ((growth * f(turn))[t, None, None] for f in (np.cos, np.sin))
            x, y = window.x[:k] * window.radii[:k], window.y[:k] * window.radii[:k]
            gone = np.stack([(c - 1) * x - s * y, s * x + (c - 1) * y], axis=-1)
            gone += step[t, None, None, :]
            at = t[:, None, None], window.rows[:k, :, None], window.columns[:k, None, :]
            flow[at] = np.where(inside[..., None], gone, flow[at])
    return flow


def seen_centers(scene: Scene) -> np.ndarray:
    """Whether each object's center lies in the frame and behind no other object, (T, N) bool."""
    size = np.array([scene.width, scene.height])
    seen = np.empty((len(scene.bodies[0].centers), len(scene.bodies)), bool)
    for place, number in enumerate(scene.depth):
        center = scene.bodies[number].centers
        seen[:, number] = scene.wraps | ((center >= 0) & (center < size)).all(axis=1)
        for front in scene.depth[:place]:
            other = scene.bodies[front]
            x, y = (scene.apart(number, front) / other.radii[:, None]).T
            c, s = np.cos(other.angles), np.sin(other.angles)
            seen[:, number] &= SHAPES[other.shape].distance(c * x + s * y, c * y - s * x) >= 0
    return seen


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


def _smooth(d: np.ndarray, width: np.ndarray) -> np.ndarray:
    """1 where d < -width, 0 where d > width, a smooth step in between."""
    u = np.clip(0.5 - d / (2 * width).astype(np.float32), 0, 1)
    return u * u * (3 - 2 * u)


def _windows(scene: Scene, body: Body) -> Iterator[_Window]:
    """Windows that hold an object and its shadow, for a few frames at a time."""
    shape, turned = SHAPES[body.shape], body.angles.any()
    extent = shape.reach if turned else max(abs(e) for e in shape.extent)
    reach = body.radii.max() * (extent + max(SHADOW_SHIFT) + SHADOW_BLUR) + 1
    half = int(np.ceil(reach))
    sides = 2 * half + 1, 2 * half + 1
    size = scene.width, scene.height
    if scene.wraps:
        assert max(sides) <= min(size), "the object is too large to wrap around"
    else:
        sides = min(sides[0], size[0]), min(sides[1], size[1])
    step = max(1, PIXELS_AT_ONCE // (sides[0] * sides[1]))
    for start in range(0, len(body.centers), step):
        frames = slice(start, min(start + step, len(body.centers)))
        center, radii = body.centers[frames], body.radii[frames, None]
        first = np.floor(center).astype(np.int64) - half
        if not scene.wraps:
            first = np.clip(first, 0, np.subtract(size, sides))
        columns, rows = (first[:, i, None] + np.arange(sides[i]) for i in (0, 1))
        x = (columns + 0.5 - center[:, :1]) / radii
        y = (rows + 0.5 - center[:, 1:]) / radii
        yield _Window(
            frames=frames,
            rows=rows % scene.height,
            columns=columns % scene.width,
            x=x.astype(np.float32)[:, None, :],
            y=y.astype(np.float32)[:, :, None],
            radii=radii[:, :, None],
            angles=body.angles[frames, None, None].astype(np.float32) if turned else None,
        )
