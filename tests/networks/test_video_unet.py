"""The U-Net with slots: empty it is Stable Diffusion's, and each slot is where it is said to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.condition import Conditions, Grid, Tokens
from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.sd_blocks import ClipNorm, FrameNorm, Setting
from kinema.networks.video_unet import (
    UNetEncoder,
    VideoUNet,
    VideoUNetConfig,
    from_diffusers,
    sd_1_5,
    sd_2_1,
)
from kinema.networks.video_unet_levels import Place, Residuals, Slots
from kinema.nn.sites import Site, hooked
from kinema.noise import Noise
from kinema.parity.case import read_case
from kinema.parity.runner import relative_error
from kinema.parity.video_unet import ADAPTERS
from kinema.weights import manifests
from kinema.weights.keymap import KeyMap

CASES = Path(__file__).parents[1] / "cases" / "60-base"
SMALL = VideoUNetConfig(
    in_channels=4,
    out_channels=3,
    channels=(8, 16),
    blocks_per_level=1,
    attention=(True, False),
    num_heads=(2, 4),
    context_channels=6,
    projection="linear",
    num_groups=4,
)
NOISE, SIX = Noise(0, (0, 1)), Noise(0, tuple(range(6)))
X = NOISE.normal((2, 4, 3, 4, 6), "x")
TIME = torch.tensor([3.0, 700.0])
TEXT = NOISE.normal((2, 5, 6), "text")
OFFICIAL = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.42.1",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
}


def drawn(network: nn.Module) -> Any:
    """The network with random weights everywhere; they depend on the names of the 2-D part."""
    for name, parameter in network.named_parameters():
        name = name.replace(".spatial_res_block", "")
        value = Noise(0, (0,)).normal((1, *parameter.shape), name)[0]
        parameter.data = 0.2 * value + (1 if "norm" in name and name.endswith("weight") else 0)
    return network


def small(slots: Slots | None = None, **changes: Any) -> VideoUNet:
    """A small network, always the same."""
    slots = Slots() if slots is None else slots
    return drawn(VideoUNet(replace(SMALL, **changes), slots)).requires_grad_(False)


PLAIN = small()


def given(text: Tensor = TEXT, mask: Tensor | None = None, **more: Grid) -> Conditions:
    """The conditions of a call."""
    return Conditions({"crossattn": Tokens(x=text, mask=mask), **more})


OUT = PLAIN(X, TIME, given())


class Tap(nn.Module):
    """Stands in a slot, returns `change` of what it is given, and notes what that was."""

    def __init__(self, place: Place, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.place, self.change, self.seen = place, change, torch.empty(0)

    def forward(self, x: Tensor, setting: Setting) -> Tensor:
        assert setting.num_frames == 3
        self.seen = x
        return self.change(x)


class Taps:
    """A slot that keeps what it has made."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        self.change = change
        self.made: dict[str, Tap] = {}

    def __call__(self, place: Place, **_factory: Any) -> Tap:
        self.made[place.name] = Tap(place, self.change)
        return self.made[place.name]


@pytest.mark.parametrize(
    ("preset", "name", "count"),
    [(sd_1_5, "60-base-sd15-unet", 859_520_964), (sd_2_1, "60-base-sd21-unet", 865_910_724)],
)
def test_empty_it_is_the_published_network(preset, name, count) -> None:
    network = VideoUNet(preset(), device="meta", dtype=torch.bfloat16)
    assert sum(p.numel() for p in network.parameters()) == count
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}
    manifests.check(network, manifests.read(name), KeyMap(), beside={})
    assert from_dict(VideoUNetConfig, to_dict(preset())) == preset()


@pytest.mark.parametrize("name", ["sd15-unet", "sd21-unet"])
def test_empty_it_computes_what_the_published_network_does(name: str) -> None:
    case = read_case(CASES / name)
    with torch.no_grad():
        computed = ADAPTERS[name](case)
    for key, expected in case.expected.items():
        assert relative_error(computed[key], expected) < 1e-5, key


def test_empty_it_works_frame_by_frame() -> None:
    for row in range(2):
        for frame in range(3):
            image = X[row : row + 1, :, frame : frame + 1]
            alone = PLAIN(image, TIME[row : row + 1], given(TEXT[row : row + 1]))
            torch.testing.assert_close(alone[0, :, 0], OUT[row, :, frame])


