"""ViViT with a factorized encoder: transformers' blocks, counts, adapters, first values."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import transformers
from random_weights import stir

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.videomae import VideoMAE, VideoMAEConfig
from kinema.networks.vivit import ADAPTERS, SpatialTransformer, TemporalTransformer
from kinema.networks.vivit_config import (
    AdapterName,
    SpatialConfig,
    TemporalConfig,
    check_fit,
    spatial_b_16,
    spatial_l_16,
    temporal_of,
)
from kinema.noise import Noise
from kinema.parity.runner import relative_error
from kinema.weights.files import load_tensors
from kinema.weights.keymap import KeyMap, Merge, Rename, lazy

SPATIAL = SpatialConfig(image_size=16, patch_size=4, width=24, num_layers=3, num_heads=3)
TEMPORAL = TemporalConfig(
    width=24,
    num_layers=2,
    num_heads=3,
    num_steps=3,
    num_patches=16,
    num_classes=5,
    adapter="pooling",
)
CLIPS = Noise(0, (0, 1)).normal((2, 3, 6, 16, 16), "clips")
TOKENS = Noise(0, (0, 1)).normal((2, 3, 17, 24), "tokens")

# Of transformers' VivitModel, for a test alone: it publishes no factorized encoder.
QKV = tuple(f"layers.{{i}}.attention.{name}_proj.*" for name in "qkv")
PEER = KeyMap(
    Rename("embeddings.cls_token", "cls_token"),
    Rename("embeddings.position_embeddings", "pos_embed"),
    Rename("embeddings.patch_embeddings.projection.*", "patch_embed.proj.*"),
    Merge(QKV, "blocks.{i}.attn.qkv.*", dim=0),
    Rename("layers.{i}.attention.o_proj.*", "blocks.{i}.attn.proj.*"),
    Rename("layers.{i}.layernorm_before.*", "blocks.{i}.norm1.*"),
    Rename("layers.{i}.layernorm_after.*", "blocks.{i}.norm2.*"),
    Rename("layers.{i}.mlp.*", "blocks.{i}.mlp.*"),
    Rename("layernorm.*", "norm.*"),
)


def temporal(**changes: object) -> TemporalTransformer:
    network = TemporalTransformer(from_dict(TemporalConfig, {**to_dict(TEMPORAL), **changes}))
    stir(network)
    return network.eval().requires_grad_(False)


def spatial() -> SpatialTransformer:
    network = SpatialTransformer(SPATIAL)
    stir(network)
    return network.eval().requires_grad_(False)


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# -- published sizes and peers --------------------------------------------------------------


def test_published_sizes_have_as_many_parameters_as_they_say() -> None:
    """Those of B/16x2 are the 115.1 million of the paper."""
    totals = []
    for size in (spatial_b_16, spatial_l_16):
        config = size()
        first = SpatialTransformer(config, device="meta")
        assert f"{count(first):,} parameters" in str(size.__doc__)
        plain = temporal_of(config, num_frames=32, num_classes=400, adapter="class token")
        second = TemporalTransformer(plain, device="meta")
        assert f"{count(second) - count(second.head):,}" in str(temporal_of.__doc__)
        totals.append(count(first) + count(second))
    assert totals[0] == 115_062_928


def test_one_step_is_seen_as_by_transformers() -> None:
    options = transformers.VivitConfig(
        image_size=16,
        num_frames=2,
        tubelet_size=[2, 4, 4],
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=96,
    )
    peer = transformers.VivitModel(options, add_pooling_layer=False).eval()
    stir(peer)
    network = SpatialTransformer(SPATIAL).eval()
    load_tensors(network, lazy(peer.state_dict()), PEER, where="transformers' ViViT")
    with torch.no_grad():
        tokens = network(CLIPS)
        for step in range(3):
            two = CLIPS[:, :, 2 * step : 2 * step + 2].transpose(1, 2)
            assert relative_error(tokens[:, step], peer(two).last_hidden_state) < 1e-5


# -- both transformers ----------------------------------------------------------------------


def test_the_spatial_transformer_does_not_know_which_step_it_sees() -> None:
    network = spatial()
    turned = CLIPS.unflatten(2, (3, 2)).flip(2).flatten(2, 3)
    torch.testing.assert_close(network(turned), network(CLIPS).flip(1), rtol=1e-5, atol=1e-5)


def test_the_temporal_transformer_does() -> None:
    network = temporal()
    assert relative_error(network(TOKENS.flip(1)), network(TOKENS)) > 1e-3


def test_rows_do_not_see_one_another() -> None:
    network = temporal()
    torch.testing.assert_close(network(TOKENS)[1:], network(TOKENS[1:]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(spatial()(CLIPS)[1:], spatial()(CLIPS[1:]), rtol=1e-5, atol=1e-5)


def test_the_head_starts_at_zero() -> None:
    assert not TemporalTransformer(TEMPORAL)(TOKENS).any()


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_starts_as_the_class_token(name: AdapterName) -> None:
    network = TemporalTransformer(replace(TEMPORAL, adapter=name))
    assert torch.equal(network.adapter(TOKENS), TOKENS[:, :, 0])


@pytest.mark.parametrize(("name", "sees"), [("class token", False), ("pooling", True)])
def test_an_adapter_sees_the_places_of_its_own_step(name: str, sees: bool) -> None:
    network = temporal(adapter=name)
    other = TOKENS.clone()
    other[:, 1, 5:] = other[:, 1, 5:].flip(-1)
    before, after = network.adapter(TOKENS), network.adapter(other)
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    assert (relative_error(after[:, 1], before[:, 1]) > 1e-3) == sees


def test_blocks_let_all_places_of_a_step_attend() -> None:
    network = temporal(adapter="blocks")
    other = TOKENS.clone()
    other[:, 1, 5:] = other[:, 1, 5:].flip(-1)
    before, after = network.adapter(TOKENS), network.adapter(other)
    assert torch.equal(before[:, 0], after[:, 0])
    assert relative_error(after[:, 1], before[:, 1]) > 1e-3


# -- first values ---------------------------------------------------------------------------


def test_the_temporal_blocks_start_from_the_last_ones_of_an_image_model() -> None:
    image, network = spatial(), temporal()
    network.take(image.blocks[-2:])
    x = torch.cat([TOKENS[:, 0], TOKENS[:, 1]], 1)
    for own, other in zip(network.blocks, image.blocks[1:]):
        assert torch.equal(own(x, None), other(x, None))


def test_blocks_of_videomae_are_the_same_up_to_the_gelu() -> None:
    """Theirs is exact, and ours its approximation by a tanh, as in Flax."""
    config = VideoMAEConfig(
        image_size=16,
        patch_size=8,
        width=24,
        num_layers=4,
        num_heads=3,
        hidden=96,
        num_frames=2,
        num_classes=2,
    )
    other = VideoMAE(config).eval().requires_grad_(False)
    stir(other)
    network = temporal()
    network.take(other.blocks[:2])
    qkv = network.blocks[0].attn.qkv
    assert not qkv.bias[24:48].any()
    assert torch.equal(qkv.bias[:24], other.blocks[0].attn.qkv.q_bias)
    x = TOKENS[:, 0]
    for own, theirs in zip(network.blocks, other.blocks):
        assert relative_error(own.attn(x, None), theirs.attn(x, None)) < 1e-6
        assert relative_error(own(x, None), theirs(x, None)) < 2e-3


def test_blocks_of_another_size_or_number_are_refused() -> None:
    wider = SpatialTransformer(replace(SPATIAL, width=48), device="meta")
    with pytest.raises(InputError, match="of width 24 cannot start from these"):
        temporal().take(wider.blocks[:2])
    with pytest.raises(InputError, match="2 blocks cannot start from 1"):
        temporal().take(spatial().blocks[:1])


# -- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 3, 5, 16, 16), (1, 3, 6, 16, 24), (1, 1, 6, 16, 16)])
def test_clips_of_other_sizes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"ViViT reads clips \(B, 3, T, 16, 16\) of an even T"):
        SpatialTransformer(SPATIAL, device="meta")(torch.zeros(shape))


def test_other_numbers_of_frames_are_refused() -> None:
    with pytest.raises(InputError, match="reads 3 steps of 17 tokens, not 2 of 17"):
        temporal()(TOKENS[:, :2])


def test_transformers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="has width 24, the spatial one 48"):
        check_fit(replace(SPATIAL, width=48), TEMPORAL)
    with pytest.raises(InputError, match="num_steps must be at least 1"):
        replace(TEMPORAL, num_steps=0)


def test_residuals_are_dropped_in_training_alone() -> None:
    network = temporal(drop_path=0.5)
    assert [block.drop_attn.rate for block in network.blocks] == [0.0, 0.5]
    assert torch.equal(network.train()(TOKENS), network.eval()(TOKENS))
