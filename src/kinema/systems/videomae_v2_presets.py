"""Configuration, presets and recipes of VideoMAE V2 on unlabeled public clips.

Papers, code and license: see `videomae_v2.py`. Published numbers are those of VideoMAE V2's
scripts; `tiny` and `nano` are ours.
"""

from __future__ import annotations

from dataclasses import replace

from kinema.config import config
from kinema.data.views import Views
from kinema.errors import InputError
from kinema.networks import videomae as sizes
from kinema.networks.videomae import PREPROCESSING, VideoMAEConfig
from kinema.networks.videomae_pretraining import VideoMAEDecoderConfig, check_fit, decoder_of
from kinema.systems import recognizer_training
from kinema.systems.recognizer import RecognizerConfig, numbered
from kinema.systems.recognizer_frames import DRAWN
from kinema.training.classification import ClassifierRecipe
from kinema.training.masked_autoencoding import MaskedRecipe
from kinema.training.recipe import UNCLIPPED
from kinema.worlds.motion_classes import CLASSES


@config
class VideoMAEV2Config(RecognizerConfig):
    """Classes, views, the classifier and the decoder that it is pre-trained with."""

    network: VideoMAEConfig
    decoder: VideoMAEDecoderConfig

    def __post_init__(self) -> None:
        RecognizerConfig.__post_init__(self)
        check_fit(self.network, self.decoder)
        seen = (self.views.num_frames, self.views.size)
        read = (self.network.num_frames, self.network.image_size)
        if seen != read:
            raise InputError(
                f"views show {seen[0]} frames of {seen[1]} pixels, but the network reads "
                f"{read[0]} of {read[1]}"
            )


def _of(network: VideoMAEConfig, decoder: VideoMAEDecoderConfig) -> VideoMAEV2Config:
    side = network.image_size
    views = Views(
        num_frames=network.num_frames,
        stride=4,
        size=side,
        resize=side,
        interpolation="bilinear",
        clips=5,
        crops=3,
        mean=PREPROCESSING.mean,
        std=PREPROCESSING.std,
    )
    labels = numbered(network.num_classes)
    return VideoMAEV2Config(labels=labels, views=views, network=network, decoder=decoder)


def _published(network: VideoMAEConfig, drop_path: float) -> VideoMAEV2Config:
    return _of(replace(network, drop_path=drop_path), decoder_of(network))


def full() -> VideoMAEV2Config:
    """ViT-g of Kinetics-400: 1,012,174,352 parameters, pre-trained with others 1,026,306,560."""
    return _published(sizes.vit_g_14(400), 0.2)


def huge() -> VideoMAEV2Config:
    """ViT-H of Kinetics-400: 632,119,440 parameters, pre-trained with others 645,659,392."""
    return _published(replace(sizes.vit_h_16(400), dropout=0.5), 0.2)


def large() -> VideoMAEV2Config:
    """ViT-L of Kinetics-400: 304,270,736 parameters, pre-trained with others 317,782,016."""
    return _published(sizes.vit_l_16(400), 0.2)


def base() -> VideoMAEV2Config:
    """ViT-B of Kinetics-400: 86,534,800 parameters, pre-trained with others 94,210,944."""
    return _published(sizes.vit_b_16(400), 0.1)


def small() -> VideoMAEV2Config:
    """ViT-S of Kinetics-400: 22,033,936 parameters, pre-trained with others 24,029,376."""
    return _published(sizes.vit_s_16(400), 0.1)


def tiny() -> VideoMAEV2Config:
    """For the world `motions`; trains on two cores in minutes: 64 tubelets of 2x8x8."""
    network = VideoMAEConfig(
        image_size=32,
        patch_size=8,
        width=64,
        num_layers=4,
        num_heads=4,
        hidden=256,
        num_frames=8,
        num_classes=len(CLASSES),
    )
    decoder = VideoMAEDecoderConfig(
        encoder_width=64, width=32, num_layers=2, num_heads=2, hidden=128, patch_size=8
    )
    whole = replace(_of(network, decoder), labels=CLASSES)
    return replace(whole, views=replace(whole.views, stride=None, clips=1, crops=1))