def test_every_frame_may_have_its_own_text() -> None:
    repeated = TEXT.repeat_interleave(3, dim=0)
    torch.testing.assert_close(PLAIN(X, TIME, given(repeated)), OUT)
    changed = repeated.clone()
    changed[4] += 1  # the second frame of the second clip
    out = PLAIN(X, TIME, given(changed))
    moved = (out - OUT).abs().amax(dim=(1, 3, 4)) > 1e-3
    assert moved.tolist() == [[False, False, False], [False, True, False]]


def test_the_mask_hides_padding() -> None:
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    out = PLAIN(X, TIME, given(mask=mask))
    changed = torch.where(mask[..., None] == 1, TEXT, 100 + TEXT)
    torch.testing.assert_close(PLAIN(X, TIME, given(changed, mask)), out)
    torch.testing.assert_close(out[:1], OUT[:1])
    assert not torch.allclose(out[1:], OUT[1:], atol=1e-3)


def test_projections_of_both_kinds_compute_the_same() -> None:
    conv = VideoUNet(replace(SMALL, projection="conv"))
    shapes = {key: value.shape for key, value in conv.state_dict().items()}
    conv.load_state_dict({k: v.reshape(shapes[k]) for k, v in PLAIN.state_dict().items()})
    assert conv.down_blocks[0].attentions[0].proj_in.weight.shape == (8, 8, 1, 1)
    torch.testing.assert_close(conv(X, TIME, given()), OUT)


def test_what_is_joined_may_be_one_frame_for_all() -> None:
    network = small(concat_channels=2)
    picture = NOISE.normal((2, 2, 1, 4, 6), "picture")
    one = network(X, TIME, given(concat=Grid(x=picture)))
    many = network(X, TIME, given(concat=Grid(x=picture.repeat(1, 1, 3, 1, 1))))
    torch.testing.assert_close(one, many)
    assert not torch.allclose(network(X, TIME, given(concat=Grid(x=0 * picture))), one, atol=1e-3)


# Slots.

RESNETS = {
    "down_blocks.0.resnets.0": 8,
    "down_blocks.1.resnets.0": 16,
    "mid_block.resnets.0": 16,
    "mid_block.resnets.1": 16,
    "up_blocks.0.resnets.0": 16,
    "up_blocks.0.resnets.1": 16,
    "up_blocks.1.resnets.0": 8,
    "up_blocks.1.resnets.1": 8,
}
TRANSFORMERS = {
    "down_blocks.0.{}.0": 8,
    "mid_block.{}.0": 16,
    "up_blocks.1.{}.0": 8,
    "up_blocks.1.{}.1": 8,
}


def sites(name: str) -> dict[str, int]:
    """The names of the transformers' slots, and their channels."""
    return {key.format(name): channels for key, channels in TRANSFORMERS.items()}


SITES = {
    "after_resnet": RESNETS,
    "after_transformer": sites("temp_attentions"),
    "before_ff": {f"{k}.transformer_blocks.0": c for k, c in sites("attentions").items()},
    "after_block": {
        f"{k}.temporal_transformer_blocks.0": c for k, c in sites("attentions").items()
    },
}


@pytest.mark.parametrize("slot", SITES)
def test_a_slot_is_filled_at_all_its_sites_and_passes_on(slot: str) -> None:
    taps = Taps(lambda x: x)
    network = small(Slots(**{slot: taps}))
    torch.testing.assert_close(network(X, TIME, given()), OUT, rtol=0, atol=0)
    assert {name: tap.place.channels for name, tap in taps.made.items()} == SITES[slot]
    in_transformers = slot in ("before_ff", "after_block")
    for name, tap in taps.made.items():
        assert (tap.place.num_heads, tap.place.embedding_channels) == (
            {8: 2, 16: 4}[tap.place.channels],
            32,
        )
        coarse = name.startswith(("down_blocks.1", "mid", "up_blocks.0"))
        height, width = (2, 3) if coarse else (4, 6)
        tokens, frames = (6, height * width, tap.place.channels), (6, tap.place.channels)
        assert tap.seen.shape == (tokens if in_transformers else (*frames, height, width)), name
    changed = small(Slots(**{slot: Taps(lambda x: 0.5 * x)}))
    assert not torch.allclose(changed(X, TIME, given()), OUT, atol=1e-3)


