"""Objects of a clip of the world `shapes`: colors, paths, radii and covers; see `attributes.py`.

Shape letters: T frames, H, W frame, M pixels that differ from the background, P side of a patch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from kinema.worlds import palette
from kinema.worlds.drawing import SHADOW_DEPTH

FAINT = 14.0  # RGB: less is noise of the background
FULL = 0.6  # of the way from the background to the nearest color: pixels that an object fills
APART = 1.7  # radii of equal area around the center of an object in which no other is looked for
REACH = 2.1  # the same, in which pixels can belong to the object
BROKEN = 0.75  # of what an object covers: if less is around its center, it is in pieces
LIT, DARK = 0.05, 2000.0  # how much light is preferred to shadow, on black too; see `cover_of`
THINNEST = 0.5  # share of its color that a blurred object shows at least
THIN = 30.0  # CIELAB: what showing nothing of its color would count
PATCH = 31  # pixels of a patch
SPAN = 2.0  # half the side of a patch, in radii of equal area

_NAMES = tuple(palette.COLORS)
_COLORS = np.array(list(palette.COLORS.values()), np.float32)


@dataclass(frozen=True, eq=False)
class Seen:
    """One object, followed through a clip.

    Attributes:
        color: its name in the palette.
        centers: (T, 2) x and y in pixels; they do not jump where the object crosses a border.
        radii: (T,) of the disc of equal area, in pixels; 0 where nothing is seen.
        patches: (T, P, P) how much of each place the object covers, in [0, 1], around its center,
            in units of `radii`.
    """

    color: str
    centers: np.ndarray
    radii: np.ndarray
    patches: np.ndarray


@dataclass(frozen=True, eq=False)
class _Pixels:
    """The pixels that differ from the background, in any shade of it."""

    t: np.ndarray  # (M,) their places
    y: np.ndarray
    x: np.ndarray
    rgb: np.ndarray  # (M, 3)
    ground: np.ndarray  # (M, 3), what is behind them
    away: np.ndarray  # (M,) distance from the nearest shade of it
    nearest: np.ndarray  # (M,) number of the palette's nearest color
    shape: tuple[int, int, int]  # (T, H, W)

    def distances(self, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From the centers (T, 2) of their frames to the pixels, x and y, the short way round."""
        found = []
        for place, side, center in zip((self.x, self.y), self.shape[:0:-1], centers.T):
            away = place - (center - 0.5).astype(np.float32)[self.t]
            found.append(away - side * np.rint(away / side))
        return found[0], found[1]

    def within(self, centers: np.ndarray, radius: np.ndarray) -> np.ndarray:
        """Which pixels lie around the centers (T, 2) of their frames in a radius (T,) or ()."""
        dx, dy = self.distances(centers)
        bound = np.broadcast_to(radius.astype(np.float32), (len(centers),))[self.t]
        inside: np.ndarray = dx * dx + dy * dy < bound * bound
        return inside

    def part(self, chosen: np.ndarray) -> _Pixels:
        """Some of the pixels."""
        per_pixel = ("t", "y", "x", "rgb", "ground", "away", "nearest")
        return replace(self, **{name: getattr(self, name)[chosen] for name in per_pixel})


@dataclass(frozen=True, eq=False)
class _Found:
    """An object before its outline is looked at."""

    color: str
    centers: np.ndarray  # (T, 2)
    radii: np.ndarray  # (T,)

    @property
    def radius(self) -> float:
        """The usual one."""
        return float(np.median(self.radii))


def find_objects(frames: np.ndarray, ground: np.ndarray, count: int) -> list[Seen]:
    """Follows the `count` most prominent objects of frames (T, H, W, 3) uint8 before a ground."""
    pixels = _differing(frames, ground)
    left, found = pixels, []
    for _ in range(count):
        one = _most_prominent(left)
        found.append(one)
        left = left.part(~left.within(one.centers, APART * np.maximum(one.radii, 0.8 * one.radius)))
    owner = np.zeros(len(pixels.t), np.int64)
    if count > 1:
        squared = [
            sum(d * d for d in pixels.distances(one.centers)) / max(one.radius, 1.0) ** 2
            for one in found
        ]
        owner = np.argmin(squared, axis=0)
    return [_seen(pixels.part(owner == i), one) for i, one in enumerate(found)]


