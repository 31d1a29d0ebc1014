"""AlexNet and VGG16: published names, where LPIPS looks, features before the classes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.plain_convnets import (
    ConvConfig,
    ConvNet,
    ConvNetConfig,
    ConvTrunk,
    ConvTrunkConfig,
    alexnet,
    alexnet_trunk,
    vgg16,
    vgg16_trunk,
)
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.keymap import KeyMap
from kinema.weights.maps import plain_convnets as plain_map

NOISE = Noise(0, (0, 1))


@pytest.mark.parametrize(
    ("name", "make", "keymap", "count"),
    [
        ("00-alexnet", alexnet, plain_map.ALEX, 61_100_840),
        ("00-vgg16", vgg16, plain_map.VGG, 138_357_544),
    ],
)
def test_published_sizes_and_names(
    name: str, make: Callable[[], ConvNetConfig], keymap: KeyMap, count: int
) -> None:
    network = ConvNet(make(), device="meta")
    assert sum(p.numel() for p in network.parameters()) == count
    manifest = manifests.read(name)
    manifests.check(network, manifest, keymap, beside={})
    assert from_dict(ConvNetConfig, to_dict(make())) == make()
    # The trunk alone is read from the same file.
    trunk = ConvTrunk(make().trunk, device="meta")
    assert plain_map.TRUNK.to_ours(manifest.shapes) == manifests.shapes_of(trunk)


@pytest.mark.parametrize(
    ("make", "layers", "places"),
    [
        (alexnet_trunk, [1, 4, 7, 9, 11], [15, 7, 3, 3, 3]),
        (vgg16_trunk, [3, 8, 15, 22, 29], [64, 32, 16, 8, 4]),
    ],
)
def test_taps_are_the_relus_of_lpips(
    make: Callable[[], ConvTrunkConfig], layers: list[int], places: list[int]
) -> None:
    trunk = ConvTrunk(make())
    assert trunk.tapped == layers
    x = Noise(0, (0,)).normal((1, 3, 64, 64), "x")
    taps = trunk(x)
    assert [tap.shape for tap in taps] == [(1, c, n, n) for c, n in zip(make().taps, places)]
    for layer, tap in zip(layers, taps):
        assert torch.equal(tap, trunk.features[: layer + 1](x))


def test_features_are_those_before_the_classes() -> None:
    conv = ConvConfig(channels=6, kernel=3, stride=1, padding=1, is_tap=True)
    trunk = ConvTrunkConfig(stages=((conv,), (conv, conv)), pool=2)
    network = ConvNet(ConvNetConfig(trunk=trunk, grid=2, hidden=10, num_classes=4))
    x = NOISE.normal((2, 3, 24, 16), "x")
    h = F.max_pool2d(F.relu(network.features[0](x)), 2)
    h = F.relu(network.features[5](F.relu(network.features[3](h))))
    h = F.max_pool2d(h, 2)  # 6 x 4 places
    h = torch.stack([h[:, :, 3 * i : 3 * i + 3, 2 * j : 2 * j + 2].mean((2, 3))
                     for i in range(2) for j in range(2)], dim=2).flatten(1)  # fmt: skip
    h = F.relu(network.fc7(F.relu(network.fc6(h))))
    assert torch.allclose(network.embed(x), h, atol=1e-6)
    assert torch.allclose(network(x), network.fc8(h), atol=1e-6)


def test_a_trunk_without_taps_is_refused() -> None:
    blind = ConvConfig(channels=6, kernel=3, stride=1, padding=1, is_tap=False)
    for stages in ((), ((),), ((blind,),)):
        with pytest.raises(InputError, match="a trunk needs stages of one convolution or more"):
            ConvTrunkConfig(stages=stages, pool=2)
