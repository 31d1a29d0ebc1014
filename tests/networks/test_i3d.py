"""I3D: published names, TensorFlow's padding, lengths and sizes; a recorded case has the rest."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kinema.errors import InputError
from kinema.networks.i3d import I3D, I3DConfig, i3d_kinetics_400, max_pool, same_pad
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.maps.i3d import OFFICIAL

NOISE = Noise(0, (0, 1))


@pytest.fixture(scope="module")
def network() -> I3D:
    made = I3D(I3DConfig(in_channels=3, num_classes=7)).eval()
    for index, parameter in enumerate(made.parameters()):
        drawn = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
        if parameter.ndim == 1:
            parameter.data = 1 + 0.1 * drawn
        else:
            parameter.data = drawn * (2 / parameter[0].numel()) ** 0.5
    return made.requires_grad_(False)


def test_published_sizes_and_names() -> None:
    network = I3D(i3d_kinetics_400(), device="meta")
    assert sum(p.numel() for p in network.parameters()) == 12_697_264
    manifests.check(network, manifests.read("00-i3d-kinetics400"), OFFICIAL, beside={})


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        (224, 7, 2, (2, 3)),
        (10, 7, 2, (2, 3)),
        (9, 7, 2, (3, 3)),
        (112, 3, 2, (0, 1)),
        (113, 3, 2, (1, 1)),
        (14, 2, 2, (0, 0)),
        (7, 2, 2, (0, 1)),
        (1, 3, 1, (1, 1)),
        (5, 1, 2, (0, 0)),
    ],
)
def test_padding_is_tensorflows_same(
    size: int, kernel: int, stride: int, pads: tuple[int, int]
) -> None:
    x = torch.ones(1, 1, 1, 1, size)
    padded = same_pad(x, (1, 1, kernel), (1, 1, stride))
    assert torch.equal(padded, F.pad(x, pads))
    assert padded.unfold(-1, kernel, stride).shape[4] == -(-size // stride)


def test_every_axis_has_its_own_padding() -> None:
    x = NOISE.normal((2, 3, 5, 6, 9), "x")
    padded = same_pad(x, (3, 2, 7), (2, 2, 1))
    assert padded.shape == (2, 3, 5 + 2, 6, 9 + 6)
    assert torch.equal(padded[:, :, 1:-1, :, 3:-3], x)


def test_max_pools_pad_with_zeros_as_the_port_does() -> None:
    x = -1 - NOISE.uniform((2, 3, 2, 4, 4), "x")
    pooled = max_pool(x, (1, 3, 3), (1, 2, 2))
    assert pooled.shape == (2, 3, 2, 2, 2)
    assert (pooled[..., 1] == 0).all()  # the border shows where no ReLU came before
    assert torch.equal(pooled[..., 0, 0], x[..., :3, :3].amax((-2, -1)))


@pytest.mark.parametrize("shape", [(9, 32, 32), (17, 40, 33), (16, 64, 48)])
def test_clips_of_any_length_and_size(network: I3D, shape: tuple[int, int, int]) -> None:
    logits = network(2 * NOISE.uniform((2, 3, *shape), "clip") - 1)
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


def test_rows_of_a_batch_are_independent(network: I3D) -> None:
    clips = 2 * NOISE.uniform((2, 3, 9, 32, 32), "clip") - 1
    assert torch.allclose(network(clips)[1:], network(clips[1:]), atol=1e-5)
    assert not torch.allclose(network(clips)[:1], network(clips)[1:], atol=1e-3)


def test_time_has_a_direction(network: I3D) -> None:
    clips = 2 * NOISE.uniform((2, 3, 9, 32, 32), "clip") - 1
    assert not torch.allclose(network(clips), network(clips.flip(2)), atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 3, 8, 32, 32), (2, 1, 9, 32, 32), (3, 9, 32, 32)])
def test_clips_that_are_too_short_or_of_other_channels_are_refused(
    network: I3D, shape: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match=r"I3D takes clips \(B, 3, T, H, W\) of 9 frames or more"):
        network(torch.zeros(shape))
