from __future__ import annotations

import pytest
import torch
from torch import nn

from kinema.errors import InputError
from kinema.networks import ltx_diffusers
from kinema.networks.ltx_latent_upsampler import LatentUpsampler, spatial_0_9_7, temporal_0_9_7
from kinema.networks.ltx_transformer import LTXTransformer, ltx_2b, ltx_13b
from kinema.networks.ltx_vae import LTXVAE
from kinema.networks.ltx_vae_config import v0_9_0, v0_9_1, v0_9_5
from kinema.weights import manifests
from kinema.weights.keymap import Drop, KeyMap, Rename
from kinema.weights.maps import ltx_transformer as transformer_map
from kinema.weights.maps import ltx_vae as vae_map

VAES = {"0.9.0": v0_9_0, "0.9.1": v0_9_1, "0.9.5": v0_9_5}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("05-ltx-transformer-2b", 1_923_385_472),
        ("05-ltx-transformer-13b", 13_042_569_344),
        ("05-ltx-vae-0.9.0", 180_404_353 + 238_789_296),
        ("05-ltx-vae-0.9.1", 180_404_353 + 754_572_081),
        ("05-ltx-vae-0.9.5", 1_246_913_522),
        ("05-ltx-spatial-upscaler", 126_250_624),
        ("05-ltx-temporal-upscaler", 130_968_192),
    ],
)
def test_published_counts(name, count):
    assert name in manifests.names()
    assert manifests.read(name).total_parameters == count


@pytest.mark.parametrize(("name", "preset"), [("2b", ltx_2b), ("13b", ltx_13b)])
def test_the_transformer_is_the_published_one(name, preset):
    network = LTXTransformer(preset(), device="meta")
    manifest = manifests.read(f"05-ltx-transformer-{name}")
    manifests.check(network, manifest, transformer_map.OFFICIAL, beside={})


@pytest.mark.parametrize("version", VAES)
def test_the_vae_is_the_published_one(version):
    network = LTXVAE(VAES[version](), device="meta")
    manifest = manifests.read(f"05-ltx-vae-{version}")
    manifests.check(network, manifest, vae_map.OFFICIAL, beside=vae_map.statistics(128))


@pytest.mark.parametrize(
    ("name", "preset"), [("spatial", spatial_0_9_7), ("temporal", temporal_0_9_7)]
)
def test_the_upsamplers_are_the_published_ones(name, preset):
    network = LatentUpsampler(preset(), device="meta")
    manifests.check(network, manifests.read(f"05-ltx-{name}-upscaler"), KeyMap(), beside={})


