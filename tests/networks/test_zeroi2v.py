"""ZeroI2V: published tensors, which frame each channel reads, adapters that vanish in weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from random_weights import stir
from torch import Tensor

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks import zeroi2v_config as sizes
from kinema.networks.clip import CLIPConfig, ImageTower, TextTowerConfig, load_image_tower
from kinema.networks.vit import ViTConfig
from kinema.networks.zeroi2v import FROZEN, ZeroI2V, shifted
from kinema.networks.zeroi2v_config import (
    AdapterConfig,
    Shift,
    ZeroI2VConfig,
    from_official,
    shifts_from_official,
)
from kinema.nn.sites import Site, hooked
from kinema.noise import Noise
from kinema.parity.runner import relative_error
from kinema.planning.meters import flops
from kinema.weights import manifests
from kinema.weights.maps import zeroi2v as maps

ADAPTERS = AdapterConfig(
    hidden=6,
    scale=0.5,
    dropout=0.0,
    layers=("qkv", "proj", "fc1", "fc2"),
    gelu=False,
    separate=False,
)
SMALL = ZeroI2VConfig(
    image_size=16,
    patch_size=8,
    width=24,
    num_layers=2,
    num_heads=3,
    eps=1e-5,
    num_classes=5,
    num_frames=4,
    shifts=(Shift(frames=1, channels=8), Shift(frames=-1, channels=8)),
    within="width",
    adapters=ADAPTERS,
    dropout=0.0,
)
CLIPS = Noise(0, (0, 1)).normal((2, 3, 4, 16, 16), "clips")
OFFICIAL = {
    "input_resolution": 16,
    "num_frames": 4,
    "patch_size": 8,
    "width": 24,
    "layers": 2,
    "heads": 3,
    "num_tadapter": 2,
    "adapter_scale": 0.5,
    "dropout_rate": 0,
    "stdha_cfg": {"shift_div": 3, "divide_head": False},
}


def stirred(config: ZeroI2VConfig = SMALL) -> ZeroI2V:
    """A network with random weights, none of them near zero, in eval mode."""
    network = ZeroI2V(config)
    stir(network)
    return network.eval().requires_grad_(False)


def merged(network: ZeroI2V) -> ZeroI2V:
    """A copy whose adapters are merged."""
    other = copy.deepcopy(network)
    other.merge_adapters()
    return other


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (sizes.b_16(400, 8), "b16-8f"),
        (sizes.b_16_something(174), "b16-16f"),
        (sizes.l_14(400), "l14-8f"),
        (sizes.l_14_long(400), "l14-32f"),
        (sizes.l_14_something(400), "l14-32f"),
    ],
)
def test_published_sizes_have_the_authors_tensors(config: ZeroI2VConfig, name: str) -> None:
    classes, width = config.num_classes, config.width
    head = {"cls_head.fc_cls.weight": (classes, width), "cls_head.fc_cls.bias": (classes,)}
    for form, sized in (("train", config), ("merged", replace(config, adapters=None))):
        network = ZeroI2V(sized, device="meta", dtype=torch.bfloat16)
        manifest = manifests.read(f"32-zeroi2v-{name}-{form}")
        manifests.check(network, manifest, maps.OFFICIAL, beside=head)
        assert any(f"{manifest.total_parameters:,} " in str(doc) for doc in docs(sizes))
        assert {(p.device.type, p.dtype) for p in network.parameters()} == {
            ("meta", torch.bfloat16)
        }
        assert from_dict(ZeroI2VConfig, to_dict(sized)) == sized
        around = replace(manifest, shapes={f"backbone.{k}": v for k, v in manifest.shapes.items()})
        manifests.check(network, around, maps.CHECKPOINT, beside=head)
        assert maps.find(around.shapes) is maps.CHECKPOINT
        assert maps.find(manifest.shapes) is maps.OFFICIAL


def docs(module: Any) -> list[str | None]:
    """The docstrings of what a module defines."""
    return [value.__doc__ for value in vars(module).values() if callable(value)]


# -- the authors' arguments -----------------------------------------------------------------


def groups(kind: Any, given: dict[str, Any], width: int = 24, heads: int = 3) -> list[Any]:
    """(frames, channels) of the shifts of their arguments."""
    found = shifts_from_official(kind, given, width=width, num_heads=heads)
    return [(shift.frames, shift.channels) for shift in found]


def test_the_authors_arguments_are_read() -> None:
    assert from_official("train", OFFICIAL, num_classes=5) == replace(SMALL, dropout=0.5)
    one = from_official("train", {**OFFICIAL, "num_tadapter": 1, "mlp_ratio": 0.5}, num_classes=5)
    assert one.adapters == replace(ADAPTERS, layers=("qkv", "proj", "fc1"), hidden=12)
    few = from_official("ablation", {**OFFICIAL, "num_tadapter": -1}, num_classes=5)
    assert few.adapters == replace(ADAPTERS, layers=("qkv", "fc1"))
    plain = {name: OFFICIAL[name] for name in sizes.NEEDED}
    assert from_official("merged", plain, num_classes=5).adapters is None
    bent = {**plain, "adapter_type": "gelu", "attn_adapter_type": "qkv"}
    adapters = from_official("ablation", bent, num_classes=5).adapters
    assert adapters is not None
    assert (adapters.gelu, adapters.separate) == (True, True)


def test_the_published_shifts_are_whole_heads() -> None:
    b, large = {"width": 768, "heads": 12}, {"width": 1024, "heads": 16}
    far = {"shift_div": 12, "divide_head": False, "long_shift_div": 12, "long_shift_right": True}
    third = {"shift1_div": 8, "shift2_div": 16, "shift3_div": 16, "shift3_right": False}
    for kind, given, config in (
        ("train", {"shift_div": 12}, sizes.b_16(400, 8)),
        ("ablation", far, sizes.b_16_two_frames(101, 32)),
        ("ablation", far, sizes.b_16_something(174)),
        ("train", {"shift_div": 8}, sizes.l_14(400)),
        ("train", {"shift_div": 8, "long_shift_div": 8}, sizes.l_14_long(400)),
        ("long", third, sizes.l_14_something(174)),
    ):
        of = b if config.width == 768 else large
        published = [(shift.frames, shift.channels) for shift in config.shifts]
        assert groups(kind, given, **of) == published
        assert all(channels % 64 == 0 for _, channels in published)


def test_what_each_class_reads_of_its_arguments() -> None:
    far = {"long_shift_div": 6, "long_shift_right": True}
    assert groups("train", {"shift_div": 6, **far}) == [(1, 4), (-1, 4), (2, 4)]
    assert groups("ablation", {"shift_div": 6, **far}) == [(1, 4), (-1, 4), (2, 4), (-2, 4)]
    assert groups("merged", {"shift_div": 6, **far}) == [(1, 4), (-1, 4)]
    assert groups("merged", {}) == [(1, 6), (-1, 6)]
    assert groups("train", {"shift_stride": 2}) == [(2, 2), (-2, 2)]
    third = {"shift1_div": 6, "shift3_div": 8, "shift3_right": True, "shift4_div": 12}
    assert groups("long", third) == [(1, 4), (-1, 4), (3, 3), (-3, 3), (4, 2)]
    # Eight channels of each head, of the whole width, and more than there are.
    inside = {"ops_type": "tcs", "shift_div": 4}
    assert groups("ablation", inside) == [(1, 2), (-1, 2)]
    assert groups("ablation", {**inside, **far}) == [(1, 2), (-1, 2), (2, 4)]
    token = {"ops_type": "token_shift", "shift_div": 4, "shift_stride": 2, **far}
    assert groups("ablation", token) == [(1, 6), (-1, 6)]


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("train", {"widht": 3}, "unknown argument of ZeroI2V .train. 'widht'"),
        ("train", {"adapter_type": "gelu"}, "adapter_type='linear', not 'gelu'"),
        ("train", {"attn_adapter_type": "qkv"}, "unknown argument"),
        ("long", {"adapter_type": "linear"}, "adapter_type='rep'"),
        ("merged", {}, "unknown argument of ZeroI2V .merged. 'num_tadapter'"),
        ("train", {"final_ta_cfg": {"use_it": True}}, "final_ta_cfg"),
        ("train", {"stdha_cfg": {"divide_head": True}}, "divide_head=False, not True"),
        ("train", {"stdha_cfg": {"shift_dvi": 3}}, "did you mean 'shift_div'"),
        ("ablation", {"stdha_cfg": {"ops_type": "shift"}}, "ops_type='stdha'"),
        ("ablation", {"stdha_cfg": {"shift_pattern": "qkv"}}, "shift_pattern='kv', not 'qkv'"),
    ],
)
def test_arguments_of_another_network_are_named(
    kind: Any, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        from_official(kind, {**OFFICIAL, **change}, num_classes=5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shifts": (Shift(frames=1, channels=25),)}, "take 25 channels of 24"),
        ({"shifts": (Shift(frames=1, channels=9),), "within": "head"}, "take 9 channels of 8"),
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"num_heads": 5}, "not divisible by 5 heads"),
    ],
)
def test_sizes_that_make_no_network_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(SMALL, **change)


# -- shifts ---------------------------------------------------------------------------------


def test_groups_of_channels_come_from_other_frames() -> None:
    """Two frames back, one ahead, their own; at the ends their own."""
    x = torch.arange(4.0)[None, :, None].expand(1, 4, 5)
    shifts = (Shift(frames=2, channels=2), Shift(frames=-1, channels=2))
    assert shifted(x, shifts)[0].T.tolist() == [
        [0, 1, 0, 1],
        [0, 1, 0, 1],
        [1, 2, 3, 3],
        [1, 2, 3, 3],
        [0, 1, 2, 3],
    ]
    assert torch.equal(shifted(x, (Shift(frames=5, channels=2),)), x)


@pytest.mark.parametrize("within", ["width", "head", "class token"])
def test_which_tokens_and_heads_read_other_frames(within: Any) -> None:
    """Frame 1 of keys and values is moved: the frames, tokens and heads that it reaches."""
    shifts = (Shift(frames=1, channels=4),)
    attention = stirred(replace(SMALL, shifts=shifts, within=within)).blocks[0].attn
    x = torch.zeros(1, 4, 5, 24)
    x[:, 1] = 1
    reached = {
        (frame, token, channel // 8)
        for frame, token, channel in (attention.shift(x)[0] != 0).nonzero().tolist()
        if frame != 1
    }
    tokens, heads = range(5), range(3)
    expected = {
        "width": {(2, token, 0) for token in tokens},
        "head": {(2, token, head) for token in tokens for head in heads},
        "class token": {(2, 0, 0)},
    }
    assert reached == expected[within]


def test_queries_stay_in_their_frame() -> None:
    moved: list[Tensor] = []

    def look(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
        if site.name == "blocks.0.attn":
            moved.extend((q, k, v))

    network = stirred(replace(SMALL, adapters=None))
    x = Noise(0, (0, 1)).normal((2, 4, 5, 24), "tokens")
    with hooked(look):
        network.blocks[0].attn(x, None)
    qkv = network.blocks[0].attn.qkv(x).flatten(0, 1)
    q, k, v = qkv.unflatten(-1, (3, 3, 8)).permute(2, 0, 3, 1, 4)
    assert torch.equal(moved[0], q)
    for found, plain in zip(moved[1:], (k, v)):
        of_clips, own = found.unflatten(0, (2, 4)), plain.unflatten(0, (2, 4))
        assert torch.equal(of_clips[:, 1:, 0], own[:, :-1, 0])
        assert torch.equal(of_clips[:, :-1, 1], own[:, 1:, 1])
        assert torch.equal(of_clips[:, :, 2], own[:, :, 2])
        assert torch.equal(of_clips[:, 0, 0], own[:, 0, 0])


def test_the_order_of_frames_matters() -> None:
    network = stirred()
    network.temporal_embed.zero_()
    assert relative_error(network(CLIPS.flip(2)), network(CLIPS)) > 1e-3


def test_without_shifts_and_times_the_order_is_lost() -> None:
    network = stirred(replace(SMALL, shifts=()))
    network.temporal_embed.zero_()
    torch.testing.assert_close(network(CLIPS.flip(2)), network(CLIPS), rtol=1e-5, atol=1e-5)


# -- from CLIP, and back to its size --------------------------------------------------------


def clip_model() -> transformers.CLIPModel:
    """Transformers' model with an image tower of these sizes and random weights."""
    vision = {"image_size": 16, "patch_size": 8, "num_hidden_layers": 2, "num_attention_heads": 3}
    options = transformers.CLIPConfig(
        projection_dim=7,
        vision_config={**vision, "hidden_size": 24, "intermediate_size": 96},
        text_config={
            "vocab_size": 9,
            "hidden_size": 8,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
        },
    )
    model = transformers.CLIPModel(options).eval().requires_grad_(False)
    stir(model)
    return model


