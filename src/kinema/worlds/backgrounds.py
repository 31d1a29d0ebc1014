"""The grounds of the world `shapes`: one color, a gradient, or a pattern of two colors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kinema.worlds.palette import BACKGROUNDS
from kinema.worlds.views import View

PLAIN = ("flat", "gradient")
PATTERNS = ("stripes", "checker", "dots")
KINDS = PLAIN + PATTERNS
JOINTS = {"flat": " ", "gradient": " to ", **dict.fromkeys(PATTERNS, " and ")}
SOFT = {"stripes": 2.0, "checker": 1.2, "dots": 1.2}  # half the width of a soft edge, in pixels
DOT = 0.3  # radius of a dot, in periods


@dataclass(frozen=True)
class Background:
    """A ground.

    Attributes:
        kind: of `KINDS`.
        names: of its colors, one of a flat ground, else two: of a gradient from top to bottom, of
            dots first that of the dots.
        period: of a pattern, in pixels; of a checker that of two fields.
        offset: of a pattern, in periods.
    """

    kind: str
    names: tuple[str, ...]
    period: float
    offset: tuple[float, float]

    @property
    def label(self) -> str:
        """What it is called: "navy", "navy to teal", "navy and teal"."""
        return JOINTS[self.kind].join(self.names)


def names_in(label: str, kind: str) -> tuple[str, ...]:
    """The colors that the label of a ground of this kind names."""
    return tuple(label.split(JOINTS[kind]))


def share_of_first(kind: str, rows: int) -> np.ndarray:
    """How much of a ground of two colors has the first, in each of equally high rows, (rows,).

    Of a pattern it is the mean over its period.
    """
    if kind == "gradient":
        return 1 - (np.arange(rows) + 0.5) / rows
    return np.full(rows, np.pi * DOT**2 if kind == "dots" else 0.5)


def draw(background: Background, view: View, height: int, width: int) -> np.ndarray:
    """The ground in pixels, float32: (1, H, 1, 3) if plain, (1, H, W, 3) for a pattern that stays,
    (T, H, W, 3) for one that the camera moves over.
    """
    colors = [BACKGROUNDS[name] for name in background.names]
    first, second = (np.array(color, np.float32) for color in (colors[0], colors[-1]))
    if background.kind in PLAIN:
        assert view.is_static, "a moving camera needs a ground on which it is seen to move"
        share = np.linspace(0, 1, height, dtype=np.float32)[None, :, None, None]
        return (1 - share) * first + share * second
    frames = 1 if view.is_static else len(view.scales)
    scales, centers = view.scales[:frames, None], view.centers[:frames]
    columns = (np.arange(width) + 0.5 - view.middle[0]) / scales + centers[:, :1]
    rows = (np.arange(height) + 0.5 - view.middle[1]) / scales + centers[:, 1:]
    x = (columns / background.period + background.offset[0])[:, None, :]
    y = (rows / background.period + background.offset[1])[:, :, None]
    # How soft an edge is, in periods: as many pixels at every scale.
    soft = SOFT[background.kind] / (background.period * scales[:, :, None])
    share = _pattern(background.kind, x.astype(np.float32), y.astype(np.float32), soft)[..., None]
    return second + share * (first - second)


def _pattern(kind: str, x: np.ndarray, y: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """How much of the first color there is, in [0, 1], at places in periods."""
    soft = soft.astype(np.float32)
    if kind == "stripes":
        return _step(_wave((x + y) * np.float32(np.sqrt(0.5))), soft)
    if kind == "checker":
        across, down = (2 * _step(_wave(at), soft) - 1 for at in (x, y))
        return 0.5 + 0.5 * across * down
    dx, dy = (np.abs(at % 1 - 0.5) for at in (x, y))
    return _step(np.sqrt(dx * dx + dy * dy) - DOT, soft)


def _wave(x: np.ndarray) -> np.ndarray:
    """Signed distance to the nearest edge of bands half a period wide, in periods."""
    return np.abs(x % 1 - 0.5) - 0.25


def _step(d: np.ndarray, soft: np.ndarray) -> np.ndarray:
    u = np.clip(0.5 - d / (2 * soft), 0, 1)
    return u * u * (3 - 2 * u)
