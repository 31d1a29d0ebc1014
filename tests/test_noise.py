"""Keyed noise: what it depends on, and what it does not."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kinema.noise import Noise

# Recorded once: training that is resumed and clips that are made again depend on these numbers.
NORMAL = torch.tensor(
    [
        [0.4067733, -0.7021861, -0.2160314, -1.7984571],
        [0.6742753, -0.9435667, -1.5214093, -0.8531366],
    ]
)
UNIFORM = torch.tensor([[0.7067719, 0.8462415], [0.6277186, 0.27359]])


def test_the_numbers_of_a_key_never_change() -> None:
    noise = Noise(7, (3, 11))
    torch.testing.assert_close(noise.normal((2, 4), "x_T"), NORMAL)
    torch.testing.assert_close(noise.uniform((2, 2), "time"), UNIFORM)
    assert noise.permutation(6, "epoch").tolist() == [0, 4, 5, 3, 2, 1]


@given(
    seed=st.integers(0, 2**63),
    samples=st.lists(st.integers(0, 10**12), min_size=1, max_size=5),
    row=st.integers(0, 4),
    stream=st.text(),
)
def test_a_row_depends_on_its_sample_alone(
    seed: int, samples: list[int], row: int, stream: str
) -> None:
    row %= len(samples)
    batch, alone = Noise(seed, tuple(samples)), Noise(seed, (samples[row],))
    for draw in ("normal", "uniform"):
        rows = getattr(batch, draw)((len(samples), 3, 7), stream)
        assert torch.equal(rows[row], getattr(alone, draw)((1, 3, 7), stream)[0])


def test_streams_of_other_keys_differ() -> None:
    keys = [(1, 23, "a"), (12, 3, "a"), (1, 23, "b"), (1, 2, "3/a"), (0, 23, "a"), (1, 24, "a")]
    drawn = [Noise(seed, (sample,)).normal((1, 1000), name) for seed, sample, name in keys]
    for one, other in combinations(drawn, 2):
        assert not (one == other).any()
        assert abs((one * other).mean()) < 4 / 1000**0.5


def test_torch_s_own_random_state_plays_no_part() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    drawn = Noise(0, (0,)).normal((1, 5), "x")
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(Noise(0, (0,)).normal((1, 5), "x"), drawn)


def test_normal_numbers_are_normal() -> None:
    x = Noise(0, (0, 1)).normal((2, 200_000), "x")
    assert x.dtype == torch.float32
    moments = torch.stack([x.double().pow(k).mean() for k in range(1, 5)])
    # Standard errors of the moments of 400,000 normals: sqrt(Var x^k / n).
    errors = torch.tensor([1.0, 2.0, 15.0, 96.0]).double().sqrt() / 400_000**0.5
    assert ((moments - torch.tensor([0.0, 1.0, 0.0, 3.0])).abs() < 5 * errors).all()


def test_uniform_numbers_are_uniform() -> None:
    x = Noise(0, (0, 1)).uniform((2, 200_000), "x")
    assert 0 <= x.min() <= x.max() < 1
    shares = torch.histc(x, bins=10, min=0, max=1) / x.numel()
    assert ((shares - 0.1).abs() < 5 * (0.09 / x.numel()) ** 0.5).all()


def test_a_permutation_holds_every_index_once() -> None:
    noise = Noise(0, (4, 5))
    order = noise.permutation(1000, "epoch")
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert torch.equal(order, Noise(0, (4,)).permutation(1000, "epoch"))
    assert not torch.equal(order, Noise(0, (5,)).permutation(1000, "epoch"))


def test_there_is_a_row_for_every_sample() -> None:
    noise = Noise(0, (0, 1, 2))
    assert len(noise) == 3
    assert noise.uniform((3,), "time").shape == (3,)
    with pytest.raises(AssertionError, match="2 rows, but 3 samples"):
        noise.normal((2, 5), "x")
