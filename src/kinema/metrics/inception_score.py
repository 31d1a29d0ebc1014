"""The Inception score (arXiv 1606.03498, Salimans et al., sec. 4): sure of each, varied over all.

The classifier makes it a score of images (Inception of 2015) or of clips (C3D of UCF-101; the
video score of arXiv 1611.06624). Verified by a recorded case: splits and order.

Letters: N samples, C classes.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from kinema.errors import InputError

SPLITS = 10


def inception_score(logits: Tensor, *, splits: int, order: Tensor | None) -> tuple[float, float]:
    """exp of the mean of KL(p(c | x) || p(c)), in each split: mean and population deviation.

    Args:
        logits: (N, C) of generated samples.
        splits: parts of neighboring samples, as equal in size as can be; 10 in published scores.
        order: (N,) in which the samples are split; None as they are. The video score of
            StyleGAN-V shuffles first.

    Raises:
        InputError: there are fewer samples than splits.
    """
    count = len(logits)
    if count < splits:
        raise InputError(f"{splits} splits need as many samples, not {count}; generate more")
    log_p = logits.double().log_softmax(1)
    log_p = log_p if order is None else log_p[order]
    borders = [i * count // splits for i in range(splits + 1)]
    scores = torch.stack([_score(log_p[a:b]) for a, b in pairwise(borders)])
    return float(scores.mean()), float(scores.std(unbiased=False))


def _score(log_p: Tensor) -> Tensor:
    # log of the mean of p, without a sum that underflows
    log_mean = log_p.logsumexp(0) - math.log(len(log_p))
    return (log_p.exp() * (log_p - log_mean)).sum(1).mean().exp()
