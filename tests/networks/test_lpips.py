"""LPIPS: the formula, published names, the two files a person has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.networks.lpips import LPIPS, LPIPSConfig, lpips_alex, lpips_vgg
from kinema.networks.plain_convnets import ConvConfig, ConvTrunkConfig
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.files import load_into
from kinema.weights.keymap import KeyMap
from kinema.weights.maps import lpips as lpips_map
from kinema.weights.maps import plain_convnets as plain_map

NOISE = Noise(0, (0, 1, 2))


def conv(channels: int) -> ConvConfig:
    return ConvConfig(channels=channels, kernel=3, stride=1, padding=1, is_tap=True)


SMALL = LPIPSConfig(trunk=ConvTrunkConfig(stages=((conv(4),), (conv(6), conv(8))), pool=2))


@pytest.fixture(scope="module")
def network() -> LPIPS:
    made = LPIPS(SMALL)
    for index, parameter in enumerate(made.parameters()):
        drawn = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
        is_head = parameter.shape[0] == 1
        parameter.data = drawn.abs() if is_head else drawn / parameter[0].numel() ** 0.5
    return made.requires_grad_(False)


def pictures(name: str) -> Tensor:
    return 2 * NOISE.uniform((3, 3, 12, 20), name) - 1


@pytest.mark.parametrize(
    ("name", "make", "keymap", "count"),
    [
        ("alex", lpips_alex, lpips_map.ALEX, 2_469_696 + 1_152),
        ("vgg", lpips_vgg, lpips_map.VGG, 14_714_688 + 1_472),
    ],
)
def test_published_sizes_and_names(
    name: str, make: Callable[[], LPIPSConfig], keymap: KeyMap, count: int
) -> None:
    network = LPIPS(make(), device="meta")
    assert sum(p.numel() for p in network.parameters()) == count
    whole = manifests.read(f"00-lpips-{name}")
    once = {key: shape for key, shape in whole.shapes.items() if not key.startswith("lins.")}
    manifests.check(network, replace(whole, shapes=once), keymap, beside={})
    assert keymap.to_ours(whole.shapes) == manifests.shapes_of(network)


def test_the_distance_is_equation_1(network: LPIPS) -> None:
    a, b = pictures("a"), pictures("b")
    shift, scale = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
    seen = []
    for x in (a, b):
        x = torch.stack([(x[:, c] - shift[c]) / scale[c] for c in range(3)], dim=1)
        first = network.trunk.features[0](x).relu()
        second = network.trunk.features[3](torch.nn.functional.max_pool2d(first, 2)).relu()
        seen.append([first, second, network.trunk.features[5](second).relu()])
    expected = torch.zeros(3)
    for head, x, y in zip(network.heads, *seen):
        for place in torch.cartesian_prod(*map(torch.arange, x.shape[2:])).tolist():
            u, v = (z[:, :, place[0], place[1]] for z in (x, y))
            u, v = (z / (z.norm(dim=1, keepdim=True) + 1e-10) for z in (u, v))
            weights = head.weight[0, :, 0, 0]
            expected += ((u - v) ** 2 @ weights) / (x.shape[2] * x.shape[3])
    assert torch.allclose(network(a, b), expected, rtol=1e-4)
    assert network.layers(a, b).shape == (3, 3)
    assert torch.allclose(network.layers(a, b).sum(0), expected, rtol=1e-4)


def test_it_is_a_distance(network: LPIPS) -> None:
    a, b = pictures("a"), pictures("b")
    assert torch.equal(network(a, a), torch.zeros(3))
    assert torch.equal(network(a, b), network(b, a))
    near = [network(a, torch.lerp(a, b, share)) for share in (0.01, 0.1, 1.0)]
    assert (near[0] < near[1]).all()
    assert (near[1] < near[2]).all()
    assert torch.allclose(network(a[1:], b[1:]), network(a, b)[1:], atol=1e-6)


def test_it_is_a_loss(network: LPIPS) -> None:
    a, b = pictures("a").requires_grad_(), pictures("b")
    network(a, b).sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    assert a.grad.abs().max() > 0


def test_the_gradient_is_finite_where_nothing_is_seen() -> None:
    blind = LPIPS(SMALL)
    torch.nn.init.constant_(blind.trunk.features[0].bias, -1e3)
    a = pictures("a").requires_grad_()
    blind(a, pictures("b")).sum().backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("shapes", [((1, 3, 8, 8), (2, 3, 8, 8)), ((1, 1, 8, 8),) * 2])
def test_other_shapes_are_refused(network: LPIPS, shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(InputError, match="LPIPS compares pictures of one shape"):
        network(*map(torch.zeros, shapes))


def test_trunk_and_heads_come_from_two_files(tmp_path: Path, network: LPIPS) -> None:
    heads = {f"lin{i}.model.1.weight": head.weight for i, head in enumerate(network.heads)}
    torch.save(heads, tmp_path / "alex.pth")
    trunk = {**network.trunk.state_dict(), "classifier.1.weight": torch.ones(2, 2)}
    torch.save(trunk, tmp_path / "alexnet.pth")
    loaded = LPIPS(SMALL)
    load_into(loaded.heads, tmp_path / "alex.pth", lpips_map.HEADS)
    load_into(loaded.trunk, tmp_path / "alexnet.pth", plain_map.TRUNK)
    a, b = pictures("a"), pictures("b")
    assert torch.equal(loaded(a, b), network(a, b))