def reference(name: str, network: VideoUNet) -> tuple[Tensor, Tensor]:
    """Input and output of a submodule in a call."""
    found: list[tuple[Tensor, Tensor]] = []
    module = network.get_submodule(name)
    handle = module.register_forward_hook(lambda _m, inputs, out: found.append((inputs[0], out)))
    network(X, TIME, given())
    handle.remove()
    return found[0]


def test_slots_lie_where_they_are_said_to_lie() -> None:
    """The first site of each sees what the 2-D network computes there."""
    first = "down_blocks.0.attentions.0"
    block = f"{first}.transformer_blocks.0"
    expected = {
        "after_resnet": reference("down_blocks.0.resnets.0", PLAIN)[1],
        "before_ff": None,
        "after_block": reference(block, PLAIN)[1],
        "after_transformer": reference(first, PLAIN)[1],
    }
    for slot, value in expected.items():
        taps = Taps(lambda x: x)
        network = small(Slots(**{slot: taps}))
        network(X, TIME, given())
        seen = next(iter(taps.made.values())).seen
        if value is None:
            norm = PLAIN.get_submodule(f"{block}.norm3")
            feed = PLAIN.get_submodule(f"{block}.ff")
            value = reference(block, PLAIN)[1]
            seen = seen + feed(norm(seen))
        torch.testing.assert_close(seen, value)


class Mean(nn.Module):
    """A fusion: what came in and what came out, weighted."""

    def __init__(self, place: Place, **_factory: Any) -> None:
        super().__init__()
        self.place = place

    def forward(self, x: Tensor, y: Tensor, setting: Setting) -> Tensor:
        assert len(x) == len(setting.embedding)
        return 0.25 * x + 0.75 * y


@pytest.mark.parametrize("slot", ["after_resnet", "after_block"])
def test_fusion_joins_what_came_in_and_what_came_out(slot: str) -> None:
    fused = small(Slots(**{slot: Taps(lambda x: 3 * x), "fusion": Mean}))
    scaled = small(Slots(**{slot: Taps(lambda x: 2.5 * x)}))
    torch.testing.assert_close(fused(X, TIME, given()), scaled(X, TIME, given()))


def test_tokens_are_prepared_for_the_block_but_not_for_the_fusion() -> None:
    before, after = Taps(lambda x: x + 2), Taps(lambda x: x)
    slots = Slots(before_after_block=before, after_block=after, fusion=Mean)
    shifted = small(Slots(after_block=Taps(lambda x: x + 1.5)))
    torch.testing.assert_close(small(slots)(X, TIME, given()), shifted(X, TIME, given()))
    assert before.made.keys() == sites("attentions").keys()


def test_norms_may_be_over_clips() -> None:
    network = small(Slots(norm=ClipNorm))
    kinds = [type(m) for m in network.modules() if isinstance(m, ClipNorm | FrameNorm)]
    assert kinds == [ClipNorm] * (2 * len(RESNETS) + 1)
    one = X[:, :, :1]
    torch.testing.assert_close(network(one, TIME, given()), PLAIN(one, TIME, given()))
    assert not torch.allclose(network(X, TIME, given()), OUT, atol=1e-3)
    norm = drawn(ClipNorm(4, 8))
    x = SIX.normal((6, 8, 2, 2), "frames")
    clip = rearrange(x, "(b t) c h w -> b c t h w", t=3)
    expected = F.group_norm(clip, 4, norm.weight, norm.bias)
    torch.testing.assert_close(rearrange(norm(x, 3), "(b t) c h w -> b c t h w", t=3), expected)


class Control(nn.Module):
    """A control branch that adds constants."""

    def __init__(self, residuals: Residuals) -> None:
        super().__init__()
        self.residuals = residuals

    def forward(self, x: Tensor, time: Tensor, conditions: Conditions) -> Residuals:
        assert x is X
        assert time is TIME
        assert "crossattn" in conditions
        return self.residuals


def controlled(residuals: Residuals) -> Tensor:
    """The output of the small network with residuals."""
    network = small(Slots(residual_in=lambda **_: Control(residuals)))
    return network(X, TIME, given())


