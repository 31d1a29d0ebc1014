"""The meters against what is known by hand, torch's own counter and measured memory."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from kinema.networks.ltx_transformer import Attention
from kinema.nn.sites import Site
from kinema.planning.meters import flops, latency, saved_activations


def test_a_linear_layer_costs_two_operations_a_weight_and_row() -> None:
    layer, x = nn.Linear(7, 5), torch.zeros(3, 7)
    assert flops(layer, x) == 2 * 3 * 7 * 5


def test_convolutions_count_as_in_torch() -> None:
    network = nn.Sequential(nn.Conv3d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv3d(8, 2, 1))
    x = torch.zeros(2, 3, 4, 6, 6)
    with FlopCounterMode(display=False) as counter:
        network(x)
    places = 2 * 4 * 6 * 6
    assert flops(network, x) == counter.get_total_flops() == 2 * places * (3 * 27 * 8 + 8 * 2)


def test_attention_counts_on_the_cpu_too_forward_and_backward() -> None:
    q = torch.zeros(2, 4, 16, 8, requires_grad=True)
    products = 2 * 2 * 4 * 16 * 16 * 8  # of one product of matrices

    def backward() -> None:
        F.scaled_dot_product_attention(q, q, q).sum().backward()

    assert flops(F.scaled_dot_product_attention, q, q, q) == 2 * products
    # Backward there are four products, and those of the logits are taken again.
    assert flops(backward) == (2 + 5) * products


def test_attention_of_a_network_counts_the_same_in_both_ways_that_it_is_computed() -> None:
    layer, x = Attention(Site("a", "self"), 12, 2), torch.zeros(1, 5, 12)
    fused = flops(layer, x, x, None, None)
    plain = flops(layer.bfloat16(), x.bfloat16(), x.bfloat16(), None, None)
    assert fused == plain == 4 * 2 * 5 * 12 * 12 + 2 * 2 * 5 * 5 * 12


def test_operations_are_counted_on_the_meta_device() -> None:
    layer = nn.Linear(7, 5, device="meta")
    assert flops(layer, torch.zeros(3, 7, device="meta")) == 2 * 3 * 7 * 5


def test_latency_is_the_median_after_warming_up() -> None:
    waits = iter([0.2, 0.2, 0.01, 0.3, 0.02])
    seconds = latency(lambda: time.sleep(next(waits)), 3)
    assert 0.02 <= seconds < 0.2
    assert next(waits, None) is None


@pytest.mark.parametrize("links", [1, 5])
def test_a_chain_keeps_what_its_links_read(links: int) -> None:
    x = torch.ones(1000, 50, requires_grad=True)

    def chain() -> Tensor:
        y = x
        for _ in range(links):
            y = y.sin()
        return y

    size = x.numel() * x.element_size()
    assert saved_activations(chain) == links * size
    # Of the memory that is measured, the last link's result is kept by the caller, and x was there.
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = chain()
    measured = sum(event.self_cpu_memory_usage for event in profiler.key_averages())
    assert measured == saved_activations(chain) - size + result.numel() * result.element_size()


def test_views_of_one_storage_count_once_and_parameters_not_at_all() -> None:
    layer, x = nn.Linear(8, 8), torch.ones(4, 8)
    assert saved_activations(lambda: layer(x)) == 4 * 8 * 4
    y = torch.ones(4, 8, requires_grad=True)
    assert saved_activations(lambda: y[:2] * y[2:]) == 4 * 8 * 4


def test_nothing_is_kept_without_gradients() -> None:
    layer = nn.Linear(8, 8)
    with torch.no_grad():
        assert saved_activations(layer, torch.ones(4, 8)) == 0
