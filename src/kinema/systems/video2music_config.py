"""Configuration of Video2Music, and its presets.

Paper, code and license: see `video2music.py`. The sizes of `tiny` and `nano` are ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from kinema.conditions.video_features import NUM_COLOR_FEATURES
from kinema.config import config
from kinema.errors import InputError
from kinema.media import chords
from kinema.networks import affective_music_transformer, bigru_regressor
from kinema.networks.affective_music_transformer import AffectiveMusicTransformerConfig
from kinema.networks.bigru_regressor import BiGRURegressorConfig
from kinema.sample import Features


@config
class Sampling:
    """How music is made.

    Args:
        key: of the music: ``C major``, ``F# minor``.
        primer: the chords that it begins with, one a second, as they are named in C major or
            A minor: ``C Am F G``. They are transposed with the rest; empty: the tonic.
        most_equal: how many equal chords may follow one another.
        silence: whether a second may be without a chord.
        sample_rate_hz: of the sound.
    """

    key: str = "C major"
    primer: str = ""
    most_equal: int = 2
    silence: bool = False
    sample_rate_hz: int = 22_050

    def __post_init__(self) -> None:
        chords.read_key(self.key)
        for name in self.primer.split():
            chords.read_chord(name)
        if self.most_equal < 1:
            raise InputError(f"most_equal must be at least 1, not {self.most_equal}")

    @property
    def begins_with(self) -> tuple[int, ...]:
        """The ids of the primer's chords."""
        tonic = "Am" if chords.read_key(self.key)[1] else "C"
        return tuple(chords.read_chord(name) for name in (self.primer or tonic).split())


@config
class Video2MusicConfig:
    """Networks and sampling.

    Args:
        transformer, regressor: the networks.
        features: what they read: those of CLIP beside scene offset and motion, or the stand-ins of
            `kinema.conditions.video_features.color_features`.
        sampling: how music is made.
    """

    transformer: AffectiveMusicTransformerConfig
    regressor: BiGRURegressorConfig
    features: Literal["clip", "colors"]
    sampling: Sampling

    def __post_init__(self) -> None:
        count = self.transformer.num_features
        if self.regressor.num_features != count:
            raise InputError("transformer and regressor must read as many features")
        if self.features == "colors" and count != NUM_COLOR_FEATURES:
            raise InputError(f"there are {NUM_COLOR_FEATURES} color features, not {count}")
        if self.transformer.max_chords < self.transformer.max_seconds:
            raise InputError("max_chords must be at least max_seconds: each second has a chord")

    def expect(self, features: Features) -> None:
        """Raises InputError unless the networks can read the features of a video."""
        sizes = self.transformer
        seconds, width = features.x.shape
        if width != sizes.num_features:
            raise InputError(f"this model reads {sizes.num_features} features, not {width}")
        if not 1 <= seconds <= sizes.max_seconds:
            raise InputError(
                f"the video has {seconds} seconds; this model takes 1 to {sizes.max_seconds}"
            )
        if not np.allclose(features.seconds, np.arange(seconds), atol=1e-3):
            raise InputError("features must be given for the seconds 0, 1, 2 ...")


def full() -> Video2MusicConfig:
    """The published model: up to 300 seconds, features of CLIP."""
    return Video2MusicConfig(
        transformer=affective_music_transformer.amt(),
        regressor=bigru_regressor.bigru(),
        features="clip",
        sampling=Sampling(),
    )


def tiny() -> Video2MusicConfig:
    """Trains on two cores in minutes: songs of up to 60 seconds."""
    return Video2MusicConfig(
        transformer=AffectiveMusicTransformerConfig(
            num_layers=2,
            num_heads=4,
            width=96,
            hidden=192,
            num_features=NUM_COLOR_FEATURES,
            max_seconds=60,
            max_chords=60,
        ),
        regressor=BiGRURegressorConfig(num_layers=2, width=32, num_features=NUM_COLOR_FEATURES),
        features="colors",
        sampling=Sampling(),
    )


def nano() -> Video2MusicConfig:
    """The real classes at under 200,000 parameters, for contract tests: up to 16 seconds."""
    base = tiny()
    return replace(
        base,
        transformer=replace(
            base.transformer,
            num_layers=1,
            num_heads=2,
            width=16,
            hidden=32,
            max_seconds=16,
            max_chords=16,
        ),
        regressor=replace(base.regressor, width=8),
    )


PRESETS = {preset.__name__: preset for preset in (full, tiny, nano)}
