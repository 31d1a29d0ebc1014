"""Configuration, projections and presets of Frozen in Time.

Paper, code and license: see `frozen_in_time.py`. Sizes of `tiny` and `nano` are ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.networks import distilbert
from kinema.networks.distilbert import DistilBERTConfig
from kinema.networks.space_time_vit import Growth, SpaceTimeViTConfig, base_patch16_224
from kinema.networks.word_encoder import WordEncoderConfig
from kinema.nn.factory import Factory
from kinema.worlds.shapes import VOCABULARY


@config
class ProjectionsConfig:
    """Widths of the encoders and of the embeddings that both are projected to."""

    text_width: int
    video_width: int
    width: int


@config
class FrozenInTimeConfig:
    """Networks and search.

    Args:
        text, video: the encoders.
        projections: from their states to embeddings.
        growth: the temporal positions that a model lacks which weights are taken from.
        shown: the most lines of a ranking.
    """

    text: WordEncoderConfig | DistilBERTConfig
    video: SpaceTimeViTConfig
    projections: ProjectionsConfig
    growth: Growth
    shown: int

    def __post_init__(self) -> None:
        if self.shown < 1:
            raise InputError(f"shown must be at least 1, not {self.shown}")
        for name, of in (("text", self.text), ("video", self.video)):
            if (width := getattr(self.projections, f"{name}_width")) != of.width:
                raise InputError(f"projections.{name}_width is {width}, {name}.width {of.width}")


class Projections(nn.Module):
    """Both encoders' states to embeddings of one width; parameter names are the authors'."""

    def __init__(self, config: ProjectionsConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        text = nn.Linear(config.text_width, config.width, **factory)
        video = nn.Linear(config.video_width, config.width, **factory)
        # The ReLU lies before the linear layer, not behind it.
        self.txt_proj = nn.Sequential(nn.ReLU(), text)
        self.vid_proj = nn.Sequential(video)

    def text(self, states: Tensor) -> Tensor:
        """States of texts (B, D) -> embeddings (B, E)."""
        return self.txt_proj(states)

    def video(self, states: Tensor) -> Tensor:
        """States of clips (B, D) -> embeddings (B, E)."""
        return self.vid_proj(states)


def full() -> FrozenInTimeConfig:
    """The published model: 180,925,184 parameters. Its tokenizer is read from text.folder."""
    return FrozenInTimeConfig(
        text=distilbert.base("distilbert-base-uncased"),
        video=base_patch16_224(num_frames=4),
        projections=ProjectionsConfig(text_width=768, video_width=768, width=256),
        growth="zeros",
        shown=10,
    )


def frames8() -> FrozenInTimeConfig:
    """The same for 8 frames: 180,928,256 parameters."""
    base = full()
    return replace(base, video=replace(base.video, num_frames=8))


def tiny() -> FrozenInTimeConfig:
    """Trains on two cores in minutes: up to 4 frames of 32x32, the words of the world `shapes`."""
    return FrozenInTimeConfig(
        text=WordEncoderConfig(
            vocabulary=VOCABULARY, max_words=40, width=48, num_layers=2, num_heads=4
        ),
        video=SpaceTimeViTConfig(
            image_size=32,
            patch_size=8,
            width=48,
            num_layers=3,
            num_heads=4,
            num_frames=4,
            time_init="rand",
        ),
        projections=ProjectionsConfig(text_width=48, video_width=48, width=32),
        growth="zeros",
        shown=10,
    )


def nano() -> FrozenInTimeConfig:
    """The real classes at under 200,000 parameters, for contract tests."""
    base = tiny()
    return replace(
        base,
        text=replace(base.text, width=16, num_layers=1, num_heads=2),
        video=replace(base.video, width=24, num_layers=2, num_heads=2),
        projections=ProjectionsConfig(text_width=16, video_width=24, width=16),
    )


VERSIONS = {version.__name__: version for version in (full, frames8)}
PRESETS = {**VERSIONS, "tiny": tiny, "nano": nano}
