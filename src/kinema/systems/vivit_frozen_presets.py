"""Configuration, presets and recipes of ViViT with a frozen spatial transformer.

Papers, code and license: see `vivit_frozen.py`. Sizes and views are those of ViViT's published
configurations, `tiny` and `nano` are ours.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from kinema.config import config
from kinema.data.views import Views
from kinema.errors import InputError
from kinema.networks.vivit_config import (
    TUBELET,
    SpatialConfig,
    TemporalConfig,
    check_fit,
    spatial_b_16,
    spatial_l_16,
    temporal_of,
)
from kinema.systems.recognizer import RecognizerConfig, numbered
from kinema.systems.recognizer_frames import DEIT, DRAWN
from kinema.training.classification import ClassifierRecipe
from kinema.worlds.motion_classes import CLASSES

HALF = (0.5, 0.5, 0.5)
IMAGE = "image"  # in the place of a file: the image model that the spatial transformer is
R = TypeVar("R", bound=ClassifierRecipe)


@config
class ViViTFrozenConfig(RecognizerConfig):
    """Classes, views and both transformers; `network` is the temporal one with its adapter."""

    spatial: SpatialConfig
    network: TemporalConfig

    def __post_init__(self) -> None:
        RecognizerConfig.__post_init__(self)
        check_fit(self.spatial, self.network)
        frames, side = self.network.num_steps * TUBELET, self.spatial.image_size
        if (self.views.num_frames, self.views.size) != (frames, side):
            raise InputError(
                f"the transformers read {frames} frames of {side} pixels, but the views show "
                f"{self.views.num_frames} of {self.views.size}"
            )


@config
class FrozenRecipe(ClassifierRecipe):
    """How the temporal transformer is trained.

    Args:
        temporal: what the temporal transformer starts from: `IMAGE`, the last blocks of the spatial
            one; a file of `videomae_v2`, its first blocks; or, where it is empty, what the model
            has.
    """

    temporal: str = ""


@config
class CachedRecipe(FrozenRecipe):
    """The same on features that are computed once; `clips` of them if a world draws the clips."""

    clips: int

    def __post_init__(self) -> None:
        FrozenRecipe.__post_init__(self)
        if self.clips < 1:
            raise InputError(f"clips must be at least 1, not {self.clips}")


def _of(spatial: SpatialConfig, network: TemporalConfig) -> ViViTFrozenConfig:
    """Transformers of Kinetics-400 with the views of their test."""
    views = Views(
        num_frames=TUBELET * network.num_steps,
        stride=2,
        size=spatial.image_size,
        resize=spatial.image_size,
        interpolation="bilinear",
        clips=4,
        crops=3,
        mean=HALF,
        std=HALF,
    )
    labels = numbered(network.num_classes)
    return ViViTFrozenConfig(labels=labels, views=views, spatial=spatial, network=network)


def full() -> ViViTFrozenConfig:
    """B/16x2 with an adapter, for 32 frames and 400 classes: 122,302,864 parameters.

    35,914,384 of them are trained when the spatial transformer is frozen.
    """
    spatial = spatial_b_16()
    return _of(spatial, temporal_of(spatial, num_frames=32, num_classes=400, adapter="pooling"))


def large() -> ViViTFrozenConfig:
    """L/16x2 with an adapter: 367,702,416 parameters, 63,614,352 of them beside the spatial ones.

    What freezing saves may be spent on it.
    """
    spatial = spatial_l_16()
    return _of(spatial, temporal_of(spatial, num_frames=32, num_classes=400, adapter="pooling"))


def plain() -> ViViTFrozenConfig:
    """B/16x2 as ViViT has it, without an adapter: 115,062,928 parameters."""
    whole = full()
    return replace(whole, network=replace(whole.network, adapter="class token"))


def tiny() -> ViViTFrozenConfig:
    """For the world `motions`; trains on two cores in minutes."""
    spatial = SpatialConfig(image_size=32, patch_size=8, width=64, num_layers=4, num_heads=4)
    base = temporal_of(spatial, num_frames=32, num_classes=len(CLASSES), adapter="pooling")
    whole = replace(_of(spatial, replace(base, num_layers=2)), labels=CLASSES)
    return replace(whole, views=replace(whole.views, stride=None, clips=1, crops=1))


def nano() -> ViViTFrozenConfig:
    """The real classes at under 200,000 parameters, for contract tests."""
    whole = tiny()
    return replace(
        whole,
        views=replace(whole.views, num_frames=6),
        spatial=replace(whole.spatial, width=24, num_layers=2, num_heads=2),
        network=replace(whole.network, width=24, num_layers=1, num_heads=2, num_steps=3),
    )


VERSIONS = {version.__name__: version for version in (full, large, plain)}
PRESETS = {**VERSIONS, "tiny": tiny, "nano": nano}


def _as(kind: type[R], recipe: ClassifierRecipe, **more: Any) -> R:
    """A recipe as one of another class, with what that has beside."""
    return kind(**{field.name: getattr(recipe, field.name) for field in fields(recipe)}, **more)


# 30 epochs of the 214,834 clips of Kinetics-400 that ViViT had, 2.5 of them to the peak.
FULL = _as(
    FrozenRecipe,
    replace(
        DEIT,
        steps=100_700,
        batch_size=64,
        learning_rate=3e-4,
        warmup=8400,
        decay=0.92,
        weight_decay=0.0,
        clip_norm=1.0,
        ema=0.0,
        label_smoothing=0.0,
        mixup=0.0,
        cutmix=0.0,
        crop_area=(0.56, 1.0),
    ),
)
TINY = _as(FrozenRecipe, replace(DRAWN, steps=2200, label_smoothing=0.0))
NANO = TINY.nano(batch_size=4)
# What an image model is at the published sizes: a transformer that knows what stills show.
IMAGES = {"tiny": replace(TINY, steps=4000), "nano": NANO}
RECIPES = {**dict.fromkeys(VERSIONS, FULL), "tiny": TINY, "nano": NANO}
CACHED = {
    **dict.fromkeys(VERSIONS, _as(CachedRecipe, FULL, clips=214_834)),
    "tiny": _as(CachedRecipe, TINY, clips=4096),
    "nano": _as(CachedRecipe, NANO, clips=8),
}