def single_file(version: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published file that holds the transformer and the VAE."""
    shapes = {
        f"model.diffusion_model.{key}": shape
        for key, shape in manifests.read("05-ltx-transformer-2b").shapes.items()
    }
    vae = {**manifests.read(f"05-ltx-vae-{version}").shapes, **vae_map.statistics(128)}
    vae |= {
        "per_channel_statistics.channel": (128,),
        "per_channel_statistics.mean-of-stds": (128,),
        "per_channel_statistics.mean-of-stds_over_std-of-means": (128,),
    }
    return {**shapes, **{f"vae.{key}": shape for key, shape in vae.items()}}


@pytest.mark.parametrize("version", VAES)
def test_both_parts_are_found_in_a_single_file(version):
    shapes = single_file(version)
    assert transformer_map.find(shapes) is transformer_map.SINGLE_FILE
    assert vae_map.find(shapes) is vae_map.SINGLE_FILE
    transformer = transformer_map.SINGLE_FILE.to_ours(shapes)
    assert transformer == manifests.shapes_of(LTXTransformer(ltx_2b(), device="meta"))
    vae = vae_map.SINGLE_FILE.to_ours(shapes)
    assert vae == manifests.shapes_of(LTXVAE(VAES[version](), device="meta"))
    back = {
        **transformer_map.SINGLE_FILE.to_theirs(transformer),
        **vae_map.SINGLE_FILE.to_theirs(vae),
    }
    assert set(shapes) - set(back) == {
        "vae.per_channel_statistics.channel",
        "vae.per_channel_statistics.mean-of-stds",
        "vae.per_channel_statistics.mean-of-stds_over_std-of-means",
    }
    assert back == {key: shapes[key] for key in back}


TIMED = {
    "decoder_block_out_channels": (256, 512, 1024),
    "decoder_layers_per_block": (5, 6, 7, 8),
    "decoder_spatio_temporal_scaling": (True, True, True),
    "decoder_inject_noise": (True, True, True, False),
    "upsample_residual": (True, True, True),
    "upsample_factor": (2, 2, 2),
    "timestep_conditioning": True,
}
# The arguments of diffusers' class for each version.
DIFFUSERS_VAES = {
    "0.9.0": {},
    "0.9.1": TIMED,
    "0.9.5": {
        **TIMED,
        "block_out_channels": (128, 256, 512, 1024, 2048),
        "down_block_types": ("LTXVideo095DownBlock3D",) * 4,
        "layers_per_block": (4, 6, 6, 2, 2),
        "spatio_temporal_scaling": (True,) * 4,
        "downsample_type": ("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
        "decoder_layers_per_block": (5, 5, 5, 5),
        "decoder_inject_noise": (False,) * 4,
    },
}


def assert_same_both_ways(ours: nn.Module, theirs: nn.Module, keymap: KeyMap) -> None:
    our_shapes, their_shapes = manifests.shapes_of(ours), manifests.shapes_of(theirs)
    assert keymap.to_ours(their_shapes) == our_shapes
    assert keymap.to_theirs(our_shapes) == their_shapes


@pytest.mark.parametrize("version", VAES)
def test_the_vae_of_diffusers_has_the_same_tensors(version):
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        theirs = diffusers.AutoencoderKLLTXVideo(**DIFFUSERS_VAES[version])
    ours = LTXVAE(VAES[version](), device="meta")
    assert_same_both_ways(ours, theirs, vae_map.find(manifests.shapes_of(theirs)))
    assert_same_both_ways(ours, theirs, ltx_diffusers.vae_keymap(VAES[version]()))


@pytest.mark.parametrize(("preset", "layers", "head_width"), [(ltx_2b, 28, 64), (ltx_13b, 48, 128)])
def test_the_transformer_of_diffusers_has_the_same_tensors(preset, layers, head_width):
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        theirs = diffusers.LTXVideoTransformer3DModel(
            num_layers=layers, attention_head_dim=head_width, cross_attention_dim=32 * head_width
        )
    assert transformer_map.find(manifests.shapes_of(theirs)) is transformer_map.DIFFUSERS
    ours = LTXTransformer(preset(), device="meta")
    assert_same_both_ways(ours, theirs, transformer_map.DIFFUSERS)


def test_layouts_without_prefix_are_told_apart():
    official = manifests.read("05-ltx-vae-0.9.1").shapes
    assert vae_map.find([*official, *vae_map.statistics(128)]) is vae_map.OFFICIAL
    ours = manifests.shapes_of(LTXVAE(v0_9_1(), device="meta"))
    assert vae_map.find(ours).to_ours(ours) == ours
    transformer = manifests.read("05-ltx-transformer-2b").shapes
    assert transformer_map.find(transformer) is transformer_map.OFFICIAL


# The check itself.

TEXT = "# class: Toy\n# total parameters: 14\n# keys: 3\n# note: toy\n" + (
    "w\tfloat32\t3,4\nb\tfloat32\t1\ns\tfloat32\t\n"
)
KEYMAP = KeyMap(Rename("w", "weight"), Rename("b", "bias"), Rename("s", "scale"))
OURS = {"weight": (3, 4), "bias": (1,), "scale": ()}


def test_a_manifest_is_parsed():
    toy = manifests.parse("toy", TEXT)
    assert toy.shapes == {"w": (3, 4), "b": (1,), "s": ()}
    assert toy.total_parameters == 14
    assert toy.notes == ("toy",)
    manifests.check(OURS, toy, KEYMAP, beside={})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"weight": (4, 3)}, "weight is (3, 4) instead of (4, 3)"),
        ({"more": (1,)}, "1 missing: more"),
        ({"scale": None}, "1 unexpected: scale"),
    ],
)
def test_any_difference_is_an_error_that_names_it(changed, named):
    ours = {k: v for k, v in {**OURS, **changed}.items() if v is not None}
    with pytest.raises(InputError) as error:
        manifests.check(ours, manifests.parse("toy", TEXT), KEYMAP, beside={})
    assert named in str(error.value)
    assert "manifest toy" in str(error.value)


def test_a_map_that_does_not_lead_back_is_found():
    toy = manifests.parse("toy", TEXT)
    lossy = KeyMap(Drop("s", "not carried"))
    with pytest.raises(InputError, match="towards the authors: 1 missing: s"):
        manifests.check({"w": (3, 4), "b": (1,)}, toy, lossy, beside={})


def test_tensors_beside_the_manifest_are_checked_too():
    toy, theirs = manifests.parse("toy", TEXT), {"w": (3, 4), "b": (1,), "s": ()}
    manifests.check({**theirs, "m": (2,)}, toy, KeyMap(), beside={"m": (2,)})
    with pytest.raises(InputError, match="1 unexpected: m"):
        manifests.check(theirs, toy, KeyMap(), beside={"m": (2,)})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (TEXT.replace("14", "15"), "total parameters: 15"),
        (TEXT.replace("keys: 3", "keys: 4"), "keys: 4"),
        (TEXT.replace("3,4", "3,x"), "line 5"),
        (TEXT.replace("\tfloat32\t1", " float32 1"), "line 6"),
        (TEXT.replace("b\t", "w\t"), "w appears twice"),
    ],
)
def test_a_broken_manifest_is_an_error_with_its_place(text, named):
    with pytest.raises(InputError, match=named):
        manifests.parse("toy", text)


def test_an_unknown_manifest_offers_the_nearest():
    with pytest.raises(InputError, match=r"05-ltx-vae-0\.9\.1"):
        manifests.read("05-ltx-vae-0.9.11")
