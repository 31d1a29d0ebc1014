"""Precision, recall, density and coverage by nearest neighbors (arXiv 2002.09797, Naeem et al.).

Authors' code: github.com/clovaai/generative-evaluation-prdc (MIT). Precision and recall are those
of arXiv 1904.06991. Different: copies are at distance 0, where theirs leaves it to rounding.

Letters: N real, M fake, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.errors import InputError

BLOCK = 1 << 18  # distances that are held at once: what caches hold
ROUNDING = 1e-13  # of the squared norms: what the difference of equal rows may come to


@dataclass(frozen=True)
class PRDC:
    """Four shares: precision, recall and coverage in [0, 1], density from 0 up.

    Attributes:
        precision: share of fakes inside the ball of a real (fidelity).
        recall: share of reals inside the ball of a fake (diversity).
        density: how many balls of reals a fake lies in, over k, on average.
        coverage: share of reals whose ball holds a fake.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(real: Tensor, fake: Tensor, *, k: int) -> PRDC:
    """Compares two sets; the ball of a row reaches to its k-th neighbor in its own set.

    A row lies in a ball when it is strictly nearer than the radius. As in the authors' code,
    distances are computed in float64 and compared in the type of the features.

    Args:
        real: (N, D) float32 or float64.
        fake: (M, D) of the same type and device.
        k: which neighbor, itself not counted.

    Raises:
        InputError: a set has fewer than k + 1 rows.
    """
    assert real.shape[1] == fake.shape[1], f"widths {real.shape[1]} and {fake.shape[1]}"
    assert real.dtype == fake.dtype, f"types {real.dtype} and {fake.dtype}"
    real_radii, fake_radii = radii(real, k=k), radii(fake, k=k)
    in_real = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
    in_fake, covered = [], []
    for between, radius in zip(_distances(real, fake), _blocks(real_radii, len(fake))):
        in_real += (between < radius[:, None]).sum(0)
        in_fake.append((between < fake_radii).any(1))
        covered.append(between.amin(1) < radius)
    return PRDC(
        precision=float((in_real > 0).double().mean()),
        recall=float(torch.cat(in_fake).double().mean()),
        density=float(in_real.double().mean()) / k,
        coverage=float(torch.cat(covered).double().mean()),
    )


def radii(x: Tensor, *, k: int) -> Tensor:
    """Distance (N,) of each row of (N, D) to its k-th nearest other row. Raises as `prdc`."""
    if len(x) <= k:
        raise InputError(
            f"k = {k} neighbors need sets of at least {k + 1} samples, not {len(x)}; add samples"
        )
    # The row itself, at distance 0, is the first of the sorted ones.
    return torch.cat(
        [rows.topk(k + 1, dim=1, largest=False).values[:, k] for rows in _distances(x, x)]
    )


def _blocks(x: Tensor, others: int) -> tuple[Tensor, ...]:
    """The rows of x in parts that have about `BLOCK` distances to as many others."""
    return x.split(max(1, BLOCK // others))


def _distances(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Euclidean distances (N, M) in the type of x, some rows at a time; of equal rows exactly 0."""
    y64 = y.double()
    y_norms = y64.square().sum(1)
    for rows in _blocks(x, len(y)):
        x64 = rows.double()
        norms = x64.square().sum(1)[:, None] + y_norms
        squared = (x64 @ y64.T).mul_(-2).add_(norms)
        # Without this, rounding decides whether copies lie in balls of radius 0.
        squared.masked_fill_(squared <= norms.mul_(ROUNDING), 0)
        yield squared.sqrt_().to(x.dtype)
