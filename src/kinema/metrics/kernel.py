"""Kernel distances: MMD^2 with a cubic kernel (arXiv 1801.01401, Binkowski et al., eq. 4).

Over Inception features it is KID, over I3D logits KVD. Verified by a recorded case: the estimator.
Published tables have KID times 1000 or not; here nothing is multiplied.

Letters: N real, M fake, m of a subset, D width.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.noise import Noise

SUBSETS, SUBSET_SIZE = 100, 1000
FEWEST = 2  # of a subset: the estimator leaves the diagonal out


def kernel_distance(
    real: Tensor, fake: Tensor, subsets: Iterable[tuple[Tensor, Tensor]]
) -> tuple[float, float]:
    """Mean and population deviation of the unbiased MMD^2 over subsets; float64.

    Without bias it may be negative for sets of one distribution.

    Args:
        real: (N, D).
        fake: (M, D).
        subsets: rows of each set, m of both; see `draw_subsets`.
    """
    found = torch.stack([mmd(real[rows], fake[others]) for rows, others in subsets])
    return float(found.mean()), float(found.std(unbiased=False))


def draw_subsets(
    real: int, fake: int, *, count: int, size: int, noise: Noise
) -> list[tuple[Tensor, Tensor]]:
    """Rows without repetition: `count` pairs of `size`, or of the smaller set if that is less.

    Raises:
        InputError: a set has fewer than two rows.
    """
    size = min(real, fake, size)
    if size < FEWEST:
        raise InputError(f"a kernel distance needs {FEWEST} samples a set, not {size}; add some")
    return [
        (
            noise.permutation(real, f"real subset {i}")[:size],
            noise.permutation(fake, f"fake subset {i}")[:size],
        )
        for i in range(count)
    ]


def mmd(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate of MMD^2 of two sets of m rows each; float64 scalar."""
    assert x.shape == y.shape, f"{tuple(x.shape)} and {tuple(y.shape)}"
    m = len(x)
    within = _kernel(x, x) + _kernel(y, y)
    between = _kernel(x, y)
    return (within.sum() - within.trace()) / (m * (m - 1)) - 2 * between.sum() / m**2


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x.y / D + 1)^3 of all pairs of rows."""
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3
