"""LTX-Video's transformer: positions, masks, times, and the arguments of the authors' files."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from kinema.condition import Conditions, Grid, Tokens
from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.ltx_transformer import (
    LTXTransformer,
    LTXTransformerConfig,
    from_official,
    latent_positions,
    ltx_2b,
    ltx_13b,
    patchify,
    pixel_positions,
    rotary_table,
    rotate,
    unpatchify,
)
from kinema.noise import Noise

SMALL = LTXTransformerConfig(
    latent_channels=8, caption_channels=16, num_layers=2, num_heads=2, head_width=14
)
NOISE = Noise(0, (0, 1, 2))
X = NOISE.normal((3, 6, 8), "x")
TIME = torch.tensor([0.1, 0.5, 1.0])
TEXT = NOISE.normal((3, 4, 16), "text")
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
PLACES = torch.tensor([5.0, 100.0, 100.0])[:, None] * NOISE.uniform((3, 3, 6), "positions")
OFFICIAL = {
    "_class_name": "Transformer3DModel",
    "in_channels": 128,
    "out_channels": 128,
    "caption_channels": 4096,
    "cross_attention_dim": 2048,
    "num_layers": 28,
    "num_attention_heads": 32,
    "attention_head_dim": 64,
    "positional_embedding_theta": 10000.0,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "timestep_scale_multiplier": 1000,
    "causal_temporal_positioning": True,
    "qk_norm": "rms_norm",
    "norm_eps": 1e-06,
}


def small(dtype: torch.dtype = torch.float32) -> LTXTransformer:
    """A small network with random weights everywhere, always the same."""
    network = LTXTransformer(SMALL)
    for index, parameter in enumerate(network.parameters()):
        drawn = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
        parameter.data = (0.2 * drawn + (1 if parameter.ndim == 1 else 0)).to(dtype)
    return network


NETWORK = small().requires_grad_(False)


def given(mask: Tensor | None = MASK, text: Tensor = TEXT, places: Tensor = PLACES) -> Conditions:
    """Text and positions of the batch."""
    return Conditions({"text": Tokens(x=text, mask=mask), "positions": Grid(x=places)})


@pytest.mark.parametrize(
    ("config", "count"), [(ltx_2b(), 1_923_385_472), (ltx_13b(), 13_042_569_344)]
)
def test_published_sizes(config: LTXTransformerConfig, count: int) -> None:
    network = LTXTransformer(config, device="meta", dtype=torch.bfloat16)
    assert sum(p.numel() for p in network.parameters()) == count
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}
    assert from_dict(LTXTransformerConfig, to_dict(config)) == config


def test_rows_of_a_batch_do_not_see_one_another() -> None:
    out = NETWORK(X, TIME, given())
    assert out.shape == X.shape
    for i in range(3):
        row = slice(i, i + 1)
        alone = NETWORK(X[row], TIME[row], given(MASK[row], TEXT[row], PLACES[row]))
        torch.testing.assert_close(alone, out[row])


def test_tokens_are_told_apart_by_their_positions_alone() -> None:
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    out = NETWORK(X, TIME, given())
    moved = NETWORK(X[:, order], TIME, given(places=PLACES[..., order]))
    torch.testing.assert_close(moved, out[:, order])
    assert not torch.allclose(NETWORK(X[:, order], TIME, given()), out[:, order], atol=1e-2)


def test_a_time_per_token_equals_a_time_per_sample_when_all_are_the_same() -> None:
    out = NETWORK(X, TIME, given())
    torch.testing.assert_close(NETWORK(X, TIME[:, None].expand(3, 6), given()), out)
    times = TIME[:, None].repeat(1, 6)
    times[:, 2] = 0.9
    mixed = NETWORK(X, times, given())
    assert not torch.allclose(mixed[:, 2], out[:, 2], atol=1e-2)


def test_the_mask_hides_padding() -> None:
    out = NETWORK(X, TIME, given())
    changed = torch.where(MASK[..., None] == 1, TEXT, 100 + TEXT)
    assert torch.equal(NETWORK(X, TIME, given(text=changed)), out)
    torch.testing.assert_close(NETWORK(X, TIME, given(MASK.bool())), out, rtol=0, atol=0)
    short = NETWORK(X[2:], TIME[2:], given(None, TEXT[2:, :1], PLACES[2:]))
    torch.testing.assert_close(short, out[2:])
    everything = NETWORK(X, TIME, given(torch.ones(3, 4)))
    torch.testing.assert_close(NETWORK(X, TIME, given(None)), everything)
    assert not torch.allclose(everything[1:], out[1:], atol=1e-2)


def test_only_differences_of_positions_matter_to_attention() -> None:
    """Queries and keys that are turned meet under the difference of their angles."""
    q, k = (NOISE.normal((3, 6, 28), name).double() for name in "qk")

    def logits(places: Tensor) -> Tensor:
        limits = (20.0, 2048.0, 2048.0)
        table = rotary_table(places.double(), 28, theta=10.0, max_position=limits)
        turned_q, turned_k = (turn(x, table) for x in (q, k))
        return turned_q @ turned_k.mT

    def turn(x: Tensor, table: Tensor) -> Tensor:
        turned = rotate(x, table)
        assert torch.equal(turned[..., :4], x[..., :4].float().double())  # idle channels
        torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), rtol=1e-5, atol=0)
        return turned

    shift = torch.tensor([2.0, 64.0, 32.0])[:, None]
    torch.testing.assert_close(logits(PLACES + shift), logits(PLACES), rtol=0, atol=1e-4)
    assert not torch.allclose(logits(PLACES.flip(-1)), logits(PLACES), atol=0.1)
    network = small()
    network.config = replace(SMALL, theta=10.0)
    out, moved = (network(X, TIME, given(places=places)) for places in (PLACES, PLACES + shift))
    torch.testing.assert_close(moved, out, rtol=0, atol=1e-3)


def test_absolute_positions_begin_as_nothing_and_tell_places() -> None:
    told = replace(SMALL, theta=10.0, absolute_positions=True)
    network, without = LTXTransformer(told), small()
    without.config = replace(SMALL, theta=10.0)
    lacking = network.load_state_dict(without.state_dict(), strict=False)
    assert lacking.missing_keys == ["position_proj.weight", "position_proj.bias"]
    assert torch.equal(network(X, TIME, given()), without(X, TIME, given()))
    network(X, TIME, given()).square().sum().backward()
    assert network.position_proj.weight.grad is not None
    assert network.position_proj.weight.grad.any(0).sum() >= 14  # all axes: two of each pair
    torch.nn.init.normal_(network.position_proj.weight)
    shift = torch.tensor([2.0, 64.0, 32.0])[:, None]
    for axis in range(3):
        moved = network(X, TIME, given(places=PLACES + shift * torch.eye(3)[axis, :, None]))
        assert not torch.allclose(moved, network(X, TIME, given()), atol=1e-2)


def test_frequencies_grow_and_axes_alternate() -> None:
    places = torch.tensor([[[2.0], [0.0], [8.0]]])  # fractions 1, 0 and 1/2
    table = rotary_table(places, 14, theta=100.0, max_position=(2.0, 5.0, 16.0))
    assert table.shape == (1, 1, 7)
    assert table.dtype == torch.complex64
    angles = [f * p for f in (math.pi / 2, 50 * math.pi) for p in (1, -1, 0)]
    expected = torch.tensor([0.0, *angles])
    torch.testing.assert_close(table[0, 0].real, expected.cos(), atol=1e-5, rtol=0)
    torch.testing.assert_close(table[0, 0].imag, expected.sin(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 2])
def test_tokens_are_ordered_by_frame_row_and_column(size: int) -> None:
    latents = NOISE.normal((3, 2, 2, 4, 6), "latents")
    tokens = patchify(latents, size=size)
    places = latent_positions(2, 4, 6, device="cpu", size=size)
    assert tokens.shape == (3, 48 // size**2, 2 * size**2)
    assert torch.equal(unpatchify(tokens, 4, 6, size=size), latents)
    for token, (t, h, w) in zip(tokens.unbind(1), places.T.tolist()):
        assert torch.equal(token[:, 0], latents[:, 0, t, h, w])


def test_the_first_latent_frame_may_stand_for_one_pixel_frame() -> None:
    latent = latent_positions(3, 1, 2, device="cpu")
    plain, causal = (pixel_positions(latent, (8, 32, 16), causal=c) for c in (False, True))
    assert plain.tolist() == [[0, 0, 8, 8, 16, 16], [0] * 6, [0, 16] * 3]
    assert causal.tolist() == [[0, 0, 1, 1, 9, 9], [0] * 6, [0, 16] * 3]
    assert latent[0].tolist() == [0, 0, 1, 1, 2, 2]


def gradients(network: LTXTransformer) -> dict[str, Tensor]:
    network.zero_grad()
    network(X, TIME, given()).square().mean().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def test_every_parameter_has_a_gradient_and_checkpointing_gives_the_same() -> None:
    plain, saving = small(), small()
    saving.gradient_checkpointing = True
    runs: list[int] = []
    saving.transformer_blocks[1].attn1.register_forward_pre_hook(lambda *_: runs.append(1))
    assert torch.equal(plain(X, TIME, given()), saving(X, TIME, given()))
    runs.clear()
    expected, got = gradients(plain), gradients(saving)
    assert len(runs) == 2  # once forward and once again backward
    assert expected.keys() == dict(plain.named_parameters()).keys()
    for name, value in expected.items():
        assert value.abs().max() > 0, name
        assert torch.equal(got[name], value), name
    runs.clear()
    gradients(saving.eval())
    assert len(runs) == 1


def test_a_new_network_predicts_nothing_and_learns() -> None:
    network = LTXTransformer(SMALL)
    assert not network(X, TIME, given()).any()
    (NOISE.normal(X.shape, "target") - network(X, TIME, given())).square().mean().backward()
    assert network.proj_out.weight.grad is not None
    assert network.proj_out.weight.grad.abs().max() > 0
    tables = [p for name, p in network.named_parameters() if name.endswith("table")]
    spread = torch.cat([table.flatten() for table in tables]).std().item()
    assert spread == pytest.approx(SMALL.width**-0.5, rel=0.2)


def test_bfloat16_is_close() -> None:
    narrow = small(torch.bfloat16).requires_grad_(False)
    out = narrow(X.bfloat16(), TIME, given(text=TEXT.bfloat16()))
    assert out.dtype == torch.bfloat16
    expected = NETWORK(X, TIME, given())
    assert (out - expected).norm() < 0.05 * expected.norm()
    turned = rotate(
        X.bfloat16().repeat(1, 1, 2),
        rotary_table(PLACES, 16, theta=10.0, max_position=(20.0, 2048.0, 2048.0)),
    )
    assert turned.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_gradients_the_same_is_computed_and_what_is_given_stays(dtype: torch.dtype) -> None:
    """Then results take the place of what is no longer needed, and attention goes by blocks."""
    network, x, text = small(dtype), X.to(dtype), TEXT.to(dtype)
    before = x.clone(), text.clone()
    expected = network(x, TIME, given(text=text)).detach()
    with torch.no_grad():
        out = network(x, TIME, given(text=text))
    assert (out - expected).norm() <= (1e-6 if dtype is torch.float32 else 0.03) * expected.norm()
    assert torch.equal(x, before[0])
    assert torch.equal(text, before[1])


def test_everything_is_made_on_the_device_of_the_weights() -> None:
    network = LTXTransformer(SMALL, device="meta")
    conditions = given(MASK.to("meta"), TEXT.to("meta"), PLACES.to("meta"))
    out = network(X.to("meta"), TIME.to("meta"), conditions)
    assert out.device.type == "meta"
    assert out.shape == X.shape
    assert latent_positions(1, 2, 2, device="meta").device.type == "meta"


def test_official_arguments_give_the_presets() -> None:
    assert from_official(OFFICIAL) == ltx_2b()
    large = {"num_layers": 48, "attention_head_dim": 128, "cross_attention_dim": 4096}
    assert from_official(OFFICIAL | large) == ltx_13b()
    less = {name: value for name, value in OFFICIAL.items() if name != "out_channels"}
    assert from_official(less | {"dropout": 0.0}) == ltx_2b()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"qk_norm": "layer_norm"}, "has qk_norm='rms_norm', not 'layer_norm'"),
        ({"causal_temporal_positioning": 2}, "has causal_temporal_positioning=True, not 2"),
        ({"out_channels": 64}, "predicts as many channels as it reads"),
        ({"cross_attention_dim": 4096}, "cross_attention_dim must equal the width 2048"),
        ({"attention_head_dim": 63}, "head_width must be even"),
        ({"num_layers": "28"}, "num_layers must be int, not '28'"),
        ({"positional_embedding_max_pos": [20, 2048]}, "max_position must have 3 values, not 2"),
        ({"positional_embedding_max_pos": None}, "max_position must be a list, not None"),
        ({"window": 3}, "unknown argument of the LTX transformer 'window'"),
    ],
)
def test_official_arguments_of_another_network_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_official(OFFICIAL | change)


def test_a_missing_argument_is_named() -> None:
    less = {name: value for name, value in OFFICIAL.items() if "layers" not in name}
    with pytest.raises(InputError, match="lack num_layers"):
        from_official(less)