def hooked_at(names: dict[str, Tensor]) -> Tensor:
    """The output of the small network when values are added to what submodules return."""

    def add(value: Tensor) -> Callable[..., Tensor]:
        return lambda _module, _inputs, out: out + value

    handles = [
        PLAIN.get_submodule(n).register_forward_hook(add(value)) for n, value in names.items()
    ]
    out = PLAIN(X, TIME, given())
    for handle in handles:
        handle.remove()
    return out


SHAPES = [(6, 8, 4, 6), (6, 8, 4, 6), (6, 8, 2, 3), (6, 16, 2, 3), (6, 16, 2, 3)]


def test_residuals_of_levels_go_into_all_that_follows() -> None:
    fine, coarse = SIX.normal((6, 8, 4, 6), "fine"), SIX.normal((6, 16, 2, 3), "coarse")
    expected = hooked_at({"down_blocks.0.attentions.0": fine, "down_blocks.1.resnets.0": coarse})
    torch.testing.assert_close(controlled(Residuals(levels=(fine, coarse))), expected)
    torch.testing.assert_close(controlled(Residuals()), OUT, rtol=0, atol=0)


def test_residuals_of_skips_go_to_the_way_up_only() -> None:
    values = [torch.zeros(shape) for shape in SHAPES]
    values[-1] += 0.7
    skips = Residuals(skips=tuple(values))
    torch.testing.assert_close(controlled(skips), hooked_at({"mid_block": values[-1]}))
    # The way up takes skips in reverse: the last but the middle goes into its first block.
    for index, site in enumerate(("up_blocks.1.resnets.1", "up_blocks.1.resnets.0")):
        values = [torch.zeros(shape) for shape in SHAPES]
        values[index] += 0.7

        def add(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            x = inputs[0].clone()
            x[:, -8:] += 0.7
            return (x, *inputs[1:])

        handle = PLAIN.get_submodule(site).register_forward_pre_hook(add)
        expected = PLAIN(X, TIME, given())
        handle.remove()
        torch.testing.assert_close(controlled(Residuals(skips=tuple(values))), expected)


class Branch(UNetEncoder):
    """A copy of the way down that reads a picture, as ControlNet is."""

    def __init__(self, scale: float) -> None:
        super().__init__(SMALL, Slots())
        self.scale = scale

    def forward(self, x: Tensor, time: Tensor, conditions: Conditions) -> Residuals:
        frames, setting = self.enter(x, time, conditions)
        picture = rearrange(conditions.of(Grid, "control").x, "b c t h w -> (b t) c h w")
        h, skips = self.descend(self.conv_in(frames) + picture, setting, ())
        return Residuals(skips=tuple(self.scale * y for y in (*skips, h)))


def test_a_control_branch_is_a_copy_of_the_way_down() -> None:
    picture = Grid(x=NOISE.normal((2, 8, 3, 4, 6), "picture"))
    silent, loud = (
        small(Slots(residual_in=lambda scale=scale, **_: Branch(scale))) for scale in (0.0, 1.0)
    )
    assert torch.equal(silent(X, TIME, given(control=picture)), OUT)
    out = loud(X, TIME, given(control=picture))
    assert not torch.allclose(out, OUT, atol=1e-3)
    assert not torch.allclose(loud(X, TIME, given(control=Grid(x=-picture.x))), out, atol=1e-3)
    mine = {n.removeprefix("residual_in.") for n in loud.state_dict() if "residual_in" in n}
    assert mine == {
        n for n in PLAIN.state_dict() if not n.startswith(("up_", "conv_norm", "conv_out"))
    }


def test_the_last_features_make_the_prediction() -> None:
    features = PLAIN.features(X, TIME, given())
    assert features.shape == (6, 8, 4, 6)
    out = rearrange(PLAIN.conv_out(features), "(b t) c h w -> b c t h w", t=3)
    assert torch.equal(out, OUT)


# What all networks have.


def test_attentions_are_sites_of_their_names() -> None:
    seen: dict[str, tuple[str, int, int]] = {}

    def hook(site: Site, q: Tensor, k: Tensor, _v: Tensor, _mask: Tensor | None) -> None:
        assert PLAIN.get_submodule(site.name) is not None
        seen[site.name] = (site.kind, q.shape[0] * q.shape[2], k.shape[2])

    with hooked(hook):
        PLAIN(X, TIME, given())
    first = "down_blocks.0.attentions.0.transformer_blocks.0"
    assert len(seen) == 2 * len(TRANSFORMERS)
    assert seen[f"{first}.attn1"] == ("self", 6 * 24, 24)
    assert seen[f"{first}.attn2"] == ("cross", 6 * 24, 5)


def test_gradient_checkpointing_gives_the_same() -> None:
    grads = []
    runs: list[int] = []
    for saving in (False, True):
        network = small().requires_grad_(True)
        network.gradient_checkpointing = saving
        network.mid_block.resnets[0].conv1.register_forward_pre_hook(lambda *_: runs.append(1))
        network(X, TIME, given()).square().mean().backward()
        grads.append({name: p.grad for name, p in network.named_parameters()})
        network.eval()(X, TIME, given()).sum().backward()
    assert len(runs) == 2 + 3
    for name, grad in grads[0].items():
        assert grad is not None, name
        assert grad.abs().max() > 0, name
        torch.testing.assert_close(grads[1][name], grad, msg=name)


def test_a_new_network_predicts_nothing() -> None:
    network = VideoUNet(SMALL)
    assert not network(X, TIME, given()).any()
    x, features = network.conv_in(X[:, :, 0]), network.features(X[:, :, :1], TIME, given())
    assert features.abs().max() > 0
    block = network.down_blocks[0].resnets[0]
    _, setting = network.enter(X[:, :, :1], TIME, given())
    assert torch.equal(block(x, setting), x)


def test_type_and_device_are_those_of_the_weights() -> None:
    network = VideoUNet(SMALL, device="meta", dtype=torch.bfloat16)
    text = TEXT.to("meta", torch.bfloat16)
    out = network(X.to("meta", torch.bfloat16), TIME.to("meta"), given(text))
    assert (out.device.type, out.dtype, out.shape) == ("meta", torch.bfloat16, (2, 3, 3, 4, 6))


def test_bfloat16_is_close() -> None:
    out = small().bfloat16()(X.bfloat16(), TIME, given(TEXT.bfloat16()))
    assert (out - OUT).norm() < 0.05 * OUT.norm()


@pytest.mark.parametrize("size", [(5, 6), (4, 7)])
def test_latents_that_cannot_be_halved_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=rf"multiples of 2, not {size[0]} x {size[1]}"):
        PLAIN(torch.zeros(1, 4, 1, *size), TIME[:1], given(TEXT[:1]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"channels": (8,)}, "must have equal lengths"),
        ({"num_heads": (3, 4)}, "8 channels cannot be split into 3 heads and 4 groups"),
        ({"num_groups": 3}, "8 channels cannot be split into 2 heads and 3 groups"),
    ],
)
def test_sizes_that_do_not_fit_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(SMALL, **change)


