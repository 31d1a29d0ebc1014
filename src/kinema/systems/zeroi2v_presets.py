"""Presets and recipes of ZeroI2V.

Paper, code and license: see `zeroi2v.py`. Published numbers are those of the authors'
configurations, `tiny` and `nano` are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from kinema.config import config
from kinema.data.views import Views
from kinema.networks import zeroi2v_config as sizes
from kinema.networks.zeroi2v import FROZEN
from kinema.networks.zeroi2v_config import Shift, ZeroI2VConfig
from kinema.systems.recognizer import RecognizerConfig, numbered
from kinema.systems.recognizer_training import small
from kinema.training.classification import ClassifierRecipe
from kinema.training.recipe import UNCLIPPED
from kinema.worlds.motion_classes import CLASSES

# CLIP's, as the authors have them in 0 ... 255.
MEAN = (122.769 / 255, 116.74 / 255, 104.04 / 255)
STD = (68.493 / 255, 66.63 / 255, 70.321 / 255)


@config
class ZeroI2VModelConfig(RecognizerConfig):
    """Classes, views and the network."""

    network: ZeroI2VConfig


def _of(
    network: ZeroI2VConfig, *, stride: int | None, clips: int, crops: int
) -> ZeroI2VModelConfig:
    """A published network with the views of its test."""
    side = network.image_size
    views = Views(
        num_frames=network.num_frames,
        stride=stride,
        size=side,
        resize=side,
        interpolation="bilinear",
        clips=clips,
        crops=crops,
        mean=MEAN,
        std=STD,
    )
    return ZeroI2VModelConfig(labels=numbered(network.num_classes), views=views, network=network)


def full() -> ZeroI2VModelConfig:
    """B/16 of Kinetics-400, 8 frames: 100,315,024 parameters, merged 86,113,168."""
    return _of(sizes.b_16(400, 8), stride=16, clips=3, crops=1)


def l14() -> ZeroI2VModelConfig:
    """L/14 of Kinetics-400, 8 frames: 354,052,496 parameters, merged 303,597,968."""
    return _of(sizes.l_14(400), stride=16, clips=3, crops=1)


def l14_long() -> ZeroI2VModelConfig:
    """L/14 of Kinetics-400, 32 frames: 354,077,072 parameters, merged 303,622,544."""
    return _of(sizes.l_14_long(400), stride=4, clips=3, crops=1)


def something_b16() -> ZeroI2VModelConfig:
    """B/16 of Something-Something V2, 16 frames: 100,147,374 parameters, merged 85,945,518."""
    return _of(sizes.b_16_something(174), stride=None, clips=1, crops=3)


def something_l14() -> ZeroI2VModelConfig:
    """L/14 of Something-Something V2, 32 frames: 353,845,422 parameters, merged 303,390,894."""
    return _of(sizes.l_14_something(174), stride=None, clips=1, crops=3)


def ucf_b16() -> ZeroI2VModelConfig:
    """B/16 of UCF-101, 32 frames: 100,103,525 parameters, merged 85,901,669."""
    return _of(sizes.b_16_two_frames(101, 32), stride=None, clips=1, crops=3)


def tiny() -> ZeroI2VModelConfig:
    """For the world `motions`; trains on two cores in minutes. A quarter of so few channels would
    leave the adapters little, so they are as wide as the network.
    """
    base = sizes.b_16(len(CLASSES), 8)
    assert base.adapters is not None
    network = replace(
        base,
        image_size=32,
        patch_size=8,
        width=64,
        num_layers=4,
        num_heads=4,
        shifts=(Shift(frames=1, channels=16), Shift(frames=-1, channels=16)),
        adapters=replace(base.adapters, hidden=64, dropout=0.0),
        dropout=0.0,
    )
    return replace(_of(network, stride=None, clips=1, crops=1), labels=CLASSES)


def nano() -> ZeroI2VModelConfig:
    """The real classes at under 200,000 parameters, for contract tests."""
    base = tiny()
    assert base.network.adapters is not None
    network = replace(
        base.network,
        width=24,
        num_layers=2,
        num_frames=5,
        shifts=(Shift(frames=1, channels=6), Shift(frames=-1, channels=6)),
        adapters=replace(base.network.adapters, hidden=6),
    )
    return replace(base, views=replace(base.views, num_frames=5), network=network)


VERSIONS = {
    version.__name__: version
    for version in (full, l14, l14_long, something_b16, something_l14, ucf_b16)
}
PRESETS = {**VERSIONS, "tiny": tiny, "nano": nano}


def _merged(version: Callable[[], ZeroI2VModelConfig]) -> ZeroI2VModelConfig:
    config = version()
    return replace(config, network=replace(config.network, adapters=None))


MERGED = {f"{name}_merged": partial(_merged, version) for name, version in VERSIONS.items()}
"""The same as files have them once their adapters are merged."""

# From CLIP to Kinetics-400, 240,000 clips: 40 epochs, 2.5 of them to the peak.
FULL = ClassifierRecipe(
    steps=150_000,
    batch_size=64,
    learning_rate=3e-4,
    warmup=9400,
    decay=0.94,
    weight_decay=0.05,
    betas=(0.9, 0.999),
    clip_norm=UNCLIPPED,
    ema=0.0,
    label_smoothing=0.0,
    mixup=0.0,
    cutmix=0.0,
    layer_decay=1.0,
    frozen=FROZEN,
    flip=0.5,
    crop_area=(0.08, 1.0),
)
# L/14 on 32 frames has the same rate for half of the batch.
LONG = replace(FULL, steps=300_000, batch_size=32, warmup=18_750)
# From CLIP to Something-Something V2, 169,000 clips: 50 epochs.
SOMETHING = replace(FULL, steps=132_000, warmup=6600, decay=0.95, label_smoothing=0.1, flip=0.0)
SOMETHING_LONG = replace(SOMETHING, steps=264_000, batch_size=32, warmup=13_200)
# From CLIP to UCF-101, 9,537 clips: 40 epochs.
UCF = replace(FULL, steps=5960, warmup=370)
# What CLIP is at the published sizes: a tower that knows what single frames show. The bars are
# held-out losses of 1.54, of 9 places, and of 1.74, of 12 motions.
IMAGE = small(replace(FULL, frozen=("*.adapters.*", "temporal_embed")), steps=1500)
TINY = small(FULL, steps=2500)
IMAGES = {"tiny": IMAGE, "nano": IMAGE.nano(batch_size=4, frozen=())}
RECIPES = {
    **dict.fromkeys(VERSIONS, FULL),
    "l14_long": LONG,
    "something_b16": SOMETHING,
    "something_l14": SOMETHING_LONG,
    "ucf_b16": UCF,
    "tiny": TINY,
    "nano": TINY.nano(batch_size=4, frozen=()),
}
