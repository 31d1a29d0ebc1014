"""Configuration and presets of IA-RED^2.

Paper, code and license: see `ia_red2.py`. Sizes of `tiny` and `nano` are ours.
"""

from __future__ import annotations

from dataclasses import replace

from kinema.config import config
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from kinema.networks.deit import DeiTConfig, deit_s
from kinema.networks.ia_red2 import InterpretersConfig, check_fit, deit_s_interpreters
from kinema.systems.recognizer import RecognizerConfig, numbered
from kinema.systems.recognizer_frames import COLORS, drawn_views, picture_views


@config
class IARED2Config(RecognizerConfig):
    """Classes, views, the transformer and its interpreters."""

    network: DeiTConfig
    policy: InterpretersConfig

    def __post_init__(self) -> None:
        RecognizerConfig.__post_init__(self)
        check_fit(self.network, self.policy)


def full() -> IARED2Config:
    """DeiT-S for the 1000 classes of ImageNet in three groups: 23,381,224 parameters."""
    views = picture_views(size=224, resize=256, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return IARED2Config(
        labels=numbered(1000), views=views, network=deit_s(1000), policy=deit_s_interpreters()
    )


def tiny() -> IARED2Config:
    """Trains on two cores in minutes: 64 patches of frames of 64x64, six blocks in three groups."""
    network = DeiTConfig(
        image_size=64,
        patch_size=8,
        width=48,
        num_layers=6,
        num_heads=3,
        num_classes=len(COLORS),
    )
    return IARED2Config(
        labels=COLORS,
        views=drawn_views(full().views, 64),
        network=network,
        policy=InterpretersConfig(width=48, num_heads=3, groups=(2, 2, 2)),
    )


def nano() -> IARED2Config:
    """The real classes at under 200,000 parameters, for contract tests."""
    base = tiny()
    return replace(
        base,
        views=drawn_views(base.views, 32),
        network=replace(base.network, image_size=32, width=24, num_layers=3, num_heads=2),
        policy=InterpretersConfig(width=24, num_heads=2, groups=(1, 1, 1)),
    )


VERSIONS = {"full": full}
PRESETS = {**VERSIONS, "tiny": tiny, "nano": nano}