def test_at_first_a_clip_that_stands_still_is_seen_as_by_the_image_tower(tmp_path: Path) -> None:
    peer = clip_model()
    peer.save_pretrained(tmp_path)
    network = ZeroI2V(SMALL).eval().requires_grad_(False)
    load_image_tower(network, tmp_path)
    still = CLIPS[:, :, :1].expand_as(CLIPS)
    expected = peer.vision_model(still[:, :, 0]).pooler_output
    assert relative_error(network.forward_features(still), expected) < 1e-5
    assert relative_error(network.forward_features(still[:, :, :1]), expected) < 1e-5
    assert relative_error(network.forward_features(CLIPS), expected) > 1e-2


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"scale": 1.0},
        {"layers": ("qkv", "proj", "fc1")},
        {"layers": ("qkv", "fc1")},
        {"separate": True},
    ],
)
def test_merged_adapters_give_the_same_logits(change: dict[str, Any]) -> None:
    network = stirred(replace(SMALL, adapters=replace(ADAPTERS, **change)))
    other = merged(network)
    assert relative_error(other(CLIPS), network(CLIPS)) < 1e-5
    plain = ZeroI2V(replace(SMALL, adapters=None))
    assert manifests.shapes_of(other) == manifests.shapes_of(plain)
    assert other.config == plain.config
    assert type(other.blocks[0].attn.qkv) is torch.nn.Linear


