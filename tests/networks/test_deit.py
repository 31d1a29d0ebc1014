"""DeiT: transformers' class, its files with a head and without, timm's names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from random_weights import stir

from kinema.networks.deit import DeiT, DeiTConfig, deit_b
from kinema.networks.vit import ViT
from kinema.noise import Noise
from kinema.parity.runner import relative_error
from kinema.weights import manifests
from kinema.weights.files import load_into, open_checkpoint
from kinema.weights.keymap import KeyMap
from kinema.weights.maps import deit, vit

SMALL = DeiTConfig(image_size=32, patch_size=8, width=24, num_layers=2, num_heads=3, num_classes=5)
PICTURES = Noise(0, (0, 1)).normal((2, 3, 32, 32), "pictures")


def options(config: DeiTConfig, eps: float) -> transformers.ViTConfig:
    """What transformers calls these sizes."""
    return transformers.ViTConfig(
        image_size=config.image_size,
        patch_size=config.patch_size,
        hidden_size=config.width,
        intermediate_size=4 * config.width,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_labels=config.num_classes,
        layer_norm_eps=eps,
    )


@pytest.mark.parametrize(("eps", "error"), [(SMALL.eps, 1e-5), (1e-12, 1e-4)])
def test_a_file_of_transformers_gives_their_logits(
    eps: float, error: float, tmp_path: Path
) -> None:
    """Published configurations add 1e-12 to the variances of norms, in the place of our 1e-6."""
    peer = transformers.ViTForImageClassification(options(SMALL, eps)).eval()
    stir(peer)
    peer.save_pretrained(tmp_path)
    names = open_checkpoint(tmp_path).tensors
    assert "vit.encoder.layer.1.attention.attention.query.bias" in names
    assert vit.find(names) is vit.CLASSIFIER
    network = DeiT(SMALL)
    load_into(network, tmp_path, KeyMap(*vit.find(names).rules, *deit.OFFICIAL.rules))
    with torch.no_grad():
        states = peer.vit(PICTURES).last_hidden_state[:, 0]
        assert relative_error(network.forward_features(PICTURES), states) < error
        assert relative_error(network(PICTURES), peer(PICTURES).logits) < error


def test_a_file_without_a_head_gives_their_states(tmp_path: Path) -> None:
    peer = transformers.ViTModel(options(SMALL, SMALL.eps)).eval()
    stir(peer)
    peer.save_pretrained(tmp_path)
    names = open_checkpoint(tmp_path).tensors
    assert "pooler.dense.weight" in names
    network = ViT(SMALL).eval()
    load_into(network, tmp_path, vit.find(names))
    with torch.no_grad():
        found, states = network(PICTURES), peer(PICTURES).last_hidden_state
    assert relative_error(found.summary, states[:, 0]) < 1e-5
    assert relative_error(found.patches, states[:, 1:]) < 1e-5


def test_a_published_size_has_the_tensors_of_transformers() -> None:
    network = DeiT(deit_b(1000), device="meta")
    manifest = manifests.read("00-vit-b-16-transformers")
    whole = KeyMap(*vit.CLASSIFIER.rules, *deit.OFFICIAL.rules)
    manifests.check(network, manifest, whole, beside={})
    assert f"{manifest.total_parameters:,} parameters for 1000 classes" in str(deit_b.__doc__)


def test_names_of_timm_are_ours() -> None:
    assert vit.find(ViT(SMALL, device="meta").state_dict()) is vit.TIMM
