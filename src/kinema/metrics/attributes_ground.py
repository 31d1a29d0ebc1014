"""The background of a clip of the world `shapes`, read back from its pixels; see `attributes.py`.

Shape letters: T frames, H, W frame, N candidates.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from kinema.worlds import palette
from kinema.worlds.backgrounds import DOT, JOINTS

FAR = 30.0  # CIELAB: a place that is farther from a candidate says only that it does not fit
NEAR = 20.0  # RGB: what is farther from the blends of two colors is an object at rest
ALIKE = 12.0  # RGB: how far the pixels of one row of a plain ground are from one another
CYCLES = np.linspace(0.89, 1.13, 13)  # around the usual number of periods in a side
WAVES = {  # of a pattern, across and down; all of them are there alike
    "stripes": ((6 * np.sqrt(0.5), 6 * np.sqrt(0.5)),),
    "checker": ((3, 3), (3, -3)),
    "dots": ((6, 0), (0, 6)),
}
AREAS = {"stripes": 0.5, "checker": 0.5, "dots": float(np.pi * DOT**2)}  # of the first color
WAVY = 0.15  # share of what differs from a plain ground that the waves of a pattern are at least
STRONG = 5.0  # RGB: the least amplitude of a pattern
SPIKE = 80, 2.0  # a difference beyond twice this percentile, as of an object at rest, is cut off
PALEST, PALE = 0.2, 10.0  # contrast of a blurred pattern, and what losing all of it would count


@dataclass(frozen=True, eq=False)
class Ground:
    """What lies behind the objects.

    Attributes:
        kind: of `worlds.backgrounds.KINDS`.
        name: as the labels of the world have it: "navy", "navy to teal", "navy and teal".
        pixels: (H, W, 3) float32, as it is seen where no object is, in [0, 255].
    """

    kind: str
    name: str
    pixels: np.ndarray


def read_ground(frames: np.ndarray) -> Ground:
    """Finds the background of frames (T, H, W, 3) uint8 that a still camera saw."""
    still = np.median(frames[:: 1 + len(frames) // 16], axis=0).astype(np.float32)
    rows = np.median(still, axis=1)
    line = _line(rows)
    pattern = _pattern(still, line)
    if pattern is not None:
        return pattern
    # A row is not its own ground where an object stays in more than half of it.
    alike = (np.abs(still - rows[:, None]).max(axis=-1) < ALIKE).mean(axis=1) > 0.5
    behind = np.broadcast_to(np.where(alike[:, None], rows, line)[:, None], still.shape)
    names, ramps = _ramps(len(rows))
    far = np.linalg.norm(ramps - palette.lab(rows), axis=-1)
    top, bottom = names[int(np.minimum(far, FAR).mean(axis=1).argmin())]
    kind = "flat" if top == bottom else "gradient"
    name = JOINTS[kind].join(dict.fromkeys((top, bottom)))
    return Ground(kind, name, behind.astype(np.float32))


@functools.cache
def _ramps(height: int) -> tuple[list[tuple[str, str]], np.ndarray]:
    """All pairs of background colors, and the ramps between them (N, H, 3) in CIELAB."""
    names = [(top, bottom) for top in palette.BACKGROUNDS for bottom in palette.BACKGROUNDS]
    ends = np.array([[palette.BACKGROUNDS[name] for name in pair] for pair in names], np.float64)
    share = np.linspace(0, 1, height)[:, None]
    return names, palette.lab((1 - share) * ends[:, :1] + share * ends[:, 1:])


def _line(rows: np.ndarray) -> np.ndarray:
    """The straight ramp through most of the rows (H, 3): least squares, the far ones left out."""
    y = np.linspace(-1, 1, len(rows))
    basis = np.stack([np.ones_like(y), y], axis=1)
    weight = np.ones(len(rows))
    ramp = rows
    for _ in range(5):
        scaled = basis * weight[:, None]
        ramp = basis @ np.linalg.lstsq(scaled, rows * weight[:, None], rcond=None)[0]
        away = np.abs(rows - ramp).max(axis=1)
        weight = 1 / (1 + (away / ALIKE) ** 2)
    return ramp


def _pattern(still: np.ndarray, line: np.ndarray) -> Ground | None:
    """The pattern that a picture (H, W, 3) shows, if it differs by one from a ramp (H, 3)."""
    rest = still - line[:, None]
    size = np.linalg.norm(rest, axis=-1, keepdims=True)
    most = SPIKE[1] * max(float(np.percentile(size, SPIKE[0])), STRONG)
    rest = rest * np.minimum(1, most / np.maximum(size, most))
    rest = rest - rest.mean(axis=(0, 1))
    kind, wave, color, power = _waves(rest)
    if power < STRONG**2 / 2 or power < WAVY * float(np.square(rest).sum(-1).mean()):
        return None
    # The two sides of the pattern, as they look here: medians, which objects do not change.
    share = rest @ color
    first = share > np.percentile(share, (10, 90)).mean()
    if kind == "dots" and first.mean() > 0.5:
        first, wave = ~first, -wave
    sides = np.stack([np.median(still[side], axis=0) for side in (first, ~first)])
    names = _two_colors(sides, AREAS[kind])
    if kind != "dots":
        names = (min(names), max(names))
    # Where an object stays, the waves say what is behind it.
    across = sides[0] - sides[1]
    place = (still - sides[1]) @ across / max(float(across @ across), 1.0)
    apart = still - sides[1] - np.clip(place, -0.2, 1.2)[..., None] * across
    hidden = np.linalg.norm(apart, axis=-1, keepdims=True) > NEAR
    behind = wave > np.quantile(wave, 1 - AREAS[kind])
    found = np.where(behind[..., None], sides[0], sides[1])
    pixels = np.where(hidden, found, still)
    return Ground(kind, JOINTS[kind].join(names), pixels.astype(np.float32))


def _waves(rest: np.ndarray) -> tuple[str, np.ndarray, np.ndarray, float]:
    """The waves of a pattern in what differs from a plain ground (H, W, 3).

    Returns:
        The kind of pattern whose waves are strongest, these waves (H, W), the unit color (3,) that
        is added where they are positive, and their mean square.
    """
    height, width, _ = rest.shape
    kind, most, cycle, amplitudes = "stripes", -1.0, 0, np.zeros((1, 3), complex)
    for name in WAVES:
        columns, rows = _bank(name, height, width)
        down = np.tensordot(columns.conj(), rest, axes=1)  # (waves, cycles, W, 3)
        found = np.einsum("knw,knwc->knc", rows.conj(), down) / (height * width / 2)
        power = np.square(np.abs(found)).sum(axis=-1)  # (waves, cycles)
        # A wave of one kind may be half of another: all its waves must be there.
        score = power.sum(axis=0) * np.sqrt(power.min(axis=0) / np.maximum(power.max(axis=0), 1e-9))
        best = int(score.argmax())
        if score[best] > most:
            kind, most, cycle, amplitudes = name, float(score[best]), best, found[:, best]
    strongest = amplitudes[int(np.abs(amplitudes).max(axis=1).argmax())]
    color = (strongest * np.conj(strongest[int(np.abs(strongest).argmax())])).real
    color = color / max(float(np.linalg.norm(color)), 1e-9)
    columns, rows = _bank(kind, height, width)
    wave = np.einsum("k,kh,kw->hw", amplitudes @ color, columns[:, cycle], rows[:, cycle]).real
    return kind, wave, color, float(np.square(wave).mean())


@functools.lru_cache(maxsize=16)
def _bank(kind: str, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Waves of a pattern down (waves, cycles, H) and across (waves, cycles, W)."""
    side = min(height, width)
    across, down = np.array(WAVES[kind]).T
    y, x = ((np.arange(length) + 0.5) / side for length in (height, width))
    return (
        np.exp(2j * np.pi * down[:, None, None] * CYCLES[:, None] * y),
        np.exp(2j * np.pi * across[:, None, None] * CYCLES[:, None] * x),
    )


def _two_colors(sides: np.ndarray, area: float) -> tuple[str, str]:
    """The colors of both sides of a pattern (2, 3), perhaps blurred into one another.

    Args:
        sides: as they look.
        area: share of the ground that the first has.
    """
    pairs = [(a, b) for a in palette.BACKGROUNDS for b in palette.BACKGROUNDS if a != b]
    known = np.array([[palette.BACKGROUNDS[name] for name in pair] for pair in pairs], np.float64)
    mean = area * known[:, 0] + (1 - area) * known[:, 1]
    contrast = np.linspace(PALEST, 1, 9)[:, None, None, None]
    blurred = mean[:, None] + contrast * (known - mean[:, None])  # (contrasts, N, 2, 3)
    far = np.linalg.norm(palette.lab(blurred) - palette.lab(sides), axis=-1).sum(axis=-1)
    far = far + PALE * (1 - contrast[..., 0, 0])
    return pairs[int(far.min(axis=0).argmin())]