def nano() -> VideoMAEV2Config:
    """The real classes at under 200,000 parameters, for contract tests."""
    whole = tiny()
    network = replace(whole.network, width=24, num_layers=2, num_heads=2, hidden=96)
    decoder = replace(whole.decoder, encoder_width=24, width=12, num_layers=1, hidden=48)
    return replace(whole, network=network, decoder=decoder)


VERSIONS = {version.__name__: version for version in (full, huge, large, base, small)}
PRESETS = {**VERSIONS, "tiny": tiny, "nano": nano}

# 300 epochs of the 283,582 clips in batches of 2048, four views of each; 30 of them to the peak.
# The authors' rates are for 256 clips, of which views do not count.
PRETRAIN_FULL = MaskedRecipe(
    steps=41_400,
    batch_size=8192,
    learning_rate=4.8e-3,
    warmup=4140,
    decay=0.9,
    weight_decay=0.05,
    betas=(0.9, 0.95),
    clip_norm=0.02,
    ema=0.0,
    hidden=0.9,
    skipped=0.5,
    flip=0.0,
    crop_area=(0.44, 1.0),
)
PRETRAIN_HUGE = replace(PRETRAIN_FULL, learning_rate=8e-3, clip_norm=UNCLIPPED)
# Batches of 1536.
PRETRAIN_LARGE = replace(
    PRETRAIN_HUGE, steps=55_200, batch_size=6144, learning_rate=6e-3, warmup=5520
)
# 200 epochs, 20 of them to the peak, batches of 1024.
PRETRAIN_BASE = replace(PRETRAIN_LARGE, batch_size=4096, learning_rate=4e-3)
PRETRAIN_TINY = replace(
    recognizer_training.small(PRETRAIN_FULL, steps=3000), hidden=0.75, crop_area=(1.0, 1.0)
)
# There is no script for ViT-S: it has that of ViT-B.
PRETRAINING = {
    "full": PRETRAIN_FULL,
    "huge": PRETRAIN_HUGE,
    "large": PRETRAIN_LARGE,
    **dict.fromkeys(("base", "small"), PRETRAIN_BASE),
    "tiny": PRETRAIN_TINY,
    "nano": PRETRAIN_TINY.nano(batch_size=4),
}
# 30 epochs of Kinetics-400, two views of each clip in a batch of 192; five of them to the peak.
FULL = ClassifierRecipe(
    steps=37_500,
    batch_size=384,
    learning_rate=7.5e-4,
    warmup=6250,
    decay=0.83,
    weight_decay=0.1,
    betas=(0.9, 0.999),
    clip_norm=UNCLIPPED,
    ema=0.0,
    label_smoothing=0.1,
    mixup=0.8,
    cutmix=1.0,
    layer_decay=0.9,
    frozen=(),
    flip=0.5,
    crop_area=(0.08, 1.0),
)
# 40 epochs, batches of 128.
HUGE = replace(
    FULL,
    steps=75_000,
    batch_size=256,
    learning_rate=5e-4,
    warmup=9375,
    decay=0.875,
    weight_decay=0.05,
    layer_decay=0.8,
)
# 35 epochs.
LARGE = replace(
    FULL,
    steps=43_750,
    learning_rate=1.5e-3,
    decay=0.857,
    weight_decay=0.05,
    layer_decay=0.75,
)
# 90 epochs, batches of 512.
BASE = replace(
    FULL,
    steps=42_200,
    batch_size=1024,
    learning_rate=1.4e-3,
    warmup=2340,
    decay=0.94,
    weight_decay=0.05,
    layer_decay=0.75,
)
TINY = replace(DRAWN, label_smoothing=0.0)
RECIPES = {
    "full": FULL,
    "huge": HUGE,
    "large": LARGE,
    **dict.fromkeys(("base", "small"), BASE),
    "tiny": TINY,
    "nano": TINY.nano(batch_size=4),
}
