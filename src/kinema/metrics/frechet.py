"""The Frechet distance of two normal distributions (arXiv 1706.08500, Heusel et al., eq. 6).

Over Inception features it is FID, over I3D logits FVD (arXiv 1812.01717, Unterthiner et al.).
Verified by recorded cases: both normalizations of the covariance, and fewer samples than features.

Letters: N samples, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.metrics.feature_stats import FeatureStats

FEWEST = 2  # samples: a covariance of one does not exist


class Reference:
    """One side of the distance, prepared to be compared with many others.

    Args:
        stats: of at least two samples.
        unbiased: covariance over N - 1 (TensorFlow's FVD, VideoGPT) or over N (StyleGAN-V).

    Raises:
        InputError: there are fewer than two samples.
    """

    def __init__(self, stats: FeatureStats, *, unbiased: bool) -> None:
        self.unbiased = unbiased
        self.mean, covariance = moments(stats, unbiased=unbiased)
        values, vectors = torch.linalg.eigh(covariance)
        self.trace = covariance.trace()
        self.root = vectors * values.clamp(min=0).sqrt() @ vectors.T

    def distance(self, stats: FeatureStats) -> float:
        """|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)), in float64.

        The trace of the root is the sum of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2),
        which C1 C2 has too. Those that rounding makes negative count as 0, so covariances of rank
        below D need no term on the diagonal.

        Raises:
            InputError: there are fewer than two samples.
        """
        mean, covariance = moments(stats, unbiased=self.unbiased)
        assert mean.shape == self.mean.shape, f"widths {len(mean)} and {len(self.mean)}"
        product = self.root @ covariance @ self.root
        shared = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
        gap = (mean - self.mean).square().sum()
        return float(gap + self.trace + covariance.trace() - 2 * shared)


def frechet_distance(real: FeatureStats, fake: FeatureStats, *, unbiased: bool) -> float:
    """The distance of two sets; symmetric, and 0 for equal ones up to rounding.

    It is biased by about 1 / N upwards: only values of equal N compare.

    Raises:
        InputError: a set has fewer than two samples.
    """
    return Reference(real, unbiased=unbiased).distance(fake)


def moments(stats: FeatureStats, *, unbiased: bool) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D). Raises as `frechet_distance`."""
    if len(stats) < FEWEST:
        raise InputError(f"a covariance needs {FEWEST} samples or more, not {len(stats)}; add some")
    return stats.mean(), stats.covariance(unbiased=unbiased)
