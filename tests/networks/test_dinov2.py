"""DINOv2: published tensors, recorded cases of the authors' class, transformers' class, sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
import transformers
from random_weights import stir
from torch import Tensor

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.dinov2 import (
    PREPROCESSING,
    DINOv2,
    DINOv2Config,
    vit_b_14,
    vit_g_14,
    vit_l_14,
    vit_s_14,
)
from kinema.noise import Noise
from kinema.parity.case import read_case
from kinema.parity.network import load_weights
from kinema.parity.runner import relative_error
from kinema.weights import manifests
from kinema.weights.files import load_into, open_checkpoint
from kinema.weights.maps import dinov2 as maps

RECORDED = Path(__file__).parent / "recorded"
MLPS: dict[str, Literal["gelu", "swiglu"]] = {"mlp": "gelu", "swiglufused": "swiglu"}
SMALL = DINOv2Config(
    image_size=20, patch_size=4, width=24, num_layers=2, num_heads=3, mlp="gelu", offset=0.0
)
SIZES = [(20, 20), (12, 12), (28, 16), (8, 32)]


def peer_of(config: DINOv2Config) -> transformers.Dinov2Model:
    """Transformers' model of these sizes, with its own first values."""
    options = transformers.Dinov2Config(
        hidden_size=config.width,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
        use_swiglu_ffn=config.mlp == "swiglu",
    )
    return transformers.Dinov2Model(options).eval()


def images(height: int, width: int) -> Tensor:
    """Two images."""
    return Noise(0, (0, 1)).normal((2, 3, height, width), "images")


@pytest.mark.parametrize("size", [vit_s_14, vit_b_14, vit_l_14, vit_g_14])
def test_published_sizes_have_the_published_tensors(size: Callable[[], DINOv2Config]) -> None:
    network = DINOv2(size(), device="meta", dtype=torch.bfloat16)
    name = f"00-dinov2-{size.__name__.replace('_', '-')}"
    manifest = manifests.read(name)
    manifests.check(network, manifest, maps.OFFICIAL, beside={})
    theirs = manifests.read(f"{name}-transformers")
    manifests.check(network, theirs, maps.TRANSFORMERS, beside={})
    assert f"{manifest.total_parameters:,} parameters" in str(size.__doc__)
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}
    assert from_dict(DINOv2Config, to_dict(size())) == size()
    assert PREPROCESSING.size % size().patch_size == 0


@pytest.mark.parametrize("name", ["dinov2", "dinov2-swiglu"])
def test_features_are_those_of_the_authors_class(name: str) -> None:
    case = read_case(RECORDED / name)
    given = case.config
    config = DINOv2Config(
        image_size=given["img_size"],
        patch_size=given["patch_size"],
        width=given["embed_dim"],
        num_layers=given["depth"],
        num_heads=given["num_heads"],
        mlp=MLPS[given["ffn_layer"]],
        offset=given["interpolate_offset"],
    )
    network = DINOv2(config)
    assert maps.find(case.manifest) is maps.OFFICIAL
    load_weights(network, case, maps.OFFICIAL, {})
    x, expected = case.inputs["image"], case.expected
    with torch.no_grad():
        whole, masked = network(x, None), network(x, case.inputs["masks"])
        assert relative_error(network.features(x), expected["out.features"]) < 1e-5
    assert relative_error(whole.patches, expected["out.patches"]) < 1e-5
    assert relative_error(masked.summary, expected["out.masked_class"]) < 1e-5
    assert relative_error(masked.patches, expected["out.masked_patches"]) < 1e-5
    assert torch.equal(whole.summary, network.features(x))


@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
def test_a_file_of_transformers_gives_their_features(
    tmp_path: Path, mlp: Literal["gelu", "swiglu"]
) -> None:
    config = replace(SMALL, mlp=mlp)
    peer = peer_of(config)
    stir(peer)
    peer.save_pretrained(tmp_path)
    network = DINOv2(config)
    load_into(network, tmp_path, maps.find(open_checkpoint(tmp_path).tensors))
    for height, width in SIZES:
        x = images(height, width)
        masked = Noise(1, (0, 1)).uniform((2, height * width // 16), "masked") < 0.4
        with torch.no_grad():
            for mask in (None, masked):
                theirs = peer(pixel_values=x, bool_masked_pos=mask)
                ours = network(x, mask)
                assert relative_error(ours.summary, theirs.pooler_output) < 1e-5
                assert relative_error(ours.patches, theirs.last_hidden_state[:, 1:]) < 1e-5


@pytest.mark.slow
def test_a_published_size_gives_their_features() -> None:
    config = replace(vit_s_14(), offset=0.0)
    peer, network = peer_of(config), DINOv2(config)
    theirs = manifests.read("00-dinov2-vit-s-14-transformers").shapes
    saved = maps.TRANSFORMERS.to_theirs(dict(network.state_dict()))
    assert set(saved) == set(theirs)
    x = images(224, 224)
    load_peer(peer, saved)
    with torch.no_grad():
        expected = peer(pixel_values=x).pooler_output
        assert relative_error(network.features(x), expected) < 1e-5


def load_peer(peer: transformers.Dinov2Model, saved: dict[str, Tensor]) -> None:
    """Gives their model weights under the names of their files."""
    names = {
        "attention.attention.query": "attention.q_proj",
        "attention.attention.key": "attention.k_proj",
        "attention.attention.value": "attention.v_proj",
        "attention.output.dense": "attention.o_proj",
    }
    for old, new in names.items():
        saved = {key.replace(old, new): value for key, value in saved.items()}
    peer.load_state_dict(saved)


def test_the_offset_moves_positions_at_other_sizes_only() -> None:
    network = DINOv2(SMALL)
    stir(network)
    moved = DINOv2(replace(SMALL, offset=0.1))
    moved.load_state_dict(network.state_dict())
    with torch.no_grad():
        for height, width in SIZES:
            x = images(height, width)
            same = torch.equal(network.features(x), moved.features(x))
            assert same == ((height, width) == (20, 20))


@pytest.mark.parametrize("shape", [(1, 3, 20, 22), (1, 3, 18, 20), (1, 1, 20, 20)])
def test_images_that_patches_do_not_divide_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="with sides that 4 divides, not"):
        DINOv2(SMALL, device="meta").features(torch.zeros(shape))


def test_rows_of_a_batch_do_not_see_one_another() -> None:
    network = DINOv2(SMALL)
    stir(network)
    x = images(20, 20)
    with torch.no_grad():
        torch.testing.assert_close(network.features(x)[1:], network.features(x[1:]))


def test_gradient_checkpointing_changes_nothing() -> None:
    network = DINOv2(SMALL)
    stir(network)
    masked = torch.arange(50).view(2, 25) % 3 == 0
    gradients = []
    for saving in (False, True):
        network.gradient_checkpointing = saving
        network.zero_grad()
        summary, patches = network.train()(images(20, 20), masked)
        (summary.square().sum() + patches.square().sum()).backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for plain, again in zip(*gradients):
        assert torch.equal(plain, again)
        assert plain.any()
