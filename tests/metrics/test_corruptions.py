from __future__ import annotations

import pytest
import torch

from kinema.metrics.corruptions import collapsed, frozen, offset, shuffled
from kinema.noise import Noise

CLIPS, FRAMES = 6, 12
NOISE = Noise(0, tuple(range(CLIPS)))
X = NOISE.normal((CLIPS, FRAMES, 2, 3), "x")


@pytest.mark.parametrize("count", [0, 2, 5, FRAMES])
def test_shuffling_moves_at_most_the_chosen_frames(count):
    mixed = shuffled(X, count, NOISE)
    assert torch.equal(mixed.sort(1).values, X.sort(1).values)
    moved = (mixed != X).flatten(2).any(2).sum(1)
    assert (moved <= count).all()
    assert (moved.max() > 0) == (count > 1)


def test_every_clip_is_shuffled_in_its_own_way_whatever_its_batch():
    numbers = torch.arange(FRAMES).repeat(CLIPS, 1)
    mixed = shuffled(numbers, FRAMES, NOISE)
    assert len({tuple(row) for row in mixed.tolist()}) == CLIPS
    assert torch.equal(shuffled(numbers[2:4], FRAMES, Noise(0, (2, 3))), mixed[2:4])
    assert not torch.equal(shuffled(numbers, FRAMES, Noise(1, NOISE.samples)), mixed)


def test_every_order_is_equally_likely():
    samples = tuple(range(3000))
    numbers = torch.arange(4).repeat(len(samples), 1)
    mixed = shuffled(numbers, 3, Noise(0, samples))
    places = torch.stack([(mixed == n).float().mean(0) for n in range(4)])
    # A frame stays when it is left out (1/4) or its turn is its own (3/4 of 1/3).
    expected = torch.full((4, 4), 1 / 6) + torch.eye(4) / 3
    assert torch.allclose(places, expected, atol=0.03)


def test_freezing_shows_the_first_frame():
    still = frozen(X)
    assert still.shape == X.shape
    assert (still == X[:, :1]).all()


def test_collapse_leaves_so_many_clips():
    few = collapsed(X, 2)
    assert len(few) == CLIPS
    assert torch.equal(few[0::2], X[:1].expand(3, -1, -1, -1))
    assert torch.equal(few[1::2], X[1:2].expand(3, -1, -1, -1))


def test_an_offset_is_constant_in_time_and_has_its_size():
    many = Noise(0, tuple(range(400)))
    added = offset(torch.zeros(400, 3, 20), 2.5, many)
    assert torch.equal(added, added[:, :1].expand_as(added))
    assert added.std().item() == pytest.approx(2.5, rel=0.05)
