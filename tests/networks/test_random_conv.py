from __future__ import annotations

import pytest
import torch

from kinema.errors import InputError
from kinema.networks.random_conv import RandomConv, RandomConvConfig
from kinema.noise import Noise
from kinema.worlds import load

CONFIG = RandomConvConfig(size=16, widths=(4, 8, 12), seed=0)


def frames(count: int, height: int, width: int) -> torch.Tensor:
    return 2 * Noise(0, tuple(range(count))).uniform((count, 3, height, width), "frames") - 1


def test_equal_configurations_are_equal_networks_and_draw_nothing_else():
    x, state = frames(3, 16, 16), torch.get_rng_state()
    one, two = RandomConv(CONFIG), RandomConv(CONFIG)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one(x), two(x))
    other = RandomConv(RandomConvConfig(size=16, widths=(4, 8, 12), seed=1))
    assert not torch.allclose(one(x), other(x))
    assert one.name != other.name
    assert "stand-in" in one.name


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 30), (64, 48)])
def test_frames_of_any_size_become_features_of_one_scale(height, width):
    y = RandomConv(CONFIG)(frames(5, height, width))
    assert y.shape == (5, 12)
    assert 0.01 < y.std() < 10


def test_a_frame_does_not_depend_on_its_batch():
    network, x = RandomConv(CONFIG), frames(4, 20, 20)
    assert torch.allclose(network(x)[2], network(x[2:3])[0], atol=1e-6)


def test_motion_shows():
    world = load("shapes", seed=0, split="all", num_frames=8, height=32, width=32, fps=8)
    clip = torch.from_numpy(world.sample(0).clip.to_float()).movedim(1, 0)
    y = RandomConv(RandomConvConfig(size=32, widths=(8, 16, 32), seed=0))(clip)
    assert (y.diff(dim=0).abs().amax(1) > 0.01).all()


def test_it_builds_on_meta_and_trains_nothing():
    network = RandomConv(CONFIG, device="meta", dtype=torch.bfloat16)
    assert {(b.device.type, b.dtype) for b in network.buffers()} == {("meta", torch.bfloat16)}
    assert not list(network.parameters())


@pytest.mark.parametrize(("size", "widths"), [(18, (4, 8, 12)), (16, ()), (0, (4,))])
def test_sizes_that_cannot_be_halved_are_refused(size, widths):
    with pytest.raises(InputError, match=f"size {size} cannot be halved"):
        RandomConvConfig(size=size, widths=widths, seed=0)
