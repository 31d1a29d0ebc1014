"""STREAM under six corruptions, beside what the authors' code gave on the same sequences.

python bench/stream_corruptions.py

Real and fake are 300 sequences each of 24 features that are sums of cosines with amplitude 1 / f.
Rows without chance must agree to the third digit. Of corruptions that draw, the authors' code saw
one draw and this shows mean and deviation of ten; the draw must lie within three deviations.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kinema.metrics import corruptions
from kinema.metrics.stream import Signals, signals, stream
from kinema.noise import Noise

CLIPS, WIDTH, K = 300, 24, 5
DRAWS = 10
DIGITS = 0.0005  # half of the last digit that is known

# T, F, D of the authors' code.
REFERENCE = {
    16: {
        "none": (0.877, 0.893, 0.783),
        "shuffle a quarter": (0.594, 0.893, 0.783),
        "shuffle all": (0.026, 0.893, 0.783),
        "offset x1.5": (0.877, 0.207, 1.0),
        "offset x3": (0.877, 0.0, 1.0),
        "10 distinct": (0.288, 0.900, 0.0),
        "frozen": (0.007, 0.307, 0.997),
    },
    64: {
        "none": (0.779, 0.833, 0.820),
        "shuffle a quarter": (0.042, 0.833, 0.820),
        "shuffle all": (0.011, 0.833, 0.820),
        "offset x1.5": (0.780, 0.170, 1.0),
        "offset x3": (0.780, 0.0, 1.0),
        "10 distinct": (0.213, 0.700, 0.0),
        "frozen": (0.001, 0.233, 1.0),
    },
}

CORRUPTIONS: dict[str, Callable[[Tensor, Noise], Tensor]] = {
    "none": lambda x, noise: x,
    "shuffle a quarter": lambda x, noise: corruptions.shuffled(x, x.shape[1] // 4, noise),
    "shuffle all": lambda x, noise: corruptions.shuffled(x, x.shape[1], noise),
    "offset x1.5": lambda x, noise: corruptions.offset(x, 2 * (1.5 - 1), noise),
    "offset x3": lambda x, noise: corruptions.offset(x, 2 * (3 - 1), noise),
    "10 distinct": lambda x, noise: corruptions.collapsed(x, 10),
    "frozen": lambda x, noise: corruptions.frozen(x),
}
DRAWN = ("shuffle a quarter", "shuffle all", "offset x1.5", "offset x3")


@dataclass(frozen=True)
class Row:
    """One corruption: T, F, D over its draws (draws, 3), and as the authors' code gave them."""

    name: str
    scores: np.ndarray
    reference: tuple[float, ...]

    @property
    def agrees(self) -> np.ndarray:
        """(3,) bool: the reference lies within three deviations, or half a digit."""
        spread = 3 * self.scores.std(0) + DIGITS
        return np.abs(self.scores.mean(0) - self.reference) <= spread


def sequences(frames: int, seed: int) -> Tensor:
    """Features (N, F, D) float32: sum over f of |N(1, 0.3)| / f cos(2 pi f t / F + phase), plus
    3 and a normal constant for each clip.
    """
    draws = np.random.default_rng(seed)
    count = frames // 2
    f = np.arange(1, count + 1)
    amplitude = np.abs(draws.normal(1, 0.3, (CLIPS, count, WIDTH))) / f[:, None]
    phase = 2 * np.pi * draws.random((CLIPS, count, WIDTH))
    constant = draws.standard_normal((CLIPS, 1, WIDTH))
    # cos(a + b) = cos a cos b - sin a sin b, as two products of matrices.
    angle = 2 * np.pi * np.outer(np.arange(frames), f) / frames
    waves = np.cos(angle) @ (amplitude * np.cos(phase)) - np.sin(angle) @ (
        amplitude * np.sin(phase)
    )
    return torch.from_numpy((waves + constant + 3).astype(np.float32))


def rows(frames: int) -> Iterator[Row]:
    """The table at one length."""
    real, fake = signals(sequences(frames, 0), variant="code"), sequences(frames, 1)
    for name, corrupt in CORRUPTIONS.items():
        noises = [Noise(s, tuple(range(CLIPS))) for s in range(DRAWS if name in DRAWN else 1)]
        scores = np.array([scored(real, corrupt(fake, noise)) for noise in noises])
        yield Row(name, scores, REFERENCE[frames][name])


def scored(real: Signals, fake: Tensor) -> tuple[float, float, float]:
    """T, F and D."""
    found = stream(real, signals(fake, variant="code"), k=K)
    return found.temporal, found.fidelity, found.diversity


def main() -> int:
    """Prints both tables; the exit status is the number of values that do not agree."""
    torch.set_num_threads(1)
    apart = 0
    for frames in REFERENCE:
        print(f"F = {frames}: N = {CLIPS} + {CLIPS}, D = {WIDTH}, k = {K}")
        print(f"{'':18}  " + "".join(f"{name:>26}" for name in ("T", "F", "D")))
        for row in rows(frames):
            cells = [
                f"{mean:.3f} +- {deviation:.3f} ({reference:.3f}){' ' if fits else '!'}"
                for mean, deviation, reference, fits in zip(
                    row.scores.mean(0), row.scores.std(0), row.reference, row.agrees
                )
            ]
            print(f"{row.name:18}  " + "".join(f"{cell:>26}" for cell in cells))
            apart += int((~row.agrees).sum())
    print(f"in parentheses: the authors' code; {apart} values do not agree")
    return apart


if __name__ == "__main__":
    sys.exit(main())
