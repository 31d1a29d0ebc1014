"""Which of the shapes of the world `shapes` an outline is, and how it turns; see `attributes.py`.

An outline is told by its angular harmonics: the third of a triangle, the fourth of a square and, of
the other sign, of a cross, the fifth of a star. A blurred outline keeps their phases and loses
their size, so that a pentagon still reads as a star. A ring is told by its middle.

Shape letters: T frames, P side of a patch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from kinema.metrics.attributes_objects import PATCH, SPAN
from kinema.worlds.outlines import SHAPES
from kinema.worlds.shapes_scenes import RADII

RING = 0.15  # radii between two rings of a profile
ORDERS = (3, 4, 5)
# Of an upright shape: which of `ORDERS`, the phase that makes its harmonic positive, and the least
# size at which it counts, about a tenth of that of the sharp outline.
HARMONICS = {
    "triangle": (3, 1j, 0.09),
    "square": (4, -1, 0.04),
    "cross": (4, 1, 0.05),
    "star": (5, -1j, 0.027),
}
DIP, HOLLOW = 0.10, 0.16  # of the middle of a ring, against its brightest part and against 1
FALLOFF = (0.30, 0.42)  # radii over which the cover falls off: a disc that is only pale is sharper
MISFIT = 0.10  # of the logarithm of the radius: how far from a size of the world is far
MISFIT_WEIGHT = 0.3  # in the least that counts of a shape


@dataclass(frozen=True, eq=False)
class Outline:
    """What is known of an outline in each frame.

    Attributes:
        harmonics: (T, 3) complex, of `ORDERS`, as shares of the cover.
        hollow: how much of a ring there is, 1 at the least that counts.
        log_radius: of the disc of equal area in the middle of the range, in sides of the frame.
    """

    harmonics: np.ndarray
    hollow: float
    log_radius: float


def outline(patches: np.ndarray, radius: float) -> Outline:
    """Measures patches (T, P, P) of an object.

    Args:
        patches: as in `attributes_objects.Seen`.
        radius: of the disc of equal area, in sides of the frame.
    """
    waves, rings, middle = _basis()
    rows = patches.reshape(len(patches), -1)
    mass = rows @ waves[:, 0].real
    harmonics = rows @ waves[:, 1:] / np.maximum(mass, 1e-6)[:, None]
    mean = rows.mean(axis=0)
    profile = mean @ rings
    core = float(mean @ middle)
    dip = 1 - float(profile[:2].mean()) / max(float(profile.max()), 1e-6)
    soft = float(np.clip((_falloff(profile) - FALLOFF[0]) / (FALLOFF[1] - FALLOFF[0]), 0, 1))
    hollow = max(dip / DIP, soft * (1 - core) / HOLLOW) if profile.max() > 0.1 else 0.0
    return Outline(harmonics, hollow, float(np.log(max(radius, 1e-4))))


def strengths(seen: Outline, angles: np.ndarray) -> dict[str, float]:
    """How strongly an outline that is turned by angles (T,), clockwise, shows each shape.

    1 is the least that counts, and what a circle has.
    """
    found = {"circle": 1.0, "ring": seen.hollow}
    for shape, (order, phase, least) in HARMONICS.items():
        turned = seen.harmonics[:, ORDERS.index(order)] * np.exp(1j * order * angles)
        found[shape] = float((turned.mean() * phase).real) / least
    # What the radius says: it must be that of a size of the world, for a shape of this area.
    for shape in found:
        sizes = np.log(area_radius(shape) * np.array(list(RADII.values())))
        misfit = float(np.abs(seen.log_radius - sizes).min()) / MISFIT
        found[shape] -= MISFIT_WEIGHT * min(misfit, 2.5) ** 2
    return found


def _falloff(profile: np.ndarray) -> float:
    """Over how many radii a profile falls from three quarters of its top to one quarter."""
    outer = profile[int(profile.argmax()) :]
    levels = np.minimum.accumulate(outer) / max(float(outer[0]), 1e-6)
    rings = RING * np.arange(len(levels))
    high, low = np.interp([-0.75, -0.25], -levels, rings)
    return float(low - high)


def size_of(shape: str, radius: float) -> str:
    """The size of the world whose radius of equal area, in sides of the frame, is nearest."""
    seen = np.log(max(radius, 1e-4) / area_radius(shape))
    return min(RADII, key=lambda size: abs(seen - np.log(RADII[size])))


@functools.cache
def area_radius(shape: str) -> float:
    """The radius of the disc whose area is that of a shape of radius one."""
    grid = np.linspace(-1.5, 1.5, 601)
    inside = SHAPES[shape].distance(grid[None, None, :], grid[None, :, None]) < 0
    return float(np.sqrt(inside.mean() * 9 / np.pi))


@functools.cache
def _basis() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Waves (P * P, 4) of order 0 and `ORDERS`, rings (P * P, 12) and the middle (P * P,) of a
    patch; the last two take means.
    """
    grid = np.linspace(-SPAN, SPAN, PATCH)
    x, y = grid[None, :], grid[:, None]
    radius, angle = np.hypot(x, y).ravel(), np.arctan2(y, x + 0 * y).ravel()
    weight = np.where(radius < 1.9, radius**2, 0)
    waves = np.stack([weight * np.exp(-1j * n * angle) for n in (0, *ORDERS)], axis=-1)
    rings = np.stack([(radius >= r) & (radius < r + RING) for r in RING * np.arange(12)], axis=-1)
    middle = radius < 0.5
    return waves, rings / rings.sum(axis=0), middle / middle.sum()
