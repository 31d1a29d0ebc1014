"""STREAM: time and space of generated clips scored apart (arXiv 2403.09669), Kim et al. 2024.

Authors' code: github.com/pro2nit/STREAM (MIT). Verified by recorded cases: all of the variant
``code``. Ours is ``moment``, the standardized third moment that the code's expression resembles.

Letters: N clips, F frames, D features of a frame, K = F // 2 frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from kinema.errors import InputError, unknown
from kinema.metrics.prdc import prdc

Variant = Literal["code", "moment"]

FEWEST_FRAMES = 4  # two frequencies: with fewer there is no line to fit
BINS = 50
FLOOR = 1e-6  # of amplitudes, so that their logarithm exists
EMPTY = 1e-12  # keeps the correlation of flat histograms at 0
BLOCK = 1 << 22  # amplitudes that are worked on at once


@dataclass(frozen=True, eq=False)
class Signals:
    """What STREAM keeps of clips.

    Attributes:
        skew: (N, D) float64, from how fast the spectrum falls off: the motion.
        mean: (N, D) amplitude at frequency zero, in the type of the features: the content.
    """

    skew: Tensor
    mean: Tensor


@dataclass(frozen=True)
class Scores:
    """Temporal naturalness, spatial fidelity and spatial diversity, each in [0, 1], 1 the best."""

    temporal: float
    fidelity: float
    diversity: float


def stream(real: Signals, fake: Signals, *, k: int) -> Scores:
    """STREAM-T, STREAM-F and STREAM-D of two sets of clips.

    Args:
        real: N clips.
        fake: M clips with as many features.
        k: which neighbor bounds the balls of F and D; 5 in the paper.

    Raises:
        InputError: a set has fewer than k + 1 clips.
    """
    spatial = prdc(real.mean, fake.mean, k=k)
    temporal = histogram_correlation(real.skew, fake.skew)
    return Scores(temporal=temporal, fidelity=spatial.precision, diversity=spatial.recall)


def signals(features: Tensor, *, variant: Variant) -> Signals:
    """Skewness of the fitted power law of the spectrum and mean signal, for each clip and feature.

    Args:
        features: (N, F, D) float32, any F from 4 up.
        variant: ``code``, as published, or ``moment``; their skews have other scales.

    Raises:
        InputError: fewer than 4 frames, features that are not finite, or no such variant.
    """
    _, frames, width = features.shape
    if frames < FEWEST_FRAMES:
        raise InputError(f"STREAM needs clips of at least {FEWEST_FRAMES} frames, not {frames}")
    if not features.isfinite().all():
        raise InputError("the features hold NaN or infinity; check the embedder and its frames")
    if variant not in get_args(Variant):
        raise unknown("variant of STREAM", variant, get_args(Variant))
    parts = features.split(max(1, BLOCK // (frames * width)))
    skews, means = zip(*(_signals(part, variant) for part in parts))
    return Signals(skew=torch.cat(skews), mean=torch.cat(means))


def _signals(features: Tensor, variant: Variant) -> tuple[Tensor, Tensor]:
    count = features.shape[1] // 2
    spectrum = torch.fft.fft(features, dim=1)[:, : count + 1]
    amplitudes = 2 * spectrum.abs() / (count + 1)  # over the bins that are kept, not over F
    mean, rest = amplitudes[:, 0], amplitudes[:, 1:] + FLOOR
    frequencies = torch.arange(1, count + 1, dtype=features.dtype, device=features.device)
    slope = _slope(rest, frequencies).double()
    k = frequencies.double()[:, None]
    # The law's factor cancels: its weights are k^B over their sum, which depend on B alone.
    weights = k ** slope[:, None, :]
    second, third = (weights * k**2).sum(1), (weights * k**3).sum(1)
    spread = second.sqrt() if variant == "code" else second**1.5
    return third * weights.sum(1).sqrt() / spread, mean


def _slope(amplitudes: Tensor, frequencies: Tensor) -> Tensor:
    """B (N, D) of the least-squares line B ln k + c through ln of the amplitudes (N, K, D)."""
    x = torch.stack([frequencies.log(), torch.ones_like(frequencies)])
    solve = x.T @ (x @ x.T).inverse()
    return torch.einsum("nkd,k->nd", amplitudes.log(), solve[:, 0])


def histogram_correlation(a: Tensor, b: Tensor) -> float:
    """Squared Pearson correlation of the histograms of (N, D) and (M, D), averaged over D.

    Each of the 50 bins is one observation. The bins lie between integers: the ends of the common
    range, truncated towards zero and moved outwards by one.
    """
    correlations = []
    for x, y in zip(a.T.cpu(), b.T.cpu()):
        limits = (int(min(x.min(), y.min())) - 1, int(max(x.max(), y.max())) + 1)
        p, q = (torch.histogram(z, BINS, range=limits).hist / len(a) for z in (x, y))
        p, q = p - p.mean(), q - q.mean()
        correlations.append((p @ q) / (p.norm() * q.norm() + EMPTY))
    return float(torch.stack(correlations).square().mean())