def test_arguments_of_diffusers_give_the_presets() -> None:
    assert from_diffusers(OFFICIAL) == sd_1_5()
    other = {
        "attention_head_dim": [5, 10, 20, 20],
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
        "upcast_attention": True,
    }
    assert from_diffusers(OFFICIAL | other) == sd_2_1()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"norm_eps": 1e-6}, "the U-Net has norm_eps=1e-05, not 1e-06"),
        ({"only_cross_attention": [True] * 4}, "has only_cross_attention=False, not"),
        ({"up_block_types": ["CrossAttnUpBlock2D"] * 4}, "up_block_types of the U-Net do not fit"),
        ({"down_block_types": ["DownBlock3D"] * 4}, "down_block_types of the U-Net do not fit"),
        ({"attention_head_dim": 7}, "320 channels cannot be split into 7 heads"),
        ({"layers_per_block": "2"}, "blocks_per_level must be int, not '2'"),
        ({"audio": 1}, "argument of the U-Net 'audio'"),
    ],
)
def test_arguments_of_another_network_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_diffusers(OFFICIAL | change)


def test_a_missing_argument_is_named() -> None:
    less = {name: value for name, value in OFFICIAL.items() if name != "layers_per_block"}
    with pytest.raises(InputError, match="lack layers_per_block"):
        from_diffusers(less)
