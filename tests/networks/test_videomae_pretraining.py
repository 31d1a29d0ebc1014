"""VideoMAE V2's pre-training network: published tensors, transformers' class, what sees what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from random_weights import stir
from torch import Tensor

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.videomae import (
    VideoMAE,
    VideoMAEConfig,
    VideoMAEEncoder,
    vit_b_16,
    vit_g_14,
    vit_h_16,
    vit_l_16,
    vit_s_16,
)
from kinema.networks.videomae_pretraining import (
    MaskedAutoencoder,
    VideoMAEDecoder,
    VideoMAEDecoderConfig,
    chosen,
    color_first,
    color_last,
    decoder_of,
    from_official,
    from_tubelets,
    targets,
    tubelets,
)
from kinema.noise import Noise
from kinema.parity.runner import relative_error
from kinema.training.masked_autoencoding import masked_error, tubes
from kinema.weights import manifests
from kinema.weights.files import load_into, open_checkpoint
from kinema.weights.maps import videomae as maps

SMALL = VideoMAEConfig(
    image_size=16,
    patch_size=4,
    width=24,
    num_layers=2,
    num_heads=3,
    hidden=96,
    num_frames=4,
    num_classes=5,
)
DECODER = VideoMAEDecoderConfig(
    encoder_width=24, width=16, num_layers=2, num_heads=2, hidden=64, patch_size=4
)
PIXELS = Noise(0, (0, 1)).uniform((2, 3, 4, 16, 16), "pixels")
HIDDEN = tubes(Noise(0, (0, 1)).uniform((2, 16), "lots"), 0.75, 2)


def small() -> MaskedAutoencoder:
    network = MaskedAutoencoder(VideoMAEEncoder(SMALL), VideoMAEDecoder(DECODER))
    stir(network)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("size", "name"),
    [
        (vit_s_16, "small"),
        (vit_b_16, "base"),
        (vit_l_16, "large"),
        (vit_h_16, "huge"),
        (vit_g_14, "giant"),
    ],
)
def test_published_sizes_have_the_authors_tensors(
    size: Callable[[int], VideoMAEConfig], name: str
) -> None:
    config = size(400)
    decoder = decoder_of(config)
    network = MaskedAutoencoder(
        VideoMAEEncoder(config, device="meta"), VideoMAEDecoder(decoder, device="meta")
    )
    manifest = manifests.read(f"49-videomaev2-{name}-pretrain")
    manifests.check(network, manifest, maps.PRETRAINING, beside={})
    assert maps.find(manifest.shapes) is maps.PRETRAINING
    assert from_dict(VideoMAEDecoderConfig, to_dict(decoder)) == decoder


def test_a_file_of_transformers_gives_their_pixels_and_loss(tmp_path: Path) -> None:
    """They decode all that is hidden, and add 1e-12 to variances unless they are told."""
    options = transformers.VideoMAEConfig(
        image_size=16,
        patch_size=4,
        num_frames=4,
        hidden_size=24,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=3,
        decoder_hidden_size=16,
        decoder_intermediate_size=64,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=2,
        layer_norm_eps=1e-6,
        use_mean_pooling=False,
    )
    peer = transformers.VideoMAEForPreTraining(options).eval()
    peer.decoder.norm.eps = 1e-6
    stir(peer)
    peer.save_pretrained(tmp_path)
    network = MaskedAutoencoder(VideoMAEEncoder(SMALL), VideoMAEDecoder(DECODER)).eval()
    found = maps.find(open_checkpoint(tmp_path).tensors)
    assert found is maps.TRANSFORMERS_PRETRAINING
    load_into(network, tmp_path, found)
    mean, std = (
        torch.tensor(values)[:, None, None, None]
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    clips = (PIXELS - mean) / std
    with torch.no_grad():
        theirs = peer(clips.transpose(1, 2), bool_masked_pos=HIDDEN)
        ours = network(clips, HIDDEN, HIDDEN)
    assert relative_error(ours, theirs.logits) < 1e-5
    wanted = chosen(color_last(targets(PIXELS, 4).x), HIDDEN)
    loss = masked_error(ours, wanted, torch.ones(ours.shape[:2]))
    assert relative_error(loss, theirs.loss) < 1e-5


def changed(network: MaskedAutoencoder, pixels: Tensor, decoded: Tensor) -> float:
    """How much a prediction changes with the pixels."""
    return relative_error(network(pixels, HIDDEN, decoded), network(PIXELS, HIDDEN, decoded))


def test_what_is_hidden_changes_nothing_and_what_is_seen_does() -> None:
    network = small()
    values = tubelets(PIXELS, 4)
    for where, least, most in ((HIDDEN, 0.0, 1e-6), (~HIDDEN, 1e-3, 100.0)):
        other = torch.where(where[..., None, None], 1 - values, values)
        pixels = from_tubelets(other, SMALL.grid, 4)
        assert least <= changed(network, pixels, HIDDEN) <= most


def test_each_decoded_tubelet_is_guessed_for_its_own_place() -> None:
    """Which others are decoded beside it does matter: they attend to one another."""
    network = small()
    some = HIDDEN.clone()
    some[:, :16] = False  # those of the first step
    both, one = network(PIXELS, HIDDEN, HIDDEN), network(PIXELS, HIDDEN, some)
    assert one.shape == (2, 12, DECODER.values)
    assert not torch.allclose(one[:, 0], one[:, 1])
    assert relative_error(one, both[:, 12:]) > 1e-4


def test_a_classifier_is_an_encoder() -> None:
    network = small()
    classifier = VideoMAE(SMALL)
    missing = classifier.load_state_dict(network.encoder.state_dict(), strict=False)
    assert set(missing.missing_keys) == {
        f"{layer}.{kind}" for layer in ("fc_norm", "head") for kind in ("weight", "bias")
    }
    again = MaskedAutoencoder(classifier, network.decoder)
    assert torch.equal(again(PIXELS, HIDDEN, HIDDEN), network(PIXELS, HIDDEN, HIDDEN))


def test_tubelets_and_back() -> None:
    values = tubelets(PIXELS, 4)
    assert values.shape == (2, 32, 3, 32)
    assert torch.equal(values[1, 16 + 4 + 2, 0, :4], PIXELS[1, 0, 2, 4, 8:12])
    assert torch.equal(from_tubelets(values, SMALL.grid, 4), PIXELS)
    assert torch.equal(color_first(color_last(values)), values)
    assert torch.equal(color_last(values)[..., 3], values[:, :, 0, 1])


def test_targets_are_normalized_color_by_color() -> None:
    found = targets(PIXELS, 4)
    torch.testing.assert_close(found.x.mean(-1), torch.zeros(2, 32, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.x.std(-1), torch.ones(2, 32, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.restored(found.x), tubelets(PIXELS, 4))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder_width": 32}, "encoder_width 32, not 24"),
        ({"patch_size": 8}, "patch_size 8, not 4"),
        ({"num_heads": 3}, "not divisible by 3 heads"),
    ],
)
def test_a_decoder_of_another_encoder_is_refused(changes: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        MaskedAutoencoder(
            VideoMAEEncoder(SMALL, device="meta"),
            VideoMAEDecoder(
                from_dict(VideoMAEDecoderConfig, {**to_dict(DECODER), **changes}), device="meta"
            ),
        )


OFFICIAL = {
    "img_size": 16,
    "patch_size": 4,
    "encoder_embed_dim": 24,
    "encoder_depth": 2,
    "encoder_num_heads": 3,
    "decoder_num_classes": 96,
    "decoder_embed_dim": 16,
    "decoder_depth": 2,
    "decoder_num_heads": 2,
    "qkv_bias": True,
    "all_frames": 4,
    "norm_layer": "LayerNorm eps 1e-6",
}


def test_the_authors_arguments_are_read() -> None:
    encoder, decoder = from_official(OFFICIAL)
    assert (encoder.width, encoder.hidden, encoder.num_frames) == (24, 96, 4)
    assert decoder == DECODER


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cos_attn": True}, "cos_attn"),
        ({"qkv_bias": False}, "qkv_bias=True, not False"),
        ({"decoder_num_classes": 48}, "96 values, not decoder_num_classes=48"),
    ],
)
def test_other_arguments_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_official({**OFFICIAL, **changes})
