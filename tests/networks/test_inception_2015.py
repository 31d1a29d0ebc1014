"""Inception of 2015-12-05: published names, and what torchvision's network has otherwise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kinema.errors import InputError
from kinema.networks.inception_2015 import Inception2015, inception_2015
from kinema.networks.inception_2015_blocks import FixedNorm, MixedE, average_pool
from kinema.nn.resizing import tf1_bilinear
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.keymap import KeyMap

NOISE = Noise(0, (0, 1))


@pytest.fixture(scope="module")
def network() -> Inception2015:
    made = Inception2015(inception_2015()).eval()
    for index, parameter in enumerate(made.parameters()):
        if parameter.ndim > 1:
            drawn = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
            parameter.data = drawn * (2 / parameter[0].numel()) ** 0.5
    return made.requires_grad_(False)


def test_published_sizes_and_names() -> None:
    network = Inception2015(inception_2015(), device="meta")
    assert sum(p.numel() for p in network.parameters()) == 23_850_960
    manifest = manifests.read("00-inception-2015-12-05")
    manifests.check(network, manifest, KeyMap(), beside={})
    assert not any("num_batches" in name for name in manifest.shapes)


def test_average_pools_count_the_places_that_exist() -> None:
    x = torch.ones(1, 2, 4, 5)
    assert torch.equal(average_pool(x), x)  # torchvision's give 4/9 in a corner
    x = NOISE.normal((2, 3, 4, 5), "x")
    assert torch.allclose(average_pool(x)[..., 0, 0], x[..., :2, :2].mean((-2, -1)), atol=1e-6)
    assert torch.allclose(average_pool(x)[..., 1, 4], x[..., :3, 3:].mean((-2, -1)), atol=1e-6)


def test_the_last_block_pools_by_the_maximum() -> None:
    x = NOISE.normal((2, 8, 5, 5), "x")
    for is_last, pooled in ((True, F.max_pool2d(x, 3, 1, 1)), (False, average_pool(x))):
        block = MixedE(8, is_last=is_last).eval()
        assert torch.allclose(block(x)[:, -192:], block.branch_pool(pooled), atol=1e-6)
        assert block(x).shape == (2, 2048, 5, 5)


def test_norms_keep_their_statistics_while_training() -> None:
    norm = FixedNorm(3)
    norm.running_mean += 1
    norm.running_var += 3
    x = NOISE.normal((2, 3, 4, 4), "x")
    assert torch.allclose(norm.train()(x), (x - 1) / (4 + 1e-3) ** 0.5, atol=1e-6)
    assert torch.equal(norm.running_mean, torch.ones(3))


def test_levels_reach_the_first_layer_as_in_the_graph(network: Inception2015) -> None:
    seen: list[torch.Tensor] = []
    handle = network.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, inputs: seen.append(*inputs))
    levels = torch.tensor([0.0, 1, 128, 255]).view(4, 1, 1, 1).expand(4, 3, 8, 8)
    network(levels / 127.5 - 1)
    handle.remove()
    assert seen[0].shape == (4, 3, 299, 299)
    expected = torch.tensor([-1, -127 / 128, 0, 127 / 128])
    assert torch.allclose(seen[0].mean((1, 2, 3)), expected, atol=1e-6)


def test_resizing_is_part_of_the_network(network: Inception2015) -> None:
    x = 2 * NOISE.uniform((2, 3, 20, 31), "x") - 1
    pool3 = network(x)
    assert pool3.shape == (2, 2048)
    assert torch.allclose(pool3, network(tf1_bilinear(x, 299, 299)), atol=1e-4)
    assert torch.allclose(pool3[1:], network(x[1:]), atol=1e-4)


def test_logits_with_and_without_their_bias(network: Inception2015) -> None:
    pool3 = NOISE.normal((2, 2048), "pool3")
    logits, unbiased = network.logits(pool3), network.unbiased_logits(pool3)
    assert logits.shape == unbiased.shape == (2, 1008)
    assert torch.allclose(logits - unbiased, network.fc.bias.expand(2, -1), atol=1e-5)
    assert network.fc.bias.abs().max() > 0.01


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (3, 32, 32), (2, 3, 4, 32, 32)])
def test_other_shapes_are_refused(network: Inception2015, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"Inception takes pictures \(B, 3, H, W\)"):
        network(torch.zeros(shape))
