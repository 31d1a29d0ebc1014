"""CLIP: published tensors, a recorded case of the authors' class, transformers' class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from random_weights import stir
from torch import Tensor

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.clip import (
    CLIP,
    PREPROCESSING,
    CLIPConfig,
    TextTowerConfig,
    vit_b_16,
    vit_b_32,
    vit_l_14,
)
from kinema.networks.vit import ViTConfig
from kinema.noise import Noise
from kinema.parity.case import read_case
from kinema.parity.network import load_weights
from kinema.parity.runner import relative_error
from kinema.weights import manifests
from kinema.weights.files import load_into, open_checkpoint
from kinema.weights.maps import clip as maps

RECORDED = Path(__file__).parent / "recorded" / "clip"
SMALL = CLIPConfig(
    image=ViTConfig(image_size=16, patch_size=8, width=24, num_layers=2, num_heads=3, eps=1e-5),
    text=TextTowerConfig(vocabulary=30, max_tokens=7, width=16, num_layers=3, num_heads=2),
    embed_width=10,
)
IMAGES = Noise(0, (0, 1)).normal((2, 3, 16, 16), "images")
IDS = torch.tensor([[28, 4, 9, 29, 0, 0, 0], [28, 7, 29, 0, 0, 0, 0], [28, 1, 2, 3, 4, 5, 29]])


def peer_of(config: CLIPConfig) -> transformers.CLIPModel:
    """Transformers' model of these sizes, with its own first values."""
    towers = {}
    for name, sizes in (("vision_config", config.image), ("text_config", config.text)):
        towers[name] = {
            "hidden_size": sizes.width,
            "intermediate_size": 4 * sizes.width,
            "num_hidden_layers": sizes.num_layers,
            "num_attention_heads": sizes.num_heads,
            "hidden_act": "quick_gelu",
        }
    towers["vision_config"] |= {
        "image_size": config.image.image_size,
        "patch_size": config.image.patch_size,
    }
    towers["text_config"] |= {
        "vocab_size": config.text.vocabulary,
        "max_position_embeddings": config.text.max_tokens,
        "eos_token_id": config.text.vocabulary - 1,
    }
    options = transformers.CLIPConfig(projection_dim=config.embed_width, **towers)
    return transformers.CLIPModel(options).eval()


def compare(network: CLIP, peer: transformers.CLIPModel, images: Tensor, ids: Tensor) -> None:
    """Asserts that features and logits are equal."""
    with torch.no_grad():
        theirs = peer(pixel_values=images, input_ids=ids)
        image = peer.visual_projection(peer.vision_model(images).pooler_output)
        text = peer.text_projection(peer.text_model(input_ids=ids).pooler_output)
        assert relative_error(network.features(images), image) < 1e-5
        assert relative_error(network.text_features(ids), text) < 1e-5
        assert relative_error(network(images, ids), theirs.logits_per_image) < 1e-5


@pytest.mark.parametrize(
    ("size", "name"), [(vit_b_32, "b-32"), (vit_b_16, "b-16"), (vit_l_14, "l-14")]
)
def test_published_sizes_have_the_tensors_of_published_files(
    size: Callable[[], CLIPConfig], name: str
) -> None:
    network = CLIP(size(), device="meta")
    manifest = manifests.read(f"00-clip-vit-{name}-transformers")
    manifests.check(network, manifest, maps.TRANSFORMERS, beside={})
    assert f"{manifest.total_parameters:,} parameters" in str(size.__doc__)
    assert PREPROCESSING.size == size().image.image_size
    assert from_dict(CLIPConfig, to_dict(size())) == size()


def test_a_published_size_has_the_authors_tensors() -> None:
    network = CLIP(vit_b_32(), device="meta", dtype=torch.bfloat16)
    manifests.check(network, manifests.read("00-clip-vit-b-32"), maps.OFFICIAL, beside={})
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}


