"""The colors of objects and backgrounds, and which of them go together.

Distances are CIE 1976 color differences (Euclidean in CIELAB, D65 white): about 2 is just
noticeable, the nearest two object colors are more than 30 apart.
"""

from __future__ import annotations

import functools

import numpy as np

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (224, 36, 40),
    "orange": (248, 136, 20),
    "yellow": (250, 222, 48),
    "green": (46, 176, 66),
    "cyan": (44, 208, 232),
    "blue": (40, 92, 236),
    "purple": (142, 54, 196),
    "pink": (250, 132, 190),
    "white": (246, 246, 248),
    "brown": (132, 80, 44),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "black": (16, 16, 18),
    "gray": (128, 130, 134),
    "navy": (18, 28, 86),
    "teal": (8, 108, 108),
    "maroon": (98, 16, 36),
    "olive": (108, 110, 36),
    "cream": (246, 234, 202),
    "lavender": (194, 182, 232),
}
TOO_CLOSE = 35.0  # an object on a background nearer than this is hard to see in a small clip
TOO_FLAT = 25.0  # a gradient between colors nearer than this looks flat


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB coordinates (..., 3) of sRGB values (..., 3) in [0, 255]."""
    x = np.asarray(rgb, np.float64) / 255
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    white = to_xyz.sum(axis=1)
    t = linear @ to_xyz.T / white
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29)
    fx, fy, fz = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def nearest(rgb: np.ndarray) -> str:
    """The name of the object color that comes nearest to an sRGB value (3,) in [0, 255]."""
    names = tuple(COLORS)
    distances = np.linalg.norm(lab(np.array([COLORS[n] for n in names])) - lab(rgb), axis=-1)
    return names[int(distances.argmin())]


@functools.cache
def flat_backgrounds(color: str) -> tuple[str, ...]:
    """The backgrounds on which an object of this color stands out."""
    return tuple(name for name in BACKGROUNDS if _stands_out(color, name, name))


@functools.cache
def gradient_backgrounds(color: str) -> tuple[tuple[str, str], ...]:
    """The (top, bottom) pairs between which an object of this color stands out everywhere."""
    return tuple(
        (top, bottom)
        for top in BACKGROUNDS
        for bottom in BACKGROUNDS
        if _distance(BACKGROUNDS[top], BACKGROUNDS[bottom]) > TOO_FLAT
        and _stands_out(color, top, bottom)
    )


def _stands_out(color: str, top: str, bottom: str) -> bool:
    # Five places of the ramp: the middle of a gradient can be a color that neither end is.
    share = np.linspace(0, 1, 5)[:, None]
    ramp = (1 - share) * np.array(BACKGROUNDS[top]) + share * np.array(BACKGROUNDS[bottom])
    return bool(
        (np.linalg.norm(lab(ramp) - lab(np.array(COLORS[color])), axis=-1) > TOO_CLOSE).all()
    )


def _distance(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    return float(np.linalg.norm(lab(np.array(a)) - lab(np.array(b))))