def test_adapters_at_their_first_values_change_nothing() -> None:
    network = ZeroI2V(SMALL).eval().requires_grad_(False)
    kept = {n: v.clone() for n, v in network.state_dict().items() if ".adapters." not in n}
    network.merge_adapters()
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())


def test_adapters_with_a_gelu_cannot_be_merged() -> None:
    network = stirred(replace(SMALL, adapters=replace(ADAPTERS, gelu=True)))
    before = network(CLIPS)
    with pytest.raises(InputError, match="GELU cannot be merged"):
        network.merge_adapters()
    assert torch.equal(network(CLIPS), before)


def test_a_merged_network_takes_the_operations_of_the_image_tower() -> None:
    """To the last one, but for the head, which both projections are in the place of."""
    image = ViTConfig(image_size=16, patch_size=8, width=24, num_layers=2, num_heads=3, eps=1e-5)
    text = TextTowerConfig(vocabulary=9, max_tokens=3, width=8, num_layers=1, num_heads=1)
    tower = ImageTower(CLIPConfig(image=image, text=text, embed_width=5))
    frames = CLIPS.transpose(1, 2).flatten(0, 1)
    network = stirred()
    other = merged(network)
    with torch.no_grad():
        of_tower = flops(tower, frames) - flops(tower.proj, torch.zeros(8, 24))
        assert flops(other.forward_features, CLIPS) == of_tower
        assert flops(network.forward_features, CLIPS) > of_tower


