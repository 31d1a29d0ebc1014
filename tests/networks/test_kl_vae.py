"""The KL autoencoder and its decoder over time: recorded numbers, names, counts, promises."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.networks import kl_vae_config, svd_vae
from kinema.networks.kl_vae import KLVAE, FrameEncoder, Upsample
from kinema.networks.kl_vae_config import KLVAEConfig, stable_diffusion
from kinema.networks.svd_vae import SVDVAE, SpaceTimeResBlock
from kinema.nn.attention import attention
from kinema.nn.sites import Site, hooked
from kinema.noise import Noise
from kinema.parity.case import read_case
from kinema.parity.svd_vae import ADAPTERS
from kinema.weights import manifests
from kinema.weights.keymap import KeyMap
from kinema.weights.maps import kl_vae as image_map
from kinema.weights.maps import svd_vae as video_map

CASES = Path(__file__).parents[1] / "cases" / "34-svd"
SMALL = KLVAEConfig(latent_channels=2, channels=(8, 16), num_layers=1, norm_groups=4, scale=0.5)
CLIPS = Noise(0, (0, 1)).normal((2, 3, 4, 8, 12), "x").clamp(-1, 1)
LATENTS = Noise(0, (0, 1)).normal((2, 2, 4, 4, 6), "z")


def image_vae() -> KLVAE:
    torch.manual_seed(0)
    return KLVAE(SMALL)


def video_vae() -> SVDVAE:
    """With layers over time that do something."""
    torch.manual_seed(0)
    vae = SVDVAE(SMALL)
    for name, parameter in vae.named_parameters():
        if "temporal_res_block.conv2" in name or "mix_factor" in name:
            nn.init.normal_(parameter, std=0.5)
    return vae


@torch.no_grad()
@pytest.mark.parametrize("entry", ADAPTERS)
def test_recorded_case(entry: str) -> None:
    case = read_case(CASES / entry)
    got = ADAPTERS[entry](case)
    for name, expected in case.expected.items():
        assert got[name].shape == expected.shape, name
        error = (got[name] - expected).abs().max() / expected.abs().max()
        assert error <= 1e-5, f"{name}: {error:.1e}"


def test_a_case_without_the_number_of_frames_is_refused(tmp_path: Path) -> None:
    for file in ("case.json", "io.safetensors"):
        (tmp_path / file).write_bytes((CASES / "decoder" / file).read_bytes())
    text = (tmp_path / "case.json").read_text().replace("timesteps T=5", "five timesteps")
    (tmp_path / "case.json").write_text(text)
    with pytest.raises(InputError, match="T=5"):
        ADAPTERS["decoder"](read_case(tmp_path))


# Published sizes.


def test_the_image_autoencoder_is_the_published_one() -> None:
    vae = KLVAE(stable_diffusion(), device="meta")
    counts = [sum(p.numel() for p in side.parameters()) for side in (vae.encoder, vae.decoder)]
    assert counts == [34_163_592, 49_490_179]
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863
    assert vae.stride == (1, 8, 8)
    manifests.check(vae, manifests.read("47-vstar-vae"), image_map.official(4), beside={})
    manifests.check(vae, manifests.read("60-base-vae-f8"), KeyMap(), beside={})


def test_three_levels_make_the_autoencoder_of_the_upscaler() -> None:
    config = dataclasses.replace(stable_diffusion(), channels=(128, 256, 512), scale=0.08333)
    vae = KLVAE(config, device="meta")
    assert vae.stride == (1, 4, 4)
    manifests.check(vae, manifests.read("60-base-vae-f4"), KeyMap(), beside={})


def test_the_video_autoencoder_is_the_published_one() -> None:
    vae = SVDVAE(stable_diffusion(), device="meta")
    assert sum(p.numel() for p in vae.decoder.parameters()) == 63_579_183
    assert sum(p.numel() for p in vae.parameters()) == 97_742_847
    decoder = manifests.read("34-svd-decoder")
    manifests.check(vae.decoder, decoder, video_map.decoder(4), beside={})
    encoder = FrameEncoder(stable_diffusion(), device="meta")
    manifests.check(encoder, manifests.read("34-svd-encoder"), image_map.ENCODER, beside={})
    manifests.check(vae, manifests.read("34-svd-vae-diffusers"), KeyMap(), beside={})
    whole = {f"decoder.{key}": shape for key, shape in decoder.shapes.items()}
    manifests.check(
        vae,
        manifests.read("34-svd-encoder"),
        video_map.official(4),
        beside=whole,
    )


def test_values_survive_the_way_to_the_authors_and_back() -> None:
    ours = dict(video_vae().state_dict())
    theirs = video_map.official(2).to_theirs(ours)
    assert theirs["encoder.mid.attn_1.q.weight"].shape == (16, 16, 1, 1)
    assert "decoder.up.0.block.1.time_stack.out_layers.3.weight" in theirs
    back = video_map.official(2).to_ours(theirs)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[key], ours[key]) for key in ours)


def test_attention_that_is_no_pointwise_convolution_is_refused() -> None:
    theirs = {"encoder.mid.attn_1.q.weight": torch.zeros(16, 16, 3, 3)}
    with pytest.raises(InputError, match=r"to_q\.weight .*1x1"):
        image_map.ENCODER.to_ours(theirs)


ARGUMENTS = {
    "out_ch": 3,
    "in_channels": 3,
    "z_channels": 4,
    "double_z": True,
    "attn_type": "vanilla",
    "dropout": 0.0,
    "attn_resolutions": [],
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "resolution": 256,
}


def test_the_authors_arguments_give_the_published_sizes() -> None:
    assert kl_vae_config.from_official(ARGUMENTS) == stable_diffusion()
    over_time = {**ARGUMENTS, "video_kernel_size": [3, 1, 1]}
    assert svd_vae.from_official(over_time) == stable_diffusion()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mystery": 1}, "mystery"),
        ({"attn_resolutions": [32]}, "attn_resolutions"),
        ({"out_ch": 1}, "out_ch"),
        ({"ch": 100}, "multiples of 32.*100"),
        ({"ch_mult": []}, "level"),
    ],
)
def test_arguments_of_another_network_are_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        kl_vae_config.from_official({**ARGUMENTS, **change})


def test_missing_arguments_are_named() -> None:
    with pytest.raises(InputError, match="video_kernel_size"):
        svd_vae.from_official(ARGUMENTS)
    with pytest.raises(InputError, match="z_channels"):
        kl_vae_config.from_official({k: v for k, v in ARGUMENTS.items() if k != "z_channels"})


# What both promise.


@torch.no_grad()
@pytest.mark.parametrize("make", [image_vae, video_vae])
def test_frames_are_encoded_one_by_one(make: type) -> None:
    vae = make()
    z = vae.encode(CLIPS)
    assert z.shape == LATENTS.shape == (2, *vae.latent_shape(*CLIPS.shape[2:]))
    for t in range(CLIPS.shape[2]):
        torch.testing.assert_close(vae.encode(CLIPS[:, :, t : t + 1]), z[:, :, t : t + 1])


@torch.no_grad()
def test_images_are_decoded_one_by_one_and_clips_are_not() -> None:
    for vae, alone in ((image_vae(), True), (video_vae(), False)):
        x = vae.decode(LATENTS)
        assert x.shape == CLIPS.shape
        changed = LATENTS.clone()
        changed[0, :, 3] += 1
        moved = (vae.decode(changed) - x).flatten(3).abs().amax((1, 3)) > 1e-4
        assert moved.tolist() == [[not alone, not alone, not alone, True], [False] * 4]


@torch.no_grad()
def test_layers_over_time_start_as_nothing() -> None:
    torch.manual_seed(0)
    over_time = SVDVAE(SMALL)
    kernel = over_time.decoder.time_conv_out
    kernel.weight.zero_()
    kernel.weight[range(3), range(3), 1] = 1.0
    kernel.bias.zero_()
    image = KLVAE(SMALL)
    spatial = {
        key.replace("spatial_res_block.", ""): value
        for key, value in over_time.state_dict().items()
    }
    wanted = image.state_dict().keys() - {"post_quant_conv.weight", "post_quant_conv.bias"}
    image.load_state_dict({key: spatial[key] for key in wanted}, strict=False)
    image.post_quant_conv.weight.copy_(torch.eye(2)[..., None, None])
    image.post_quant_conv.bias.zero_()
    torch.testing.assert_close(over_time.decode(LATENTS), image.decode(LATENTS))


@torch.no_grad()
def test_the_mixing_factor_is_the_share_of_time() -> None:
    torch.manual_seed(0)
    block = SpaceTimeResBlock(8, 8, groups=4)
    nn.init.normal_(block.temporal_res_block.conv2.weight)
    x = torch.randn(6, 8, 4, 4)
    outputs = []
    for factor in (-100.0, 0.0, 100.0):
        block.time_mixer.mix_factor.fill_(factor)
        outputs.append(block(x, 3))
    torch.testing.assert_close(outputs[0], block.spatial_res_block(x))
    torch.testing.assert_close(outputs[1], (outputs[0] + outputs[2]) / 2)
    assert (outputs[2] - outputs[0]).abs().max() > 0.1


@torch.no_grad()
def test_latents_are_scaled_and_may_be_drawn() -> None:
    vae = image_vae()
    mean, log_variance = vae.posterior(CLIPS)
    torch.testing.assert_close(vae.encode(CLIPS), SMALL.scale * mean)
    drawn = vae.encode(CLIPS, noise=LATENTS)
    torch.testing.assert_close(drawn, SMALL.scale * (mean + torch.exp(log_variance / 2) * LATENTS))
    nn.init.constant_(vae.quant_conv.bias, 100.0)
    assert vae.posterior(CLIPS)[1].max() == 20
    nn.init.constant_(vae.quant_conv.bias, -100.0)
    assert vae.posterior(CLIPS)[1].min() == -30


@torch.no_grad()
def test_the_step_down_is_padded_at_the_far_edges_only() -> None:
    vae = image_vae()
    step = vae.encoder.down_blocks[0].downsamplers[0]
    nn.init.zeros_(step.conv.bias)
    nn.init.ones_(step.conv.weight)
    sums = step(torch.ones(1, 8, 4, 4))[0, 0] / 8
    assert sums.tolist() == [[9, 6], [6, 4]]


@torch.no_grad()
def test_the_step_up_repeats_pixels() -> None:
    step = Upsample(1)
    nn.init.zeros_(step.conv.bias)
    nn.init.zeros_(step.conv.weight)
    step.conv.weight[0, 0, 1, 1] = 1.0
    x = torch.tensor([[[[1.0, 2.0]]]])
    assert step(x).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]


@torch.no_grad()
def test_attention_goes_through_its_sites() -> None:
    seen: list[tuple[Site, torch.Size]] = []

    def hook(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor | None:
        seen.append((site, q.shape))
        return attention(q, k, v, mask)

    vae = video_vae()
    with hooked(hook):
        vae.decode(vae.encode(CLIPS))
    names = [f"{side}.mid_block.attentions.0" for side in ("encoder", "decoder")]
    assert seen == [(Site(name, "self"), (8, 1, 24, 16)) for name in names]
    assert all(vae.get_submodule(name).site.name == name for name in names)


@pytest.mark.parametrize("make", [image_vae, video_vae])
def test_checkpointing_changes_no_gradient(make: type) -> None:
    gradients = []
    for on in (False, True):
        vae = make().train()
        vae.gradient_checkpointing = on
        assert vae.gradient_checkpointing is on
        assert vae.decoder.gradient_checkpointing is on
        vae.decode(vae.encode(CLIPS)).square().mean().backward()
        gradients.append([p.grad for p in vae.parameters()])
    for plain, again in zip(*gradients):
        assert plain.abs().sum() > 0
        torch.testing.assert_close(plain, again)


def test_sizes_that_do_not_fit_are_refused_with_the_nearest() -> None:
    vae = KLVAE(stable_diffusion(), device="meta")
    assert vae.latent_shape(14, 576, 1024) == (4, 14, 72, 128)
    with pytest.raises(InputError, match=r"height must be a multiple of 8, nearest 568 or 576"):
        vae.latent_shape(1, 571, 64)
    with pytest.raises(InputError, match="width must be a multiple of 8, nearest 8"):
        vae.latent_shape(1, 8, 3)
    with pytest.raises(InputError, match=r"0 frames .* nearest 1"):
        vae.latent_shape(0, 8, 8)
    with pytest.raises(InputError, match="clips must be"):
        vae.encode(torch.empty(1, 4, 1, 8, 8, device="meta"))
    with pytest.raises(InputError, match="latents must be"):
        vae.decode(torch.empty(1, 4, 8, 8, device="meta"))
