"""LTX-Video's VAE against the authors' recorded numbers, names and counts, and its own promises."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.ltx_vae import LTXVAE, patchify, unpatchify
from kinema.networks.ltx_vae_config import (
    BlockConfig,
    LTXVAEConfig,
    from_official,
    v0_9_0,
    v0_9_1,
    v0_9_5,
)
from kinema.parity.case import Case, read_case
from kinema.weights.manifests import read, shapes_of

CASES = sorted((Path(__file__).parents[1] / "cases" / "05-ltx-video").glob("vae-*"))
TOLERANCE = 1e-5

UP = BlockConfig(kind="compress_all", multiplier=2, residual=True)
SMALL = LTXVAEConfig(
    in_channels=3,
    latent_channels=4,
    patch_size=2,
    encoder_base_channels=8,
    decoder_base_channels=4,
    encoder_blocks=(
        BlockConfig(kind="res_x"),
        BlockConfig(kind="compress_all"),
        BlockConfig(kind="res_x_y", multiplier=2),
        BlockConfig(kind="compress_all_res", multiplier=2),
    ),
    decoder_blocks=(UP, BlockConfig(kind="res_x", num_layers=2, inject_noise=True), UP),
    timestep_conditioning=True,
    causal_decoder=False,
    spatial_padding_mode="zeros",
)


def small(seed: int = 0) -> LTXVAE:
    torch.manual_seed(seed)
    return LTXVAE(SMALL)


def noise_source(seed: int) -> Callable[[tuple[int, int]], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda size: torch.randn(size, generator=generator)


def record(side: nn.Module, blocks: str) -> dict[str, Tensor]:
    """Fills a mapping with the stages of a case while `side` runs."""
    stages: dict[str, Tensor] = {}

    def watch(module: nn.Module, name: str) -> None:
        module.register_forward_hook(lambda _m, _i, out: stages.update({name: out}))

    for name in ("conv_in", "last_time_embedder"):
        if hasattr(side, name):
            watch(getattr(side, name), name)
    for i, block in enumerate(getattr(side, f"{blocks}_blocks")):
        watch(block, f"{blocks}{i}")
    return stages


def run(case: Case) -> dict[str, Tensor]:
    """Outputs and stages of a case, by the names of its tensors."""
    vae = LTXVAE(from_official(case.config))
    statistics = {name: value for name, value in vae.named_buffers() if "." not in name}
    vae.load_state_dict({**case.weights(), **statistics}, strict=True)
    encoding = record(vae.encoder, "down")
    decoding = record(vae.decoder, "up")
    if case.entry.endswith("decode"):
        maps = [value for name, value in sorted(case.inputs.items()) if name.startswith("noise")]
        time = case.inputs.get("timestep")
        out = {"sample": vae.decode(case.inputs["latents"], time=time, noise=maps)}
        stages = decoding
    elif case.entry.endswith("encode"):
        mean, log_variance = vae.posterior(case.inputs["sample"])
        out, stages = {"mean": mean, "logvar": log_variance}, encoding
    else:
        mean = vae.encode(case.inputs["sample"])
        out, stages = {"mean": mean, "recon": vae.decode(mean)}, {}
    return {f"stage.{k}": v for k, v in stages.items()} | {f"out.{k}": v for k, v in out.items()}


@torch.no_grad()
@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_recorded_case(folder: Path) -> None:
    case = read_case(folder)
    got = run(case)
    for name, expected in case.expected.items():
        error = (got[name] - expected).abs().max() / expected.abs().max()
        assert got[name].shape == expected.shape, name
        assert error <= TOLERANCE, f"{name}: {error:.1e}"


def test_there_are_cases_of_every_version() -> None:
    names = {folder.name for folder in CASES}
    wanted = {f"vae-0.9.{v}-{entry}code" for v in (0, 1, 5) for entry in ("en", "de")}
    assert wanted | {"vae-0.9.0-single-image"} <= names


@pytest.mark.parametrize(
    ("preset", "encoder", "decoder"),
    [
        (v0_9_0, 180_404_353, 238_789_296),
        (v0_9_1, 180_404_353, 754_572_081),
        (v0_9_5, 694_098_881, 552_814_641),
    ],
)
def test_published_sizes(preset: Callable[[], LTXVAEConfig], encoder: int, decoder: int) -> None:
    vae = LTXVAE(preset(), device="meta")
    counts = [sum(p.numel() for p in side.parameters()) for side in (vae.encoder, vae.decoder)]
    assert counts == [encoder, decoder]
    assert vae.stride == (8, 32, 32)
    version = preset.__name__.removeprefix("v").replace("_", ".")
    statistics = {"mean_of_means": (128,), "std_of_means": (128,)}
    assert shapes_of(vae) == {**read(f"05-ltx-vae-{version}").shapes, **statistics}


# The authors' arguments of 0.9.0, and the decoder that 0.9.1 has instead.
PUBLISHED = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "scaling_factor": 1.0,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "use_quant_conv": False,
    "causal_decoder": False,
}
BLOCKS_0_9_0 = [
    ["res_x", 4],
    ["compress_all", 1],
    ["res_x_y", 1],
    ["res_x", 3],
    ["compress_all", 1],
    ["res_x_y", 1],
    ["res_x", 3],
    ["compress_all", 1],
    ["res_x", 3],
    ["res_x", 4],
]
STEP_UP = ["compress_all", {"residual": True, "multiplier": 2}]
DECODER_0_9_1 = [
    ["res_x", {"num_layers": 5, "inject_noise": True}],
    STEP_UP,
    ["res_x", {"num_layers": 6, "inject_noise": True}],
    STEP_UP,
    ["res_x", {"num_layers": 7, "inject_noise": True}],
    STEP_UP,
    ["res_x", {"num_layers": 8, "inject_noise": False}],
]


def test_official_arguments_give_the_presets() -> None:
    assert from_official(PUBLISHED | {"blocks": BLOCKS_0_9_0}) == v0_9_0()
    both = {"encoder_blocks": BLOCKS_0_9_0, "decoder_blocks": DECODER_0_9_1}
    assert from_official(PUBLISHED | both | {"timestep_conditioning": True}) == v0_9_1()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decoder_causal": False}, "decoder_causal"),
        ({"norm_layer": "group_norm"}, "norm_layer"),
        ({"latent_log_var": None}, "latent_log_var"),
        ({"out_channels": 4}, "out_channels"),
        ({"blocks": None}, "encoder_blocks"),
        ({"patch_size": "4"}, "patch_size"),
        ({"spatial_padding_mode": "mirror"}, "spatial_padding_mode"),
        ({"blocks": [["attn_res_x", 1]]}, "attn_res_x"),
        ({"blocks": [["compress_all", 2]]}, "compress_all"),
        ({"blocks": [["res_x", {"layers": 2}]]}, "layers"),
        ({"blocks": ["res_x"]}, "res_x"),
        ({"decoder_blocks": [["compress_space", {"multiplier": 2}]]}, "multiplier"),
    ],
)
def test_official_arguments_that_are_not_built_are_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_official(PUBLISHED | {"blocks": BLOCKS_0_9_0} | change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decoder_blocks": (UP,)}, "the same steps"),
        ({"encoder_blocks": (BlockConfig(kind="compress_all", residual=True),)}, "no residual"),
        ({"decoder_blocks": (BlockConfig(kind="compress_all_res"),)}, "no block of the decoder"),
        ({"encoder_blocks": (BlockConfig(kind="res_x", multiplier=2),)}, "no multiplier"),
        ({"encoder_blocks": (BlockConfig(kind="res_x", num_layers=0),)}, "1 or more"),
        ({"decoder_base_channels": 3}, "multiple of 8"),
        ({"patch_size": 0}, "patch_size"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize("config", [SMALL, v0_9_0(), v0_9_1(), v0_9_5()])
def test_configurations_survive_json(config: LTXVAEConfig) -> None:
    assert from_dict(LTXVAEConfig, to_dict(config)) == config


@torch.no_grad()
def test_the_encoder_sees_no_later_frame() -> None:
    vae = small()
    x = torch.randn(1, 3, 9, 16, 16)
    latents = vae.encode(x)
    torch.testing.assert_close(vae.encode(x[:, :, :1]), latents[:, :, :1], rtol=0, atol=1e-5)
    later = x.clone()
    later[:, :, 5:] += 1  # latent frame k sees the frames up to 4 k
    changed = (vae.encode(later) - latents).abs().amax(dim=(0, 1, 3, 4))
    assert changed[:2].max() < 1e-5 < 1e-3 < changed[2]


@torch.no_grad()
@pytest.mark.parametrize("num_frames", [1, 5, 9])
def test_decoding_restores_the_shape(num_frames: int) -> None:
    vae = small()
    x = torch.randn(2, 3, num_frames, 16, 24)
    z = vae.encode(x)
    assert z.shape[1:] == vae.latent_shape(num_frames, 16, 24)
    assert vae.decode(z, time=torch.tensor([0.0, 0.1])).shape == x.shape


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((8, 16, 16), "frames must be a multiple of 4 plus 1, nearest 5 or 9"),
        ((0, 16, 16), "nearest 1"),
        ((9, 20, 16), "height must be a multiple of 8, nearest 16 or 24"),
        ((9, 16, 5), "width must be a multiple of 8, nearest 8"),
        ((9, 0, 16), "nearest 8"),
    ],
)
def test_sizes_that_the_codec_cannot_take_name_the_nearest(
    size: tuple[int, int, int], said: str
) -> None:
    vae = LTXVAE(SMALL, device="meta")
    with pytest.raises(InputError, match=f"{said}$"):
        vae.latent_shape(*size)
    with pytest.raises(InputError, match=f"{said}$"):
        vae.encode(torch.empty(1, 3, *size, device="meta"))


def test_tensors_that_are_no_clips_are_refused() -> None:
    vae = LTXVAE(SMALL, device="meta")
    with pytest.raises(InputError, match="clips must be"):
        vae.encode(torch.empty(3, 9, 16, 16, device="meta"))
    with pytest.raises(InputError, match="latents must be"):
        vae.decode(torch.empty(1, 3, 2, 2, 2, device="meta"), time=torch.zeros(1))


def test_decoding_needs_what_the_version_needs() -> None:
    timed = LTXVAE(SMALL, device="meta")
    z, time = torch.empty(1, 4, 2, 2, 2, device="meta"), torch.zeros(1, device="meta")
    with pytest.raises(InputError, match="needs time"):
        timed.decode(z)
    with pytest.raises(InputError, match="4 noise maps, not 1"):
        timed.decode(z, time=time, noise=[torch.zeros(2, 2)])
    untimed = LTXVAE(dataclasses.replace(SMALL, timestep_conditioning=False), device="meta")
    with pytest.raises(InputError, match="takes no time"):
        untimed.decode(z, time=time)


@torch.no_grad()
def test_latents_are_normalized_and_drawn_from_the_posterior() -> None:
    vae = small()
    vae.mean_of_means.copy_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
    vae.std_of_means.copy_(torch.tensor([0.5, 2.0, 1.0, 3.0]))
    x = torch.randn(2, 3, 5, 16, 16)
    mean, log_variance = vae.posterior(x)
    assert torch.equal(log_variance[:, 0], log_variance[:, 3])
    noise = torch.randn(mean.shape)
    drawn = mean + log_variance.exp().sqrt() * noise
    torch.testing.assert_close(vae.denormalize(vae.encode(x)), mean)
    torch.testing.assert_close(vae.denormalize(vae.encode(x, noise=noise)), drawn)
    torch.testing.assert_close(vae.encode(x)[:, 1], (mean[:, 1] + 2) / 2)
    time = torch.full((2,), 0.05)
    torch.testing.assert_close(
        vae.decode(vae.normalize(mean), time=time), vae.decoder(mean, time, None)
    )


@torch.no_grad()
@pytest.mark.parametrize(("bias", "bound"), [(100.0, 20.0), (-100.0, -30.0)])
def test_the_log_variance_is_bounded(bias: float, bound: float) -> None:
    vae = small()
    vae.encoder.conv_out.conv.bias[-1] = bias
    _, log_variance = vae.posterior(torch.randn(1, 3, 5, 16, 16))
    assert torch.equal(log_variance, torch.full((1, 4, 2, 2, 2), bound))


@torch.no_grad()
def test_noise_maps_reach_the_pixels_and_may_differ_between_samples() -> None:
    vae = small()
    for name, value in vae.named_parameters():
        if "per_channel_scale" in name:
            value.fill_(0.5)
    z, time = torch.randn(2, 4, 2, 2, 2), torch.full((2,), 0.05)
    plain = vae.decode(z, time=time)
    both = vae.decode(z, time=time, noise=noise_source(1))
    assert not torch.allclose(plain, both)
    shared = [torch.randn(4, 4) for _ in range(4)]
    apart = [torch.stack([m, torch.zeros_like(m)])[:, None] for m in shared]
    rows = vae.decode(z, time=time, noise=apart)
    torch.testing.assert_close(rows[:1], vae.decode(z[:1], time=time[:1], noise=shared))
    torch.testing.assert_close(rows[1:], plain[1:])


def gradients(vae: LTXVAE, x: Tensor) -> dict[str, Tensor]:
    y = vae.decode(vae.encode(x), time=torch.full((len(x),), 0.05), noise=noise_source(2))
    (y - x).square().mean().backward()
    return {name: p.grad for name, p in vae.named_parameters() if p.grad is not None}


def test_every_parameter_has_a_gradient_and_checkpointing_gives_the_same() -> None:
    x = torch.randn(1, 3, 5, 16, 16)
    plain, saving = small(), small()
    saving.gradient_checkpointing = True
    assert saving.gradient_checkpointing
    runs = []
    saving.encoder.down_blocks[0].register_forward_pre_hook(lambda *_: runs.append(1))
    saving.decoder.up_blocks[1].register_forward_pre_hook(lambda *_: runs.append(1))
    expected, got = gradients(plain, x), gradients(saving, x)
    assert len(runs) == 4  # each block once forward and once again backward
    assert expected.keys() == {name for name, _ in plain.named_parameters()}
    for name, value in expected.items():
        assert torch.equal(got[name], value), name
        assert value.abs().max() > 0, name


def test_without_gradients_the_same_is_computed_and_what_is_given_stays() -> None:
    """Then convolutions go by frames, and results take the place of what is no longer needed."""
    torch.manual_seed(0)
    vae = LTXVAE(dataclasses.replace(SMALL, encoder_base_channels=32, decoder_base_channels=32))
    for scale in (p for name, p in vae.named_parameters() if "per_channel_scale" in name):
        nn.init.constant_(scale, 0.5)
    x, z = torch.randn(1, 3, 9, 32, 32), torch.randn(1, 4, 3, 4, 4)
    given = x.clone(), z.clone()

    def both() -> tuple[Tensor, Tensor]:
        return vae.moments(x), vae.decode(z, time=torch.tensor([0.1]), noise=noise_source(1))

    expected = both()
    with torch.no_grad():
        got = both()
    assert torch.equal(x, given[0])
    assert torch.equal(z, given[1])
    for ours, known in zip(got, expected):
        assert not torch.equal(ours, known)
        torch.testing.assert_close(ours, known, rtol=0, atol=1e-4)


def test_type_and_device_are_those_asked_for() -> None:
    vae = LTXVAE(SMALL, device="cpu", dtype=torch.bfloat16)
    assert {value.dtype for value in vae.state_dict().values()} == {torch.bfloat16}
    x = torch.randn(1, 3, 5, 16, 16, dtype=torch.bfloat16)
    y = vae.decode(vae.encode(x), time=torch.tensor([0.05]), noise=noise_source(0))
    assert y.dtype == torch.bfloat16
    assert y.isfinite().all()


def test_a_patch_becomes_channels_column_first() -> None:
    x = torch.arange(8.0).view(1, 2, 1, 2, 2)  # per channel: rows (0, 1), (2, 3)
    assert patchify(x, 2).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    x = torch.randn(2, 3, 5, 8, 12)
    assert torch.equal(unpatchify(patchify(x, 4), 4), x)