# -- training -------------------------------------------------------------------------------


def test_what_is_frozen_is_the_tower_but_for_its_last_norm() -> None:
    names = [name for name, _ in ZeroI2V(SMALL, device="meta").named_parameters()]
    stay = {name for name in names if any(fnmatchcase(name, pattern) for pattern in FROZEN)}
    trained = {name for name in names if ".adapters." in name}
    assert set(names) - stay == trained | {
        *("temporal_embed", "norm.weight", "norm.bias", "head.weight", "head.bias"),
    }


def test_rows_of_a_batch_do_not_see_one_another() -> None:
    network = stirred()
    torch.testing.assert_close(network(CLIPS)[1:], network(CLIPS[1:]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 5, 16, 16), (1, 3, 4, 16, 24), (1, 1, 4, 16, 16)])
def test_clips_of_other_sizes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        InputError, match=r"ZeroI2V reads clips \(B, 3, 4, 16, 16\), or of one frame, not"
    ):
        ZeroI2V(SMALL, device="meta")(torch.zeros(shape))


def test_gradient_checkpointing_changes_nothing() -> None:
    network = stirred().requires_grad_(True)
    gradients = []
    for saving in (False, True):
        network.gradient_checkpointing = saving
        network.zero_grad()
        network.train()(CLIPS).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for plain, again in zip(*gradients):
        assert torch.equal(plain, again)
        assert plain.any()
