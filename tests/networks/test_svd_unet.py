"""The U-Net of Stable Video Diffusion: names, time, images among frames, micro-conditions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kinema.condition import Conditions, Grid, Tokens, Vector
from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.svd_unet import (
    AlphaBlender,
    SVDUNet,
    SVDUNetConfig,
    from_official,
    full,
    micro_conditions,
    nano,
    text_to_video,
    tiny,
)
from kinema.networks.video_unet import VideoUNet, VideoUNetConfig, sd_2_1
from kinema.nn.sites import Site, hooked
from kinema.noise import Noise
from kinema.parity.case import read_case
from kinema.parity.runner import relative_error
from kinema.parity.svd_unet import ADAPTERS
from kinema.weights import manifests
from kinema.weights.keymap import KeyMap
from kinema.weights.maps import svd_unet as unet_map

CASES = Path(__file__).parents[1] / "cases" / "34-svd"
NOISE = Noise(0, (0, 1))
X = NOISE.normal((2, 4, 3, 4, 4), "x")
TIME = torch.tensor([-1.2, 0.7])
OFFICIAL = {
    "in_channels": 8,
    "model_channels": 320,
    "out_channels": 4,
    "num_res_blocks": 2,
    "attention_resolutions": [4, 2, 1],
    "channel_mult": [1, 2, 4, 4],
    "num_head_channels": 64,
    "use_linear_in_transformer": True,
    "transformer_depth": 1,
    "context_dim": 1024,
    "spatial_transformer_attn_type": "softmax-xformers",
    "extra_ff_mix_layer": True,
    "use_spatial_context": True,
    "merge_strategy": "learned_with_images",
    "video_kernel_size": [3, 1, 1],
    "num_classes": "sequential",
    "adm_in_channels": 768,
    "use_checkpoint": True,
}


def drawn(network: nn.Module) -> Any:
    """The network with random weights everywhere; they depend on the names of the 2-D part."""
    for name, parameter in network.named_parameters():
        name = name.replace(".spatial_res_block", "")
        value = Noise(0, (0,)).normal((1, *parameter.shape), name)[0]
        parameter.data = 0.2 * value + (1 if "norm" in name and name.endswith("weight") else 0)
    return network


NETWORK = drawn(SVDUNet(nano())).requires_grad_(False)


def given(tokens: int = 3, samples: int = 2, **changes: Any) -> Conditions:
    """The conditions of a call."""
    noise = Noise(0, tuple(range(samples)))
    entries = {
        "crossattn": Tokens(x=noise.normal((samples, tokens, 8), "text")),
        "concat": Grid(x=noise.normal((samples, 4, 1, 4, 4), "picture")),
        "vector": Vector(x=noise.normal((samples, 24), "vector")),
    }
    return Conditions({**entries, **changes})


OUT = NETWORK(X, TIME, given())


def moved(one: Tensor, other: Tensor) -> list[list[bool]]:
    """For each clip and frame whether two predictions differ."""
    return ((one - other).abs().amax(dim=(1, 3, 4)) > 1e-4).tolist()


# Names and sizes.


@pytest.mark.parametrize(
    ("preset", "count"),
    [(full, 1_524_623_082), (text_to_video, 1_521_987_562)],
)
def test_published_sizes(preset, count) -> None:
    network = SVDUNet(preset(), device="meta", dtype=torch.bfloat16)
    assert sum(p.numel() for p in network.parameters()) == count
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}
    temporal = {n: p for n, p in network.named_parameters() if "temporal" in n or ".time_" in n}
    added = {n: p for n, p in temporal.items() if ".spatial_res_block." not in n}
    assert sum(p.numel() for p in added.values()) == 656_076_838


@pytest.mark.parametrize("preset", [full, text_to_video, tiny, nano])
def test_configurations_survive_json(preset) -> None:
    values = json.loads(json.dumps(to_dict(preset())))
    assert from_dict(SVDUNetConfig, values) == preset()


def test_small_sizes_are_small() -> None:
    sizes = [sum(p.numel() for p in SVDUNet(p(), device="meta").parameters()) for p in (nano, tiny)]
    assert sizes[0] < 100_000 < sizes[1] < 2_500_000


def test_it_is_the_published_network_both_ways() -> None:
    network = SVDUNet(full(), device="meta")
    manifests.check(network, manifests.read("34-svd-unet"), unet_map.OFFICIAL, beside={})
    manifests.check(network, manifests.read("34-svd-unet-diffusers"), KeyMap(), beside={})
    bare = SVDUNet(text_to_video(), device="meta")
    manifests.check(bare, manifests.read("34-svd-unet-t2v"), unet_map.OFFICIAL, beside={})


def test_layouts_are_told_apart() -> None:
    theirs = manifests.read("34-svd-unet").shapes
    ours = manifests.read("34-svd-unet-diffusers").shapes
    assert unet_map.find(theirs) is unet_map.OFFICIAL
    assert unet_map.find(ours).to_ours(ours) == ours
    file = {f"model.diffusion_model.{name}": shape for name, shape in theirs.items()}
    beside = {"first_stage_model.encoder.conv_in.bias": (128,), "conditioner.w": (2, 2)}
    assert unet_map.find({**file, **beside}) is unet_map.SINGLE_FILE
    assert unet_map.SINGLE_FILE.to_ours({**file, **beside}) == ours
    assert unet_map.SINGLE_FILE.to_theirs(ours) == file


@pytest.mark.parametrize("levels", [(True, False), (True, True, False), (False, True, True, True)])
@pytest.mark.parametrize("blocks", [1, 3])
def test_the_map_counts_at_any_size(levels: tuple[bool, ...], blocks: int) -> None:
    config = SVDUNetConfig(
        in_channels=4,
        out_channels=4,
        channels=(8,) * len(levels),
        blocks_per_level=blocks,
        attention=levels,
        num_heads=(1,) * len(levels),
        context_channels=8,
        projection="conv",
        num_groups=4,
    )
    shapes = manifests.shapes_of(SVDUNet(config, device="meta"))
    keymap = unet_map.official(levels, blocks)
    theirs = keymap.to_theirs(shapes)
    assert keymap.to_ours(theirs) == shapes
    assert {name.split(".")[0] for name in theirs} == {
        *("time_embed", "input_blocks", "middle_block", "output_blocks", "out")
    }
    numbers = {int(name.split(".")[1]) for name in theirs if name.startswith("output_blocks")}
    assert numbers == set(range(len(levels) * (blocks + 1)))


def test_stable_diffusion_fills_the_layers_of_frames() -> None:
    image = manifests.read("60-base-sd21-unet").shapes
    ours = manifests.shapes_of(SVDUNet(text_to_video(), device="meta"))
    placed = unet_map.STABLE_DIFFUSION.to_ours(image)
    assert placed.items() <= ours.items()
    assert unet_map.STABLE_DIFFUSION.to_theirs(placed) == image
    left = {name for name in ours if name not in placed}
    assert {part for name in left for part in name.split(".") if part.startswith("t")} >= {
        *("temporal_res_block", "temporal_transformer_blocks", "time_mixer", "time_pos_embed")
    }
    assert not any("spatial_res_block" in name for name in left)
    assert from_dict(SVDUNetConfig, to_dict(sd_2_1())) == text_to_video()


@pytest.mark.parametrize("name", ["unet", "unet-t2v", "micro-conditions"])
def test_it_computes_what_the_authors_network_does(name: str) -> None:
    case = read_case(CASES / name)
    with torch.no_grad():
        computed = ADAPTERS[name](case)
    for key, expected in case.expected.items():
        assert relative_error(computed[key], expected) < 1e-5, key


# Frames, clips and images.


def test_clips_do_not_see_one_another() -> None:
    for row in range(2):
        part = slice(row, row + 1)
        conditions = Conditions(
            {name: type(c)(x=c.x[part]) for name, c in given().items()}  # type: ignore[union-attr]
        )
        torch.testing.assert_close(NETWORK(X[part], TIME[part], conditions), OUT[part])


def test_frames_of_a_clip_see_one_another_and_their_order() -> None:
    changed = X.clone()
    changed[1, :, 2] += 1
    assert moved(NETWORK(changed, TIME, given()), OUT) == [[False] * 3, [True] * 3]
    assert all(map(all, moved(NETWORK(X.flip(2), TIME, given()).flip(2), OUT)))


def test_a_clip_may_have_any_length() -> None:
    x = Noise(0, (0,)).normal((1, 4, 17, 4, 4), "long")
    assert NETWORK(x, TIME[:1], given(samples=1)).shape == x.shape


def test_frames_that_are_images_pass_by_all_temporal_layers() -> None:
    def told(*rows: list[int]) -> Conditions:
        return given(image_only=Vector(x=torch.tensor(rows)))

    torch.testing.assert_close(NETWORK(X, TIME, told([0, 0, 0], [0, 0, 0])), OUT, rtol=0, atol=0)
    images = NETWORK(X, TIME, told([1, 1, 1], [1, 1, 1]))
    for frame in range(3):
        alone = NETWORK(X[:, :, frame : frame + 1], TIME, told([1], [1]))
        torch.testing.assert_close(alone[:, :, 0], images[:, :, frame])
    mixed = NETWORK(X, TIME, told([0, 0, 0], [0, 1, 0]))
    assert moved(mixed, OUT) == [[False] * 3, [True] * 3]  # others see what the image became
    assert moved(mixed, images) == [[True] * 3, [True, False, True]]


def test_of_images_it_makes_what_the_image_network_makes() -> None:
    sizes = to_dict(nano())
    del sizes["vector_channels"]
    image = drawn(VideoUNet(from_dict(VideoUNetConfig, sizes)))
    video = drawn(SVDUNet(from_dict(SVDUNetConfig, sizes)))
    told = given(image_only=Vector(x=torch.ones(2, 3)))
    torch.testing.assert_close(video(X, TIME, told), image(X, TIME, given()))
    assert not torch.allclose(video(X, TIME, given()), image(X, TIME, given()), atol=1e-3)


def test_the_blend_starts_at_its_published_value() -> None:
    network = SVDUNet(nano())
    blends = [m for m in network.modules() if isinstance(m, AlphaBlender)]
    assert len(blends) == 8 + 4  # residual blocks and transformers
    assert [m.mix_factor.sigmoid().item() for m in blends] == [
        pytest.approx(0.62246, abs=1e-5)
    ] * 12


def test_attention_over_time_reads_the_text_of_the_first_frame() -> None:
    texts = Noise(0, tuple(range(6))).normal((6, 3, 8), "texts")
    seen: list[Tensor] = []

    def hook(site: Site, q: Tensor, k: Tensor, _v: Tensor, _mask: Tensor | None) -> None:
        if site.name == "mid_block.attentions.0.temporal_transformer_blocks.0.attn2":
            assert (site.kind, q.shape[2]) == ("cross", 3 * 4)
            seen.append(k)

    with hooked(hook):
        NETWORK(X, TIME, given(crossattn=Tokens(x=texts)))
        NETWORK(X, TIME, given(crossattn=Tokens(x=texts[[0, 3]])))
    assert not torch.allclose(texts[[0, 3]], texts[[1, 4]], atol=0.1)
    torch.testing.assert_close(*seen)


def test_the_mask_hides_padding() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    text = given()["crossattn"].x  # type: ignore[union-attr]
    out = NETWORK(X, TIME, given(crossattn=Tokens(x=text, mask=mask)))
    changed = torch.where(mask[..., None] == 1, text, text + 50)
    again = NETWORK(X, TIME, given(crossattn=Tokens(x=changed, mask=mask)))
    torch.testing.assert_close(again, out)
    assert moved(out, OUT) == [[False] * 3, [True] * 3]


def test_attention_over_frames_is_a_kind_of_its_own() -> None:
    shapes: dict[str, tuple[int, ...]] = {}

    def hook(site: Site, q: Tensor, _k: Tensor, _v: Tensor, _mask: Tensor | None) -> None:
        assert NETWORK.get_submodule(site.name) is not None
        if site.kind == "temporal":
            shapes[site.name] = tuple(q.shape)

    with hooked(hook):
        NETWORK(X, TIME, given())
    assert len(shapes) == 4
    name = "down_blocks.0.attentions.0.temporal_transformer_blocks.0.attn1"
    assert shapes[name] == (2 * 16, 2, 3, 4)  # clips x pixels, heads, frames, width


# Conditions.


@pytest.mark.parametrize("name", ["crossattn", "concat", "vector"])
def test_every_condition_matters(name: str) -> None:
    entry = given()[name]
    changed = type(entry)(x=entry.x.flip(0))  # type: ignore[union-attr]
    assert all(map(all, moved(NETWORK(X, TIME, given(**{name: changed})), OUT)))


def test_micro_conditions_are_sinusoids_side_by_side() -> None:
    values = torch.tensor([[6.0, 127.0, 0.02], [9.0, 30.0, 0.1]])
    vector = micro_conditions(values, width=8)
    assert vector.shape == (2, 24)
    frequencies = 10_000.0 ** (-torch.arange(4) / 4)
    angle = values[1, 1] * frequencies
    expected = torch.cat([angle.cos(), angle.sin()])
    torch.testing.assert_close(vector[1, 8:16], expected, atol=1e-5, rtol=0)
    assert micro_conditions(values, width=256).shape[1] == full().vector_channels


# Training.


def test_a_new_network_predicts_nothing_and_learns() -> None:
    network = SVDUNet(nano())
    out = network(X, TIME, given())
    assert not out.any()
    (NOISE.normal(X.shape, "target") - out).square().mean().backward()
    assert network.conv_out.weight.grad.abs().max() > 0


def test_every_parameter_has_a_gradient_and_checkpointing_gives_the_same() -> None:
    plain, saving = drawn(SVDUNet(nano())), drawn(SVDUNet(nano()))
    saving.gradient_checkpointing = True
    for network in (plain, saving):
        network(X, TIME, given()).square().mean().backward()
    expected = dict(plain.named_parameters())
    for name, parameter in saving.named_parameters():
        assert expected[name].grad.abs().max() > 0, name
        torch.testing.assert_close(parameter.grad, expected[name].grad, msg=name)


def test_with_one_token_nothing_chooses_between_tokens() -> None:
    network = drawn(SVDUNet(nano()))
    network(X, TIME, given(tokens=1)).square().mean().backward()
    largest = max(p.grad.abs().max() for p in network.parameters())
    still = {name for name, p in network.named_parameters() if p.grad.abs().max() < 1e-6 * largest}
    parts = ("attn2.to_q.weight", "attn2.to_k.weight", "norm2.weight", "norm2.bias")
    blocks = ("transformer_blocks.0.", "temporal_transformer_blocks.0.")
    expected = {
        name
        for name in dict(network.named_parameters())
        if any(f"{block}{part}" in name for block in blocks for part in parts)
    }
    assert still == expected


def test_type_and_device_are_those_of_the_weights() -> None:
    network = SVDUNet(nano(), device="meta", dtype=torch.bfloat16)
    conditions = Conditions(
        {n: type(c)(x=c.x.to("meta", torch.bfloat16)) for n, c in given().items()}  # type: ignore[union-attr]
    )
    out = network(X.to("meta", torch.bfloat16), TIME.to("meta"), conditions)
    assert (out.device.type, out.dtype, out.shape) == ("meta", torch.bfloat16, X.shape)


# The authors' configurations.


def test_official_arguments_give_the_presets() -> None:
    assert from_official(OFFICIAL) == full()
    bare = {k: v for k, v in OFFICIAL.items() if k not in ("num_classes", "adm_in_channels")}
    assert from_official(bare | {"in_channels": 4, "extra_ff_mix_layer": False}) == text_to_video()
    eight = {"num_heads": 8, "num_head_channels": -1, "use_linear_in_transformer": False}
    assert from_official(bare | eight).num_heads == (8, 8, 8, 8)
    assert from_official(bare | eight).projection == "conv"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"merge_strategy": "fixed"}, "has merge_strategy='learned_with_images', not 'fixed'"),
        ({"video_kernel_size": 3}, "has video_kernel_size=\\[3, 1, 1\\], not 3"),
        ({"use_spatial_context": False}, "has use_spatial_context=True, not False"),
        ({"num_head_channels": -1}, "num_heads\\[0\\] must be int, not None"),
        ({"num_head_channels": 60}, "cannot be split into heads of 60 channels"),
        ({"context_dim": "big"}, "context_channels must be int, not 'big'"),
        ({"audio": 1}, "argument of the SVD U-Net 'audio'"),
    ],
)
def test_official_arguments_of_another_network_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_official(OFFICIAL | change)


def test_a_missing_argument_is_named() -> None:
    less = {name: value for name, value in OFFICIAL.items() if name != "context_dim"}
    with pytest.raises(InputError, match="lack context_dim"):
        from_official(less)


def test_a_case_of_unequal_frames_is_refused() -> None:
    case = read_case(CASES / "unet")
    case.inputs["c_noise"][1] += 1
    with pytest.raises(InputError, match=r"c_noise of .* differs between the frames of a clip"):
        ADAPTERS["unet"](case)
