"""How well one series of numbers orders another: rank correlations, ROC-AUC; ties are shared.

What metrics are judged by: does a score agree with what people said. Each function takes two
tensors (N,) and gives a float64 scalar; `intervals.bootstrap` says how sure it is.

Letters: N observations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinema.errors import InputError


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """The linear correlation in [-1, 1].

    Raises:
        InputError: there are fewer than two observations, or a series is constant.
    """
    a, b = _pair(x, y)
    a, b = a - a.mean(), b - b.mean()
    scale = a.norm() * b.norm()
    if not scale > 0:
        raise InputError("a correlation needs values that differ; one of the series is constant")
    return (a @ b / scale).clamp(-1, 1)


def spearman(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's correlation of the ranks. Raises as `pearson`."""
    a, b = _pair(x, y)
    return pearson(average_ranks(a), average_ranks(b))


def kendall(x: Tensor, y: Tensor) -> Tensor:
    """Kendall's tau-b in [-1, 1]: agreeing minus disagreeing pairs, without those that are tied.

    Raises:
        InputError: there are fewer than two observations, or a series is constant.
    """
    a, b = _pair(x, y)
    signs_a = (a[:, None] - a).sign()
    signs_b = (b[:, None] - b).sign()
    untied = signs_a.square().sum() * signs_b.square().sum()
    if not untied > 0:
        raise InputError("a correlation needs values that differ; one of the series is constant")
    return (signs_a * signs_b).sum() / untied.sqrt()


def roc_auc(scores: Tensor, labels: Tensor) -> Tensor:
    """The chance that a positive has the higher score, a tie counting half; in [0, 1].

    Args:
        scores: (N,).
        labels: (N,) of 0 and 1, or bool.

    Raises:
        InputError: one of the classes is empty.
    """
    values, positive = _pair(scores, labels)
    assert bool(((positive == 0) | (positive == 1)).all()), "labels are 0 or 1"
    ones = positive.sum()
    zeros = len(positive) - ones
    if not (ones > 0 and zeros > 0):
        raise InputError("ROC-AUC needs positives and negatives; one class is empty")
    return ((average_ranks(values) @ positive) - ones * (ones + 1) / 2) / (ones * zeros)


def average_ranks(x: Tensor) -> Tensor:
    """Ranks (N,) float64 from 1; equal values share the mean of their ranks."""
    _, places, counts = x.unique(sorted=True, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts.double() - 1) / 2)[places]


def _pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    assert x.shape == y.shape == x.shape[:1], f"{tuple(x.shape)} and {tuple(y.shape)}"
    if len(x) < 2:
        raise InputError(f"a correlation needs two observations or more, not {len(x)}")
    a, b = x.double(), y.double()
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise InputError("the values hold NaN or infinity; leave those observations out")
    return a, b
