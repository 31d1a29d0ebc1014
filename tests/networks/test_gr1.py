"""GR-1's policy: who reads whom, what is asked for, patches as targets, the authors' arguments."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.gr1 import (
    Felt,
    GR1Transformer,
    GR1TransformerConfig,
    Seen,
    from_official,
    gr1,
    readable,
)
from kinema.networks.patch_decoder import normalized, sincos_table, to_images, to_patches
from kinema.networks.perceiver_resampler import PerceiverResampler, ResamplerConfig
from kinema.networks.vit import ImageFeatures, ViT, ViTConfig, vit_b_16
from kinema.nn.sites import Site, hooked
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.keymap import KeyMap
from kinema.weights.maps import gr1 as gr1_map

CASE = Path(__file__).parents[1] / "cases" / "25-gr1" / "policy"
OFFICIAL: dict[str, Any] = {
    "state_dim": 7,
    "act_dim": 7,
    "hidden_size": 384,
    "sequence_length": 10,
    "training_target": ["act_pred", "fwd_pred", "fwd_pred_hand"],
    "img_feat_dim": 768,
    "patch_feat_dim": 768,
    "lang_feat_dim": 512,
    "resampler_params": {
        "depth": 3,
        "dim_head": 128,
        "heads": 4,
        "num_latents": 9,
        "num_media_embeds": 1,
    },
    "use_hand_rgb": True,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": 1536,
    "activation_function": "relu",
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "attn_pdrop": 0.1,
}
SMALL = GR1TransformerConfig(
    image_size=8,
    patch_size=4,
    feature_width=12,
    language_width=10,
    arm_width=3,
    max_steps=5,
    width=16,
    num_layers=2,
    num_heads=2,
    resampler=ResamplerConfig(num_latents=2, num_layers=2, num_heads=2, head_width=4),
    decoder_layers=1,
    decoder_heads=2,
)
STEPS = 4
ALL = ("action", "image", "wrist")
NOISE = Noise(0, (0, 1))


def small() -> GR1Transformer:
    """A small network with random weights everywhere, always the same."""
    network = GR1Transformer(SMALL)
    for index, parameter in enumerate(network.parameters()):
        drawn = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
        parameter.data = 0.3 * drawn + (1 if parameter.ndim == 1 else 0)
    return network


def look(name: str) -> ImageFeatures:
    summary = NOISE.normal((2, STEPS, 12), f"{name} summary")
    return ImageFeatures(summary, NOISE.normal((2, STEPS, 4, 12), f"{name} patches"))


NETWORK = small().requires_grad_(False)
SEEN = Seen(
    language=NOISE.normal((2, 10), "language"),
    image=look("image"),
    wrist=look("wrist"),
    felt=Felt(
        arm=NOISE.normal((2, STEPS, 3), "arm"), gripper=NOISE.normal((2, STEPS, 2), "gripper")
    ),
    real=torch.ones(2, STEPS, dtype=torch.bool),
)


def answers(network: GR1Transformer, seen: Seen, asked: tuple[Any, ...] = ALL) -> dict[str, Tensor]:
    prediction = network(seen, asked)
    return {asked[0]: prediction.value, **prediction.aux}


EXPECTED = answers(NETWORK, SEEN)


def cut(seen: Seen, rows: slice, steps: slice) -> Seen:
    """Some rows and steps of a window."""

    def image(features: ImageFeatures) -> ImageFeatures:
        return ImageFeatures(*(x[rows, steps] for x in features))

    assert seen.felt is not None
    assert seen.wrist is not None
    return Seen(
        language=seen.language[rows],
        image=image(seen.image),
        wrist=image(seen.wrist),
        felt=Felt(arm=seen.felt.arm[rows, steps], gripper=seen.felt.gripper[rows, steps]),
        real=seen.real[rows, steps],
    )


def disturbed(seen: Seen, step: int) -> Seen:
    """The same window with something else from `step` on."""

    def other(x: Tensor) -> Tensor:
        return torch.cat([x[:, :step], 3 - 2 * x[:, step:]], 1)

    assert seen.felt is not None
    assert seen.wrist is not None
    return replace(
        seen,
        image=ImageFeatures(*map(other, seen.image)),
        wrist=ImageFeatures(*map(other, seen.wrist)),
        felt=Felt(arm=other(seen.felt.arm), gripper=other(seen.felt.gripper)),
    )


# -- sizes and names ------------------------------------------------------------------------


def test_published_sizes_and_names() -> None:
    policy, image = GR1Transformer(gr1(), device="meta"), ViT(vit_b_16(), device="meta")
    assert sum(p.numel() for p in policy.parameters()) == 45_988_039
    assert sum(p.numel() for p in image.parameters()) == 85_798_656
    whole = manifests.read("25-gr1")
    frozen = {k: v for k, v in whole.shapes.items() if k.startswith("model_mae.")}
    buffers = {k for k in whole.shapes if k.endswith((".attn.bias", ".attn.masked_bias"))}
    assert len(buffers) == 24
    trained = {k: v for k, v in whole.shapes.items() if k not in frozen and k not in buffers}
    manifests.check(image, replace(whole, shapes=frozen), gr1_map.IMAGE, beside={})
    manifests.check(policy, replace(whole, shapes=trained), gr1_map.TRAINED, beside={})
    # A snapshot as it is published is read too; buffers and frozen parts are passed over.
    assert gr1_map.POLICY.to_ours({**whole.shapes, "model_clip.x": (1,)}) == manifests.shapes_of(
        policy
    )
    assert isinstance(gr1_map.POLICY, KeyMap)


def test_official_arguments_give_the_presets() -> None:
    official = from_official(OFFICIAL)
    assert official.policy == gr1()
    assert official.image == vit_b_16()
    assert official.asked == ALL
    assert from_dict(GR1TransformerConfig, to_dict(gr1())) == gr1()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_hand_rgb": False}, "use_hand_rgb=True"),
        ({"activation_function": "gelu"}, "activation_function='relu'"),
        ({"n_inner": 384}, "n_inner of GR-1 is 4 times"),
        ({"act_dim": 8}, "one width of arms"),
        ({"patch_feat_dim": 36}, "one of image features"),
        ({"training_target": ["act_pred", "reward"]}, "no training target 'reward'"),
        ({"hidden_size": "384"}, "width must be int"),
        ({"resampler_params": {"depth": 3}}, r"lack resampler_params\.num_latents"),
        ({"fancy": 1}, "unknown argument of GR-1 'fancy'"),
        ({"mae": {"embed_dim": 768, "depth": 2, "num_heads": 4, "window": 2}}, r"mae\.window"),
        ({"mae": {"embed_dim": 768, "depth": 2}}, "lacks the field 'num_heads'"),
    ],
)
def test_official_arguments_of_another_network_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_official(OFFICIAL | change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_heads": 3}, "width 16 is not divisible by 3 heads"),
        ({"decoder_heads": 3}, "width 16 is not divisible by 3 heads"),
        ({"patch_size": 3}, "image_size 8 is not divisible by patch_size 3"),
        ({"width": 18, "decoder_heads": 2}, "width must be divisible by 4"),
    ],
)
def test_sizes_that_do_not_fit_are_named(change: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(SMALL, **change)


# -- who reads whom -------------------------------------------------------------------------


def test_the_mask_is_causal_and_hides_queries_from_all() -> None:
    real = torch.tensor([[True, True], [True, False]])
    mask = readable(real, read=2, queries=2)
    assert mask.shape == (2, 1, 8, 8)
    columns = mask[:, 0].any(1).tolist()
    assert columns[0] == [True, True, False, False, True, True, False, False]
    assert columns[1] == [True, True] + [False] * 6
    # A query reads what was before it, not itself.
    assert mask[0, 0, 3].tolist() == [True, True] + [False] * 6
    assert mask[0, 0, 4].tolist() == [True, True, False, False, True, False, False, False]


@pytest.mark.parametrize(
    ("table", "own"),
    [("action_queries", "action"), ("obs_queries", "image"), ("obs_hand_queries", "wrist")],
)
def test_nobody_else_reads_a_query(table: str, own: str) -> None:
    network = small().requires_grad_(False)
    getattr(network, table).weight.add_(NOISE.normal((2, 16), "change")[0])
    for name, value in answers(network, SEEN).items():
        if name == own:
            assert not torch.allclose(value, EXPECTED[name], atol=1e-2)
        else:
            assert torch.equal(value, EXPECTED[name]), name


@pytest.mark.parametrize(
    "asked", [("action",), ("image",), ("wrist", "action"), ("image", "wrist")]
)
def test_an_answer_does_not_depend_on_what_else_is_asked(asked: tuple[Any, ...]) -> None:
    found = answers(NETWORK, SEEN, asked)
    assert tuple(found) == asked
    for name, value in found.items():
        torch.testing.assert_close(value, EXPECTED[name], rtol=1e-5, atol=1e-5)


def test_shapes_of_answers() -> None:
    assert {name: tuple(x.shape) for name, x in EXPECTED.items()} == {
        "action": (2, STEPS, 4),
        "image": (2, STEPS, 4, 48),
        "wrist": (2, STEPS, 4, 48),
    }


@pytest.mark.parametrize("step", [1, 3])
def test_the_future_is_not_read(step: int) -> None:
    found = answers(NETWORK, disturbed(SEEN, step))
    for name, value in EXPECTED.items():
        assert torch.equal(found[name][:, :step], value[:, :step]), name
        assert not torch.allclose(found[name][:, step:], value[:, step:], atol=1e-2), name


def test_the_past_is_read() -> None:
    found = answers(NETWORK, disturbed(SEEN, 0))
    last = cut(SEEN, slice(None), slice(3, None))
    assert not torch.allclose(found["action"][:, 3], EXPECTED["action"][:, 3], atol=1e-2)
    assert not torch.allclose(
        answers(NETWORK, last)["action"][:, 0], EXPECTED["action"][:, 3], atol=1e-2
    )


def test_steps_that_are_not_there_are_not_read() -> None:
    padded = replace(SEEN, real=torch.tensor([[True, True, False, False]] * 2))
    found = answers(NETWORK, padded)
    other = answers(NETWORK, disturbed(padded, 2))
    short = answers(NETWORK, cut(SEEN, slice(None), slice(0, 2)))
    for name, value in found.items():
        assert torch.equal(other[name][:, :2], value[:, :2]), name
        torch.testing.assert_close(short[name], value[:, :2], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(short[name], EXPECTED[name][:, :2], rtol=1e-5, atol=1e-5)


def test_rows_of_a_batch_do_not_see_one_another() -> None:
    for row in range(2):
        alone = answers(NETWORK, cut(SEEN, slice(row, row + 1), slice(None)))
        for name, value in alone.items():
            torch.testing.assert_close(value[0], EXPECTED[name][row], rtol=1e-5, atol=1e-5)


def test_only_the_direction_of_the_language_matters() -> None:
    found = answers(NETWORK, replace(SEEN, language=7 * SEEN.language))
    torch.testing.assert_close(found["action"], EXPECTED["action"], rtol=1e-4, atol=1e-4)
    found = answers(NETWORK, replace(SEEN, language=SEEN.language.flip(-1)))
    assert not torch.allclose(found["action"], EXPECTED["action"], atol=1e-2)


def test_a_film_has_one_camera_and_no_states() -> None:
    film = replace(SEEN, wrist=None, felt=None)
    tokens = NETWORK.tokens(film)
    assert tokens.shape == (2, STEPS, 1 + 2 + 1, 16)
    assert NETWORK.tokens(SEEN).shape == (2, STEPS, 1 + 1 + 2 + 1 + 2 + 1, 16)
    assert NETWORK(film, ("image",)).value.shape == (2, STEPS, 4, 48)


def test_every_attention_bears_the_name_of_its_module() -> None:
    seen: list[Site] = []

    def note(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
        seen.append(site)

    encoder = ViT(ViTConfig(image_size=8, patch_size=4, width=12, num_layers=2, num_heads=2))
    with hooked(note):
        NETWORK(SEEN, ("action", "image"))
        encoder(torch.zeros(1, 3, 8, 8))
    names = dict.fromkeys(site.name for site in seen)
    assert len(names) == 2 + 2 + 1 + 2
    for name in names:
        module = encoder if name in dict(encoder.named_modules()) else NETWORK
        assert module.get_submodule(name).site.name == name
    assert {s.kind for s in seen if s.name.startswith("perceiver")} == {"cross"}


# -- parts ----------------------------------------------------------------------------------


def test_targets_are_normalized_patch_by_patch() -> None:
    images = 2 + 3 * NOISE.normal((2, 5, 3, 8, 8), "images")
    patches = to_patches(images, 4)
    assert patches.shape == (2, 5, 4, 48)
    assert torch.equal(patches[0, 0, 1, :6], images[0, 0, :, 0, 4:6].T.flatten())
    assert torch.equal(to_images(patches, 4), images)
    target = normalized(patches)
    torch.testing.assert_close(target.x.mean(-1), torch.zeros(2, 5, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        target.x.var(-1, unbiased=True), torch.ones(2, 5, 4), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(target.restored(target.x), patches, rtol=1e-5, atol=1e-5)
    assert torch.isfinite(normalized(torch.full((1, 48), 0.3)).x).all()


def test_positions_of_the_decoder_are_the_authors() -> None:
    recorded = load_file(CASE / "io.safetensors")["fixed.decoder_pos_embed"]
    table = sincos_table(recorded.shape[-1], 2, device="cpu")
    torch.testing.assert_close(table, recorded[0], rtol=0, atol=1e-6)
    decoder = GR1Transformer(SMALL).decoder
    assert torch.equal(decoder.pos_embed[0], sincos_table(16, 2, device="cpu"))
    assert "pos_embed" in decoder.state_dict()
    assert json.loads((CASE / "case.json").read_text())["config"]["image_size"] == 32


def test_the_resampler_does_not_care_for_the_order_of_features() -> None:
    resampler = PerceiverResampler("r", SMALL.resampler, 12)
    features = NOISE.normal((2, 6, 12), "features")
    latents = resampler(features)
    assert latents.shape == (2, 2, 12)
    torch.testing.assert_close(resampler(features.flip(1)), latents)
    assert not torch.allclose(resampler(2 * features), latents[[1, 0]], atol=1e-2)
    assert not torch.allclose(latents[:, 0], latents[:, 1], atol=1e-2)


def test_the_image_encoder_takes_any_leading_axes_and_knows_places() -> None:
    encoder = ViT(ViTConfig(image_size=8, patch_size=4, width=12, num_layers=1, num_heads=2))
    images = NOISE.normal((2, 3, 3, 8, 8), "images")
    summary, patches = encoder(images)
    assert (summary.shape, patches.shape) == ((2, 3, 12), (2, 3, 4, 12))
    torch.testing.assert_close(encoder(images[:, 1]).patches, patches[:, 1])
    encoder.pos_embed.data.mul_(20)
    turned = encoder(images[:, 0].flip(-1)).summary
    assert not torch.allclose(turned, encoder(images[:, 0]).summary, atol=1e-3)
    with pytest.raises(InputError, match="image_size 8 is not divisible by patch_size 3"):
        ViTConfig(image_size=8, patch_size=3, width=12, num_layers=1, num_heads=2)


# -- training -------------------------------------------------------------------------------


def gradients(network: GR1Transformer) -> dict[str, Tensor | None]:
    network.zero_grad()
    sum(x.square().mean() for x in answers(network, SEEN).values()).backward()
    return {name: p.grad for name, p in network.named_parameters()}


def test_every_parameter_but_the_dead_table_learns_and_checkpointing_is_equal() -> None:
    plain, saving = small(), small()
    saving.gradient_checkpointing = True
    assert saving.transformer.gradient_checkpointing
    runs: list[int] = []
    saving.transformer.h[0].register_forward_pre_hook(lambda *_: runs.append(1))
    expected, got = gradients(plain), gradients(saving)
    assert len(runs) == 2
    for name, value in expected.items():
        if name == "transformer.wte.weight":
            assert value is None
            continue
        assert value is not None, name
        assert value.abs().max() > 0, name
        torch.testing.assert_close(got[name], value)


def test_everything_is_made_on_the_device_of_the_weights() -> None:
    network = GR1Transformer(SMALL, device="meta", dtype=torch.bfloat16)
    kinds = {(p.device.type, p.dtype) for p in network.parameters()}
    assert kinds == {("meta", torch.bfloat16)}
    meta = cut(SEEN, slice(None), slice(None))
    assert meta.felt is not None
    assert meta.wrist is not None

    def move(x: Tensor) -> Tensor:
        return x.to("meta", torch.bfloat16)

    there = Seen(
        language=move(meta.language),
        image=ImageFeatures(*map(move, meta.image)),
        wrist=ImageFeatures(*map(move, meta.wrist)),
        felt=Felt(arm=move(meta.felt.arm), gripper=move(meta.felt.gripper)),
        real=meta.real.to("meta"),
    )
    for name, value in answers(network, there).items():
        assert value.device.type == "meta"
        assert value.shape == EXPECTED[name].shape
