"""Presets and recipes of UniFormerV2.

Paper, code and license: see `uniformerv2.py`. Published numbers are those of the authors' scripts,
`tiny` and `nano` are ours.
"""

from __future__ import annotations

from dataclasses import replace

from kinema.config import config
from kinema.data.views import Views
from kinema.networks import uniformerv2_config as sizes
from kinema.networks.uniformerv2 import FROZEN
from kinema.networks.uniformerv2_config import UniFormerV2Config
from kinema.systems.recognizer import RecognizerConfig, numbered
from kinema.systems.recognizer_training import small
from kinema.training.classification import ClassifierRecipe
from kinema.worlds.motion_classes import CLASSES

GRAY, SPREAD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)  # not CLIP's


@config
class UniFormerV2ModelConfig(RecognizerConfig):
    """Classes, views and the network."""

    network: UniFormerV2Config


def _of(
    network: UniFormerV2Config, *, num_frames: int, clips: int, crops: int
) -> UniFormerV2ModelConfig:
    """A published network with the views of its test."""
    views = Views(
        num_frames=num_frames,
        stride=None,
        size=network.image_size,
        resize=network.image_size,
        interpolation="bilinear",
        clips=clips,
        crops=crops,
        mean=GRAY,
        std=SPREAD,
    )
    labels = numbered(network.num_classes)
    return UniFormerV2ModelConfig(labels=labels, views=views, network=network)


def full() -> UniFormerV2ModelConfig:
    """B/16 of Kinetics-400, 8 frames: 114,552,208 parameters."""
    return _of(sizes.b_16(400), num_frames=8, clips=4, crops=3)


def l14() -> UniFormerV2ModelConfig:
    """L/14 of Kinetics-400, 8 frames: 354,099,600 parameters."""
    return _of(sizes.l_14(400), num_frames=8, clips=4, crops=3)


def l14_336() -> UniFormerV2ModelConfig:
    """L/14 of Kinetics-400 at 336 pixels, 32 frames: 354,427,280 parameters."""
    return _of(sizes.l_14_336(400), num_frames=32, clips=4, crops=3)


def l14_336_frozen() -> UniFormerV2ModelConfig:
    """L/14 of Kinetics-400 at 336 pixels on CLIP's own tower, 8 frames: 354,426,256 parameters."""
    return _of(sizes.l_14_336_frozen(400), num_frames=8, clips=3, crops=1)


def something_b16() -> UniFormerV2ModelConfig:
    """B/16 of Something-Something, 16 frames: 162,992,814 parameters."""
    return _of(sizes.b_16_local(174), num_frames=16, clips=1, crops=3)


def something_l14() -> UniFormerV2ModelConfig:
    """L/14 of Something-Something, 16 frames: 573,949,966 parameters."""
    return _of(sizes.l_14_local(174), num_frames=16, clips=1, crops=3)


def tiny() -> UniFormerV2ModelConfig:
    """For the world `motions`; trains on two cores in minutes."""
    network = replace(
        sizes.b_16_local(len(CLASSES)),
        image_size=32,
        patch_size=8,
        width=64,
        num_layers=4,
        num_heads=4,
        local_width=42,
        read_after=(2, 3),
        read_heads=4,
        read_hidden=256,
        drop_path=0.0,
        read_drop_path=0.0,
        dropout=0.1,
    )
    base = _of(network, num_frames=16, clips=1, crops=1)
    return replace(base, labels=CLASSES)


def nano() -> UniFormerV2ModelConfig:
    """The real classes at under 200,000 parameters, for contract tests."""
    base = tiny()
    network = replace(
        base.network,
        width=24,
        num_layers=2,
        num_heads=2,
        local_width=16,
        read_after=(0, 1),
        read_heads=2,
        read_hidden=48,
        dropout=0.0,
    )
    views = replace(base.views, num_frames=6)
    return replace(base, views=views, network=network)


VERSIONS = {
    version.__name__: version
    for version in (full, l14, l14_336, l14_336_frozen, something_b16, something_l14)
}
PRESETS = {**VERSIONS, "tiny": tiny, "nano": nano}

# From CLIP to Kinetics-400, 240,000 clips: 55 epochs, 5 of them to the peak.
FULL = ClassifierRecipe(
    steps=51_600,
    batch_size=256,
    learning_rate=1e-5,
    warmup=4700,
    decay=0.9,
    weight_decay=0.05,
    betas=(0.9, 0.999),
    clip_norm=20.0,
    ema=0.0,
    label_smoothing=0.0,
    mixup=0.0,
    cutmix=0.0,
    layer_decay=1.0,
    frozen=(),
    flip=0.5,
    crop_area=(0.08, 1.0),
)
# 40 epochs, 5 of them to the peak, as for Kinetics-710.
L14 = replace(FULL, steps=18_750, batch_size=512, warmup=2340, decay=0.875)
AT_336 = replace(FULL, steps=37_500, learning_rate=5e-6, decay=0.875)
# From CLIP to Something-Something V2, 169,000 clips: 22 epochs, 5 of them to the peak.
SOMETHING = replace(
    FULL,
    steps=29_000,
    batch_size=128,
    learning_rate=4e-5,
    warmup=6600,
    decay=0.77,
    flip=0.0,
)
# 50 epochs of Kinetics-400 that leave CLIP's tower as it is.
ON_FROZEN = replace(
    FULL,
    steps=23_400,
    batch_size=512,
    learning_rate=8e-4,
    warmup=0,
    decay=1.0,
    frozen=FROZEN,
)
TINY = small(FULL, steps=1500)  # 12 motions: the bar is a held-out loss of 1.74
RECIPES = {
    "full": FULL,
    "l14": L14,
    "l14_336": AT_336,
    "l14_336_frozen": ON_FROZEN,
    "something_b16": SOMETHING,
    "something_l14": replace(SOMETHING, learning_rate=2e-5),
    "tiny": TINY,
    "nano": TINY.nano(batch_size=4),
}
