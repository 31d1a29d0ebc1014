"""The rule of the verdict: every outcome, and the borders between them."""

from __future__ import annotations

import math

import pytest

from kinema.claims.verdict import verdict


@pytest.mark.parametrize(
    ("gains", "margin", "outcome"),
    [
        ((1.0, 1.1, 0.9), 0.5, "holds"),
        ((1.0, 1.0), 0.5, "holds"),
        ((1.0, 1.0, 1.0), 1.0, "inconclusive"),  # exactly at the margin
        ((0.1, 0.2, 0.15), 0.5, "does not hold"),  # better, but by less than the margin
        ((-1.0, -1.1, -0.9), 0.5, "does not hold"),  # worse
        ((-0.2, 0.1, 0.0), 0.5, "does not hold"),
        ((0.1, 1.5, 0.9), 0.7, "inconclusive"),  # the margin lies within one standard error
        ((4.0, 4.0, 4.0, 4.0, -0.1), 0.5, "inconclusive"),  # one seed says the opposite
        ((4.0, 4.0, 4.0, 4.0, 0.0), 0.5, "inconclusive"),  # no gain has no sign
        ((-4.0, 4.0, 4.2), 0.5, "inconclusive"),
    ],
)
def test_outcomes(gains: tuple[float, ...], margin: float, outcome: str) -> None:
    assert verdict(gains, margin).outcome == outcome


def test_the_error_is_that_of_the_mean() -> None:
    judged = verdict((1.0, 2.0, 3.0), 0.1)
    assert judged.mean == pytest.approx(2.0)
    assert judged.error == pytest.approx(1 / math.sqrt(3))


def test_more_seeds_settle_what_few_leave_open() -> None:
    few = (0.6, 1.4)
    assert verdict(few, 0.7).outcome == "inconclusive"
    assert verdict((*few, 1.0, 1.1, 0.9), 0.7).outcome == "holds"


@pytest.mark.parametrize("gains", [(1.0,), (1.0, math.nan), (math.inf, 1.0)])
def test_what_cannot_be_judged_is_refused(gains: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError):
        verdict(gains, 0.1)