def _differing(frames: np.ndarray, ground: np.ndarray) -> _Pixels:
    """Pixels that are neither ground nor ground in shadow."""
    level = np.rint(ground).astype(np.int16)
    changed = np.zeros(frames.shape[:3], bool)
    for c in range(3):
        changed |= np.abs(frames[..., c] - level[..., c]) > FAINT / 2
    t, y, x = np.nonzero(changed)
    levels, behind = frames[t, y, x], ground[y, x]
    rgb = levels.astype(np.float32)
    away = _distance_from_shades(rgb, behind)
    r, g, b = (levels >> 3).astype(np.int64).T
    nearest = _nearest_colors()[(r * 32 + g) * 32 + b]
    pixels = _Pixels(t, y, x, rgb, behind, away, nearest, frames.shape[:3])
    return pixels.part(away > FAINT)


def _distance_from_shades(rgb: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Distance (M,) in RGB of colors (M, 3) from the nearest shade of their ground (M, 3)."""
    light = np.einsum("mc,mc->m", rgb, ground) / np.maximum(
        np.einsum("mc,mc->m", ground, ground), 1
    )
    rest = rgb - np.clip(light, 1 - SHADOW_DEPTH - 0.05, 1)[:, None] * ground
    return np.sqrt(np.einsum("mc,mc->m", rest, rest))


def _most_prominent(left: _Pixels) -> _Found:
    """The object that most pixels show, by the color that is nearest to them."""
    core = left.part(left.away > FULL * _distance_from_shades(_COLORS[left.nearest], left.ground))
    color = int(np.bincount(core.nearest, minlength=len(_COLORS)).argmax())
    own = core.part(core.nearest == color)
    centers, radii = _follow(own, np.ones(len(own.t)))
    whole = core.part(core.within(centers, 1.4 * np.maximum(radii, np.median(radii))))
    if not len(whole.t):
        return _Found(_NAMES[color], centers, radii)
    centers, radii = _follow(whole, np.ones(len(whole.t)))
    return _Found(_color(whole), centers, radii)


@functools.cache
def _nearest_colors() -> np.ndarray:
    """The number of the palette's color that is nearest to each sRGB value, in steps of 8."""
    levels = np.arange(4, 256, 8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    far = palette.lab(grid)[..., None, :] - palette.lab(_COLORS)
    return np.square(far).sum(-1).argmin(axis=-1).ravel()


def _color(own: _Pixels) -> str:
    """The color of the palette that the fullest pixels show, perhaps thinned by the ground."""
    top = own.away >= np.median(own.away)
    seen, ground = (np.median(x[top], axis=0) for x in (own.rgb, own.ground))
    share = np.linspace(THINNEST, 1, 11)[:, None]
    thinned = palette.lab(ground + share[..., None] * (_COLORS - ground))  # (shares, colors, 3)
    far = np.linalg.norm(thinned - palette.lab(seen), axis=-1) + THIN * (1 - share)
    return _NAMES[int(far.min(axis=0).argmin())]


def _follow(own: _Pixels, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Center (T, 2) and radius of equal area (T,) of weighted pixels in each frame."""
    length, height, width = own.shape

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(own.t, values, minlength=length)

    turns = []
    for place, side in ((own.x, width), (own.y, height)):
        angle = 2 * np.pi * (np.arange(side) + 0.5) / side
        real, imaginary = (sums(weight * f(angle)[place]) for f in (np.cos, np.sin))
        turns.append(np.arctan2(imaginary, real) / (2 * np.pi) * side)
    area = whole = sums(weight)
    centers = _without_gaps(np.stack(turns, axis=-1), area > 0, (width, height))
    for _ in range(3):  # mean shift: specks far away have no say
        usual = max(float(np.median(np.sqrt(area / np.pi))), 2.0)
        bound = REACH * np.clip(np.sqrt(area / np.pi), 0.7 * usual, 1.5 * usual)
        dx, dy = own.distances(centers)
        inside = np.where(dx * dx + dy * dy < np.square(bound).astype(np.float32)[own.t], weight, 0)
        area = sums(inside)
        shift = np.stack([sums(inside * d) for d in (dx, dy)], axis=-1)
        centers = centers + shift / np.maximum(area, 1e-6)[:, None]
    if area.sum() < BROKEN * whole.sum():
        start = int(area.argmax())
        centers, area = _along(own, weight, centers[start], start, REACH * usual)
    return centers, np.sqrt(area / np.pi)


def _along(
    own: _Pixels, weight: np.ndarray, center: np.ndarray, start: int, bound: float
) -> tuple[np.ndarray, np.ndarray]:
    """Centers (T, 2) and areas (T,) of that piece of a broken object which is at a place in frame
    `start`: in every other frame it is looked for where it was in the one before.
    """
    size = np.array(own.shape[:0:-1])
    places, edges = np.stack([own.x, own.y], axis=-1) + 0.5, np.arange(own.shape[0] + 1)
    first = np.searchsorted(own.t, edges)
    centers, areas = np.tile(center, (own.shape[0], 1)), np.zeros(own.shape[0])
    for frames in (range(start, own.shape[0]), range(start, -1, -1)):
        at = center
        for t in frames:
            part = slice(first[t], first[t + 1])
            for _ in range(3):
                away = places[part] - at
                away -= size * np.rint(away / size)
                inside = weight[part] * (np.square(away).sum(axis=1) < bound * bound)
                at = at + inside @ away / max(float(inside.sum()), 1e-6)
            centers[t], areas[t] = at, inside.sum()
    return centers, areas


def _without_gaps(centers: np.ndarray, seen: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Centers unwrapped in time; frames that show nothing are filled from their neighbors."""
    if not seen.any():
        return np.zeros_like(centers) + np.array(size) / 2
    known = np.nonzero(seen)[0]
    filled = np.empty_like(centers)
    for axis, side in enumerate(size):
        path = np.unwrap(centers[known, axis], period=side)
        filled[:, axis] = np.interp(np.arange(len(centers)), known, path)
    return filled


def _seen(own: _Pixels, found: _Found) -> Seen:
    """An object with its exact cover, from the pixels that are nearer to it than to others."""
    cover = cover_of(own.rgb, own.ground, np.array(palette.COLORS[found.color], np.float32))
    near = own.within(found.centers, np.array(REACH * 1.5 * max(found.radius, 2.0)))
    cover = np.where(near, cover, 0)
    centers, radii = _follow(own, cover)
    dense = np.zeros(own.shape, np.float32)
    dense[own.t, own.y, own.x] = cover
    return Seen(found.color, centers, radii, _patches(dense, centers, radii))


def cover_of(rgb: np.ndarray, ground: np.ndarray, color: np.ndarray) -> np.ndarray:
    """How much of each pixel (M, 3) an object of a color (3,) covers, in [0, 1]; (M,).

    A pixel is a color + b ground, where a + b falls below 1 in shadow: least squares with a
    preference for light, which decides where color and ground are shades of one another.
    """
    gg = np.einsum("mc,mc->m", ground, ground)
    light = LIT * (gg + DARK)
    cc, cg = color @ color + light, ground @ color + light
    pc, pg = rgb @ color + light, np.einsum("mc,mc->m", rgb, ground) + light
    gg = gg + light
    cover: np.ndarray = np.clip((pc * gg - pg * cg) / (cc * gg - cg * cg), 0, 1)
    return cover


def _patches(cover: np.ndarray, centers: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Windows of cover (T, H, W) around the centers, in units of the radii, across borders."""
    _, height, width = cover.shape
    grid = np.linspace(-SPAN, SPAN, PATCH)
    t = np.arange(len(cover))[:, None, None]
    x, y = (centers[:, i, None] + radii[:, None] * grid - 0.5 for i in (0, 1))
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right_share = (x - left).astype(np.float32)[:, None, :]
    low_share = (y - top).astype(np.float32)[:, :, None]

    def at(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        picked: np.ndarray = cover[t, (rows % height)[:, :, None], (columns % width)[:, None, :]]
        return picked

    upper = at(top, left) * (1 - right_share) + at(top, left + 1) * right_share
    lower = at(top + 1, left) * (1 - right_share) + at(top + 1, left + 1) * right_share
    patches: np.ndarray = upper * (1 - low_share) + lower * low_share
    return patches
