"""Rank correlations beside scipy and scikit-learn, with ties; intervals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.metrics import roc_auc_score

from kinema.errors import InputError
from kinema.metrics import intervals
from kinema.metrics.ranking import average_ranks, kendall, pearson, roc_auc, spearman
from kinema.noise import Noise

DRAWS = np.random.default_rng(0)
X = DRAWS.integers(0, 6, 60).astype(float)  # many ties
Y = X + 2 * DRAWS.standard_normal(60).round(1)
PEERS = {
    pearson: scipy.stats.pearsonr,
    spearman: scipy.stats.spearmanr,
    kendall: scipy.stats.kendalltau,
}


@pytest.mark.parametrize("ours", PEERS, ids=lambda function: function.__name__)
def test_correlations_are_those_of_scipy(ours):
    found = ours(torch.from_numpy(X), torch.from_numpy(Y))
    assert found.item() == pytest.approx(PEERS[ours](X, Y).statistic, rel=1e-12)
    assert ours(torch.from_numpy(X), torch.from_numpy(-X)).item() == pytest.approx(-1)


def test_ranks_and_areas_share_ties():
    assert torch.equal(
        average_ranks(torch.tensor([3.0, 1, 3, 2])), torch.tensor([3.5, 1, 3.5, 2.0]).double()
    )
    labels = Y > 2
    found = roc_auc(torch.from_numpy(X), torch.from_numpy(labels))
    assert found.item() == pytest.approx(roc_auc_score(labels, X), rel=1e-12)
    assert roc_auc(torch.zeros(4), torch.tensor([0, 1, 0, 1])).item() == 0.5


def test_what_has_no_correlation_is_refused():
    with pytest.raises(InputError, match="constant"):
        pearson(torch.ones(5), torch.arange(5))
    with pytest.raises(InputError, match="constant"):
        kendall(torch.arange(5), torch.ones(5))
    with pytest.raises(InputError, match="two observations"):
        spearman(torch.ones(1), torch.ones(1))
    with pytest.raises(InputError, match="one class is empty"):
        roc_auc(torch.arange(3.0), torch.ones(3))
    with pytest.raises(InputError, match="NaN"):
        pearson(torch.tensor([1.0, torch.nan]), torch.arange(2))


def test_the_bootstrap_of_a_mean_is_that_of_scipy():
    values = torch.from_numpy(Y)
    low, high = intervals.bootstrap_mean(values, Noise(0, (0,)))
    theirs = scipy.stats.bootstrap(
        (Y,), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert low == pytest.approx(theirs.low, abs=0.12)
    assert high == pytest.approx(theirs.high, abs=0.12)
    assert low < Y.mean() < high


def test_the_bootstrap_of_a_correlation_leaves_out_draws_without_one():
    x, y = torch.tensor([0.0, 0, 0, 1]), torch.tensor([0.0, 0.1, 0.3, 2])
    low, high = intervals.bootstrap(lambda rows: pearson(x[rows], y[rows]), 4, Noise(0, (0,)))
    assert 0.9 < low <= high <= 1
    with pytest.raises(InputError, match="no interval"):
        intervals.bootstrap(lambda rows: pearson(x[:3][rows], y[:3][rows]), 3, Noise(0, (0,)))


def test_the_jackknife_of_a_mean_is_the_normal_interval():
    values = Noise(0, (0,)).normal((1, 5000), "values")[0].double()
    mean = values.mean()[None]
    halves = []
    for seed in range(30):  # ten groups leave 9 degrees of freedom: one deal says little
        ((low, high),) = intervals.jackknife(
            lambda rows: values[rows].mean()[None], mean, 5000, Noise(seed, (0,))
        )
        assert (low + high) / 2 == pytest.approx(mean.item(), rel=1e-9)
        halves.append((high - low) / 2)
    assert np.mean(halves) == pytest.approx(1.96 * values.std().item() / 5000**0.5, rel=0.15)
