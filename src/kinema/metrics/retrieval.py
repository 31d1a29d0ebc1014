"""Scores of retrieval: at which place of its ranking each query finds what belongs to it.

Letters: Q queries, N candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

RECALLS = (1, 5, 10)


def ranks(similarity: Tensor, truth: Tensor) -> Tensor:
    """The rank (Q,) of the right candidate of every query, from 1; int64.

    Of candidates that are equally similar the right one counts as the first (the optimistic rule of
    the published text-to-video figures): where all are alike, every rank is 1.

    Args:
        similarity: (Q, N), larger is nearer.
        truth: (Q,) int64, the right candidate of each query.
    """
    candidates = torch.arange(similarity.shape[1], device=similarity.device)
    return ranks_of_best(similarity, candidates == truth[:, None])


def ranks_of_best(similarity: Tensor, right: Tensor) -> Tensor:
    """`ranks` where several candidates are right, of which the nearest counts.

    Args:
        similarity: (Q, N), larger is nearer.
        right: (Q, N) bool, one or more in a row.
    """
    assert torch.isfinite(similarity).all(), "a similarity is NaN or infinite"
    assert right.any(1).all(), "a query has no right candidate"
    best = similarity.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
    return 1 + (similarity > best).sum(dim=1)


def recall(ranks: Tensor, k: int) -> Tensor:
    """R@k: the share, in [0, 1], of queries whose candidate is among the first k."""
    return (ranks <= k).double().mean()


def summary(ranks: Tensor) -> dict[str, Tensor]:
    """What tables of retrieval report: recalls and their geometric mean in [0, 1], and ranks.

    Returns:
        ``R@1``, ``R@5``, ``R@10``, ``geometric_mean`` of the three, ``MdR`` (the median; the mean
        of both middle ranks where their number is even) and ``MeanR``; float64 scalars.
    """
    scores = {f"R@{k}": recall(ranks, k) for k in RECALLS}
    scores["geometric_mean"] = torch.stack(list(scores.values())).prod() ** (1 / len(RECALLS))
    scores["MdR"] = ranks.double().quantile(0.5)
    scores["MeanR"] = ranks.double().mean()
    return scores
