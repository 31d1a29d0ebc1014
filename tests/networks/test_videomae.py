"""VideoMAE: published tensors, transformers' class, what is dropped in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from random_weights import stir
from torch import Tensor

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.videomae import (
    PREPROCESSING,
    VideoMAE,
    VideoMAEConfig,
    positions,
    vit_b_16,
    vit_g_14,
    vit_h_16,
    vit_l_16,
    vit_s_16,
)
from kinema.noise import Noise
from kinema.parity.runner import relative_error
from kinema.weights import manifests
from kinema.weights.files import load_into, open_checkpoint
from kinema.weights.maps import videomae as maps

SMALL = VideoMAEConfig(
    image_size=16,
    patch_size=8,
    width=24,
    num_layers=2,
    num_heads=3,
    hidden=40,
    num_frames=6,
    num_classes=5,
)
CLIPS = Noise(0, (0, 1)).normal((2, 3, 6, 16, 16), "clips")


def peer_of(config: VideoMAEConfig) -> transformers.VideoMAEForVideoClassification:
    """Transformers' model of these sizes, with its own first values and the authors' norms.

    Without being told it adds 1e-12 to variances, and 1e-5 in the last norm.
    """
    options = transformers.VideoMAEConfig(
        image_size=config.image_size,
        patch_size=config.patch_size,
        num_frames=config.num_frames,
        hidden_size=config.width,
        intermediate_size=config.hidden,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_labels=config.num_classes,
        layer_norm_eps=config.eps,
    )
    peer = transformers.VideoMAEForVideoClassification(options).eval()
    peer.fc_norm.eps = config.eps
    return peer


def compare(
    network: VideoMAE, peer: transformers.VideoMAEForVideoClassification, clips: Tensor
) -> None:
    """Asserts that states, features and logits are equal."""
    theirs = clips.transpose(1, 2)
    with torch.no_grad():
        states = peer.videomae(theirs).last_hidden_state
        assert relative_error(network.tokens(clips), states) < 1e-5
        assert relative_error(network.forward_features(clips), peer.fc_norm(states.mean(1))) < 1e-5
        assert relative_error(network(clips), peer(theirs).logits) < 1e-5


@pytest.mark.parametrize(
    ("size", "classes", "name"),
    [
        (vit_s_16, 400, "small-k400"),
        (vit_b_16, 400, "base-k400"),
        (vit_l_16, 400, "large-k400"),
        (vit_h_16, 400, "huge-k400"),
        (vit_g_14, 710, "giant-k710"),
    ],
)
def test_published_sizes_have_the_authors_tensors(
    size: Callable[[int], VideoMAEConfig], classes: int, name: str
) -> None:
    config = size(classes)
    network = VideoMAE(config, device="meta", dtype=torch.bfloat16)
    manifest = manifests.read(f"49-videomaev2-{name}")
    manifests.check(network, manifest, maps.OFFICIAL, beside={})
    assert maps.find(manifest.shapes) is maps.OFFICIAL
    assert f"{manifest.total_parameters:,} parameters for the {classes}" in str(size.__doc__)
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}
    assert from_dict(VideoMAEConfig, to_dict(config)) == config
    assert config.image_size == PREPROCESSING.size


def test_a_published_size_has_the_tensors_of_transformers() -> None:
    manifest = manifests.read("00-videomae-vit-b-16-transformers")
    network = VideoMAE(vit_b_16(400), device="meta")
    manifests.check(network, manifest, maps.TRANSFORMERS, beside={})


def test_a_file_of_transformers_gives_their_features_and_logits(tmp_path: Path) -> None:
    peer = peer_of(SMALL)
    stir(peer)
    peer.save_pretrained(tmp_path)
    network = VideoMAE(SMALL)
    load_into(network, tmp_path, maps.find(open_checkpoint(tmp_path).tensors))
    compare(network, peer, CLIPS)


@pytest.mark.slow
def test_a_published_size_gives_their_logits(tmp_path: Path) -> None:
    peer = peer_of(vit_b_16(400))
    peer.save_pretrained(tmp_path)
    network = VideoMAE(vit_b_16(400))
    load_into(network, tmp_path, maps.TRANSFORMERS)
    clips = Noise(0, (0,)).normal((1, 3, 16, 224, 224), "clips")
    with torch.no_grad():
        assert relative_error(network(clips), peer(clips.transpose(1, 2)).logits) < 1e-5


def test_positions_are_sines_and_cosines_of_the_number_of_a_token() -> None:
    number, channel = np.arange(1568)[:, None], np.arange(768)
    angle = number / 10_000 ** (2 * (channel // 2) / 768)
    expected = np.where(channel % 2 == 0, np.sin(angle), np.cos(angle))
    np.testing.assert_allclose(positions(1568, 768), expected, atol=1e-7)


def test_a_clip_is_not_its_reverse() -> None:
    network = VideoMAE(SMALL)
    stir(network)
    with torch.no_grad():
        assert (
            relative_error(network.forward_features(CLIPS.flip(2)), network.forward_features(CLIPS))
            > 1e-2
        )


@pytest.mark.parametrize("shape", [(1, 3, 4, 16, 16), (1, 3, 6, 16, 24), (1, 1, 6, 16, 16)])
def test_clips_of_other_sizes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"VideoMAE reads clips \(B, 3, 6, 16, 16\), not"):
        VideoMAE(SMALL, device="meta").forward_features(torch.zeros(shape))


@pytest.mark.parametrize(
    ("field", "said"), [("num_frames", "multiple of 2"), ("num_heads", "not divisible by 5 heads")]
)
def test_sizes_that_do_not_divide_are_refused(field: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(SMALL, **{field: 5})


def test_gradient_checkpointing_changes_nothing() -> None:
    network = VideoMAE(SMALL)
    stir(network)
    gradients = []
    for saving in (False, True):
        network.gradient_checkpointing = saving
        network.zero_grad()
        network.train()(CLIPS).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for plain, again in zip(*gradients):
        assert torch.equal(plain, again)
        assert plain.any()
