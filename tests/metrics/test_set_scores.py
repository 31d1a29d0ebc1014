"""Kernel distances, Inception scores, neighbors: beside independent implementations."""

from __future__ import annotations

import prdc as peer
import pytest
import torch
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import poly_mmd

from kinema.errors import InputError
from kinema.metrics.inception_score import inception_score
from kinema.metrics.kernel import draw_subsets, kernel_distance, mmd
from kinema.metrics.prdc import prdc
from kinema.noise import Noise


def normal(count: int, width: int, stream: str) -> torch.Tensor:
    return Noise(0, (0,)).normal((1, count, width), stream)[0]


def test_the_estimate_is_that_of_torchmetrics():
    x, y = normal(40, 12, "x"), normal(40, 12, "y") + 0.3
    kernel = [(a.double() @ b.double().T / 12 + 1) ** 3 for a, b in ((x, x), (x, y), (y, y))]
    theirs = poly_mmd(x.double(), y.double(), degree=3, gamma=None, coef=1.0)
    assert mmd(x, y).item() == pytest.approx(theirs.item(), rel=1e-10)
    # and that of the definition, without the diagonal
    m, off = 40, 1 - torch.eye(40, dtype=torch.float64)
    within = ((kernel[0] + kernel[2]) * off).sum() / (m * (m - 1))
    assert mmd(x, y).item() == pytest.approx((within - 2 * kernel[1].mean()).item(), rel=1e-12)


def test_one_distribution_gives_none_on_average_and_another_more():
    x = normal(400, 6, "x")
    noise = Noise(1, (0,))
    subsets = draw_subsets(400, 400, count=40, size=50, noise=noise)
    same, spread = kernel_distance(x, normal(400, 6, "y"), subsets)
    shifted = [kernel_distance(x, normal(400, 6, "y") + s, subsets)[0] for s in (0.2, 0.5, 1.0)]
    assert abs(same) < spread
    assert spread < shifted[1] < shifted[2]
    assert same < shifted[0] < shifted[1]


def test_subsets_hold_no_row_twice_and_depend_on_the_seed_alone():
    subsets = draw_subsets(30, 20, count=5, size=1000, noise=Noise(3, (0,)))
    assert len(subsets) == 5
    for rows, others in subsets:
        assert len(set(rows.tolist())) == len(set(others.tolist())) == 20
        assert max(rows) < 30
    again = draw_subsets(30, 20, count=5, size=1000, noise=Noise(3, (0,)))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(subsets, again))
    with pytest.raises(InputError, match="2 samples"):
        draw_subsets(1, 20, count=5, size=10, noise=Noise(3, (0,)))


def test_inception_score_is_that_of_torchmetrics():
    logits = 3 * normal(103, 7, "logits")
    peers = InceptionScore(feature=torch.nn.Identity(), splits=1)
    peers.features = [logits.double()]
    theirs = peers.compute()[0].item()
    ours = inception_score(logits, splits=1, order=None)
    assert ours[0] == pytest.approx(theirs, rel=1e-6)
    assert ours[1] == 0


def test_the_inception_score_lies_between_one_and_the_classes():
    flat = torch.zeros(20, 5)
    assert inception_score(flat, splits=4, order=None) == pytest.approx((1.0, 0.0), abs=1e-12)
    sure = 50 * torch.eye(5).repeat(4, 1)
    assert inception_score(sure, splits=4, order=None)[0] == pytest.approx(5.0, rel=1e-9)
    by_class = torch.arange(20).reshape(4, 5).T.flatten()
    assert inception_score(sure, splits=5, order=by_class)[0] == pytest.approx(1.0, rel=1e-9)
    with pytest.raises(InputError, match="30 splits"):
        inception_score(flat, splits=30, order=None)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbors_are_those_of_prdc(k):
    real, fake = normal(80, 6, "real"), 1.2 * normal(70, 6, "fake") + 0.2
    theirs = peer.compute_prdc(real.numpy(), fake.numpy(), k)
    ours = prdc(real, fake, k=k)
    for name, value in theirs.items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-12)
