"""Perturbed branches of a small LTX transformer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kinema.condition import Conditions, Grid, Tokens
from kinema.hooks.perturb import attention_skip, attention_values, block_skip
from kinema.networks.ltx_transformer import Attention, LTXTransformer, LTXTransformerConfig
from kinema.nn.sites import Site, attend, hooked
from kinema.noise import Noise

NOISE = Noise(0, (0, 1))
X, TEXT = NOISE.normal((2, 5, 8), "x"), NOISE.normal((2, 3, 16), "text")
TIME = torch.tensor([0.3, 0.8])
CONDITIONS = Conditions(
    {"text": Tokens(x=TEXT), "positions": Grid(x=20 * NOISE.uniform((2, 3, 5), "positions"))}
)
SITE = "transformer_blocks.1.attn1"
ALL, NONE = torch.tensor([True]), torch.tensor([False])
FIRST = torch.tensor([True, False])


@pytest.fixture(scope="module")
def network() -> LTXTransformer:
    """Three blocks with random weights."""
    config = LTXTransformerConfig(
        latent_channels=8, caption_channels=16, num_layers=3, num_heads=2, head_width=12
    )
    network = LTXTransformer(config)
    for index, parameter in enumerate(network.parameters()):
        parameter.data = 0.2 * Noise(0, (index,)).normal((1, *parameter.shape), "w")[0]
    return network.requires_grad_(False)


def predict(network: LTXTransformer) -> Tensor:
    """One forward."""
    out: Tensor = network(X, TIME, CONDITIONS)
    return out


def replaced(network: LTXTransformer, name: str, result: nn.Module | None) -> Tensor:
    """One forward in which a module returns its first input, through `result` if there is one."""
    handle = network.get_submodule(name).register_forward_hook(
        lambda _module, args, _out: args[0] if result is None else result(args[0])
    )
    try:
        return predict(network)
    finally:
        handle.remove()


def test_attention_returns_its_values(network: LTXTransformer) -> None:
    attention = network.get_submodule(SITE)
    assert isinstance(attention, Attention)
    expected = replaced(network, SITE, nn.Sequential(attention.to_v, attention.to_out))
    with attention_values({SITE: ALL}):
        got = predict(network)
    torch.testing.assert_close(got, expected)
    assert not torch.allclose(got, predict(network))


def test_attention_is_skipped_before_its_output(network: LTXTransformer) -> None:
    attention = network.get_submodule(SITE)
    expected = replaced(network, SITE, attention.get_submodule("to_out"))
    with attention_skip({attention: ALL}):
        torch.testing.assert_close(predict(network), expected)


def test_a_skipped_block_changes_nothing(network: LTXTransformer) -> None:
    block = network.get_submodule("transformer_blocks.1")
    with block_skip({block: ALL}):
        assert torch.equal(predict(network), replaced(network, "transformer_blocks.1", None))
    with block_skip({network.transformer_blocks[i]: ALL for i in range(3)}):
        got = predict(network)
    blocks, network.transformer_blocks = network.transformer_blocks, nn.ModuleList()
    assert torch.equal(got, predict(network))
    network.transformer_blocks = blocks


@pytest.mark.parametrize("mode", ["values", "skip", "block"])
def test_only_the_samples_that_are_named_are_perturbed(network: LTXTransformer, mode: str) -> None:
    def perturbed(rows: Tensor) -> Tensor:
        attention, block = network.get_submodule(SITE), network.transformer_blocks[1]
        context = {
            "values": lambda: attention_values({SITE: rows}),
            "skip": lambda: attention_skip({attention: rows}),
            "block": lambda: block_skip({block: rows}),
        }[mode]
        with context():
            return predict(network)

    plain, every, first = predict(network), perturbed(ALL), perturbed(FIRST)
    assert not torch.allclose(every[0], plain[0])
    torch.testing.assert_close(first[0], every[0])
    torch.testing.assert_close(first[1], plain[1])
    torch.testing.assert_close(perturbed(NONE), plain)
    assert torch.equal(predict(network), plain)  # nothing stays behind


def test_a_perturbed_sample_leaves_the_mask_of_the_others() -> None:
    q, k, v = (NOISE.normal((2, 2, 3, 4), name) for name in "qkv")
    mask = torch.tensor([[0.0, -1e4, 0.0]])
    site = Site("a", "self")
    with attention_values({"a": FIRST}):
        got = attend(site, q, k, v, mask)
    assert torch.equal(got[0], v[0])
    torch.testing.assert_close(got[1], attend(site, q, k, v, mask)[1])


@pytest.mark.parametrize("mode", ["values", "skip", "block"])
def test_nothing_stays_behind_after_an_error(network: LTXTransformer, mode: str) -> None:
    plain = predict(network)
    attention, block = network.get_submodule(SITE), network.transformer_blocks[1]

    def fail(site: Site, *_: object) -> None:
        if site.name == "transformer_blocks.2.attn2":
            raise RuntimeError("in the middle")

    context = {
        "values": lambda: attention_values({SITE: ALL}),
        "skip": lambda: attention_skip({attention: ALL}),
        "block": lambda: block_skip({block: ALL}),
    }[mode]
    with pytest.raises(RuntimeError, match="in the middle"), hooked(fail), context():
        predict(network)
    assert torch.equal(predict(network), plain)