def test_features_and_logits_are_those_of_the_authors_class() -> None:
    case = read_case(RECORDED)
    given = case.config
    image = ViTConfig(
        image_size=given["image_resolution"],
        patch_size=given["vision_patch_size"],
        width=given["vision_width"],
        num_layers=given["vision_layers"],
        num_heads=given["vision_width"] // 64,
        eps=1e-5,
    )
    text = TextTowerConfig(
        vocabulary=given["vocab_size"],
        max_tokens=given["context_length"],
        width=given["transformer_width"],
        num_layers=given["transformer_layers"],
        num_heads=given["transformer_heads"],
    )
    network = CLIP(CLIPConfig(image=image, text=text, embed_width=given["embed_dim"]))
    assert maps.find(case.manifest) is maps.OFFICIAL
    load_weights(network, case, maps.OFFICIAL, {})
    images, ids = case.inputs["image"], case.inputs["text"]
    with torch.no_grad():
        assert relative_error(network.features(images), case.expected["out.image"]) < 1e-5
        assert relative_error(network.text_features(ids), case.expected["out.text"]) < 1e-5
        assert relative_error(network(images, ids), case.expected["out.logits"]) < 1e-5


def test_a_file_of_transformers_gives_their_features_and_logits(tmp_path: Path) -> None:
    peer = peer_of(SMALL)
    stir(peer)
    peer.save_pretrained(tmp_path)
    network = CLIP(SMALL)
    keymap = maps.find(open_checkpoint(tmp_path).tensors)
    load_into(network, tmp_path, keymap)
    compare(network, peer, IMAGES, IDS)


@pytest.mark.slow
def test_a_published_size_gives_their_features_and_logits() -> None:
    peer = peer_of(vit_b_32())
    network = CLIP(vit_b_32())
    network.load_state_dict(maps.TRANSFORMERS.to_ours(dict(peer.state_dict())))
    ids = torch.full((2, 77), 49_407)
    ids[:, 0] = 49_406
    ids[:, 1:9] = 1000 + torch.arange(16).view(2, 8)
    compare(network, peer, Noise(0, (0, 1)).normal((2, 3, 224, 224), "images"), ids)


def test_both_layouts_hold_the_same_weights() -> None:
    network = CLIP(SMALL)
    stir(network)
    ours = dict(network.state_dict())
    authors, theirs = maps.OFFICIAL.to_theirs(ours), maps.TRANSFORMERS.to_theirs(ours)
    layer = "text_model.encoder.layers.1.self_attn"
    qkv = torch.cat([theirs[f"{layer}.{name}_proj.weight"] for name in "qkv"])
    assert torch.equal(authors["transformer.resblocks.1.attn.in_proj_weight"], qkv)
    assert torch.equal(authors["visual.proj"], theirs["visual_projection.weight"].T)
    assert torch.equal(authors["text_projection"], theirs["text_projection.weight"].T)


def test_what_follows_the_end_of_a_text_is_not_read() -> None:
    network = CLIP(SMALL)
    stir(network)
    padded = IDS.clone()
    padded[0, 4:], padded[1, 3:] = 5, 17
    with torch.no_grad():
        assert torch.equal(network.text_features(padded), network.text_features(IDS))
        changed = IDS.clone()
        changed[0, 1] = 5
        assert not torch.equal(network.text_features(changed)[0], network.text_features(IDS)[0])
        short = network.text_features(IDS[:2, :5])
        torch.testing.assert_close(short, network.text_features(IDS[:2]))


def test_logits_know_no_length_of_features() -> None:
    network = CLIP(SMALL)
    stir(network)
    with torch.no_grad():
        before = network(IMAGES, IDS)
        network.image.proj.weight.mul_(3)
        torch.testing.assert_close(network(IMAGES, IDS), before)
        assert before.shape == (2, 3)
        network.logit_scale.add_(2.0)
        torch.testing.assert_close(network(IMAGES, IDS), before * torch.tensor(2.0).exp())


def test_sizes_that_do_not_fit_are_refused() -> None:
    network = CLIP(SMALL, device="meta")
    with pytest.raises(InputError, match=r"CLIP reads images \(B, 3, 16, 16\), not"):
        network.features(torch.zeros(1, 3, 16, 24))
    with pytest.raises(InputError, match="up to 7 pieces of words, not 8"):
        network.text_features(torch.zeros(1, 8, dtype=torch.int64))
    with pytest.raises(InputError, match="not divisible by 5 heads"):
        replace(SMALL.text, num_heads=5)


def test_gradient_checkpointing_changes_nothing() -> None:
    network = CLIP(SMALL)
    stir(network)
    gradients = []
    for saving in (False, True):
        network.gradient_checkpointing = saving
        network.zero_grad()
        network.train()(IMAGES, IDS).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for plain, again in zip(*gradients):
        assert torch.equal(plain, again)
        assert plain.any()
