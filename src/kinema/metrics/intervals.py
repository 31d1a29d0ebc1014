"""How sure a score is: intervals by the bootstrap and by the jackknife over groups.

Bootstrap: Efron (1979), percentiles. Jackknife over groups: Wu (1986), normal. Statistics of sets
(Frechet distances, shares by neighbors) take the jackknife: drawing with repetition, as the
bootstrap does, puts copies in a set, and these scores answer to copies.

Letters: N observations.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.noise import Noise

LEVEL = 0.95
NORMAL_95 = 1.959963984540054  # half the width, in deviations, of 95 % of a normal distribution
DRAWS = 1000
GROUPS = 10

Interval = tuple[float, float]


def bootstrap(statistic: Callable[[Tensor], Tensor], count: int, noise: Noise) -> Interval:
    """The middle 95 % of a statistic over 1000 redraws of the observations.

    Redraws of which the statistic does not exist (a constant series, an empty class) are left out.

    Args:
        statistic: takes indices (N,) and gives a scalar, of the observations with those.
        count: N.
        noise: draws.

    Raises:
        InputError: the statistic exists for no redraw.
    """
    places = (noise.uniform((1, DRAWS, count), "bootstrap")[0].double() * count).long()
    found = []
    for rows in places.clamp(max=count - 1):
        try:
            found.append(statistic(rows).double())
        except InputError:
            continue
    if not found:
        raise InputError(f"there is no interval of {count} observations; add some that differ")
    tail = (1 - LEVEL) / 2
    low, high = torch.stack(found).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return float(low), float(high)


def bootstrap_mean(values: Tensor, noise: Noise) -> Interval:
    """The interval of the mean of values (N,)."""
    x = values.double()
    return bootstrap(lambda rows: x[rows].mean(), len(x), noise)


def jackknife(
    statistic: Callable[[Tensor], Tensor], values: Tensor, count: int, noise: Noise
) -> list[Interval]:
    """95 % around each of several statistics of a set, from ten groups left out in turn.

    Args:
        statistic: takes indices of the observations that stay, gives (S,).
        values: (S,) of all observations.
        count: N, at least 2; with fewer than ten the groups are single observations.
        noise: deals the observations into groups.

    Returns:
        S intervals, symmetric around the values.
    """
    groups = noise.permutation(count, "jackknife").tensor_split(min(GROUPS, count))
    parts = torch.stack([statistic(_without(count, group)).double() for group in groups])
    spread = (parts - parts.mean(0)).square().sum(0) * (len(groups) - 1) / len(groups)
    half = NORMAL_95 * spread.sqrt()
    return [(float(value - h), float(value + h)) for value, h in zip(values.double(), half)]


def _without(count: int, group: Tensor) -> Tensor:
    """The indices 0 ... count - 1 that are not in a group."""
    kept = torch.ones(count, dtype=torch.bool)
    kept[group] = False
    return kept.nonzero()[:, 0]
