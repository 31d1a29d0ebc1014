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
BLOCK = 1 << 18  # features that are worked on at once: what caches hold


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
    if variant not in get_args(Variant):
        raise unknown("variant of STREAM", variant, get_args(Variant))
    k = torch.arange(1, frames // 2 + 1, dtype=features.dtype, device=features.device)
    solve = _solve(k)
    parts = features.split(max(1, BLOCK // (frames * width)))
    skews, means = zip(*(_signals(part, k, solve, variant) for part in parts))
    mean = torch.cat(means)
    if not mean.isfinite().all():  # one value that is not finite shows in all amplitudes
        raise InputError("the features hold NaN or infinity; check the embedder and its frames")
    return Signals(skew=torch.cat(skews), mean=mean)


def _signals(
    features: Tensor, frequencies: Tensor, solve: Tensor, variant: Variant
) -> tuple[Tensor, Tensor]:
    count = len(frequencies)
    # Like theirs a transform of complex numbers: that of real ones (fft) rounds otherwise.
    spectrum = torch.fft.fftn(features.transpose(1, 2).contiguous(), dim=(2,))[..., : count + 1]
    # Half the time of `abs`, with its digits.
    amplitudes = torch.hypot(spectrum.real.contiguous(), spectrum.imag.contiguous())
    amplitudes = amplitudes.mul_(2).div_(count + 1)  # over the bins that are kept, not over F
    mean, rest = amplitudes[..., 0], amplitudes[..., 1:] + FLOOR
    slope = _slope(rest, solve)
    k = frequencies.double()
    # The law's factor cancels: its weights are k^B over their sum, which depend on B alone.
    weights = (slope.double()[..., None] * k.log()).exp_()
    powers = torch.stack([torch.ones_like(k), k**2, k**3, k**2 * k.log(), k**3 * k.log()], 1)
    total, second, third, d_second, d_third = (weights @ powers).unbind(-1)
    if variant == "moment":
        return third * total.sqrt() / second**1.5, mean
    # They add 2 and 3 to B in its own type: the derivatives make up for what that rounds off.
    second = second + d_second * ((slope + 2).double() - slope.double() - 2)
    third = third + d_third * ((slope + 3).double() - slope.double() - 3)
    return third * total.sqrt() / second.sqrt(), mean


def _solve(frequencies: Tensor) -> Tensor:
    """The weights (K, 1) of ln of the amplitudes in the slope of their least-squares line."""
    x = torch.stack([frequencies.log(), torch.ones_like(frequencies)])
    return (x.T @ (x @ x.T).inverse())[:, :1]


def _slope(amplitudes: Tensor, solve: Tensor) -> Tensor:
    """B (N, D) of the least-squares line B ln k + c through ln of the amplitudes (N, D, K).

    It puts the logarithms in their place.
    """
    logs = amplitudes.log_().view(-1, 1, len(solve))
    # One product for each line, as theirs: any other order of the sum rounds otherwise.
    return torch.bmm(logs, solve.expand(len(logs), -1, 1)).view(amplitudes.shape[:2])


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
