"""Digests of networks."""

from __future__ import annotations

import torch
from torch import nn

from kinema.noise import Noise
from kinema.weights.digest import digest


def network(scale: float = 1.0) -> nn.Sequential:
    """A layer and a norm, with a counter among the buffers."""
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    made[0].weight.data = scale * Noise(0, (0,)).normal((1, 4, 3), "w")[0]
    made[0].bias.data = torch.ones(4)
    return made


def test_equal_networks_have_equal_digests() -> None:
    assert digest(network()) == digest(network())
    assert len(digest(network())) == 16
    assert int(digest(network()), 16) > 0


def test_every_value_name_and_shape_counts() -> None:
    one, bent, counted = network(), network(), network()
    bent[0].bias.data[3] += 1e-6
    counted[1].num_batches_tracked += 1
    renamed = nn.Sequential(nn.Identity(), *network())
    turned = network()
    turned[0].weight.data = turned[0].weight.data.reshape(3, 4)
    others = [bent, counted, renamed, turned, network(2.0), network()[0]]
    assert len({digest(other) for other in [one, *others]}) == 7


def test_a_wider_copy_of_narrow_weights_is_the_same_network() -> None:
    narrow = network().bfloat16()
    assert digest(narrow) != digest(network())
    assert digest(narrow.float()) == digest(network().bfloat16())


def test_the_layout_in_memory_does_not_count() -> None:
    laid = network()
    laid[0].weight.data = laid[0].weight.data.mT.contiguous().mT
    assert not laid[0].weight.is_contiguous()
    assert digest(laid) == digest(network())
