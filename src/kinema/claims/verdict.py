"""The verdict over paired seeds: a rule that was fixed before anything was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["holds", "does not hold", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """What the gains of all seeds say: their mean, its standard error, and the outcome."""

    outcome: Outcome
    mean: float
    error: float


def verdict(gains: Sequence[float], margin: float) -> Verdict:
    """Judges by how much the tested arm was better than the baseline, seed by seed.

    A claim holds if all gains have the same sign and their mean, less one standard error, is above
    the margin. It does not hold if the mean with one standard error is below the margin. All else
    is inconclusive.

    Args:
        gains: one for each seed, two or more; finite.
        margin: above 0.
    """
    assert len(gains) >= 2, "one seed has no standard error"
    assert all(map(math.isfinite, gains)), f"gains are finite, not {gains}"
    mean = statistics.fmean(gains)
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    agree = all(gain > 0 for gain in gains) or all(gain < 0 for gain in gains)
    outcome: Outcome = "inconclusive"
    if agree and mean - error > margin:
        outcome = "holds"
    elif mean + error < margin:
        outcome = "does not hold"
    return Verdict(outcome=outcome, mean=mean, error=error)
