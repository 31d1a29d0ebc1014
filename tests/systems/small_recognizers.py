"""Two recognizers of no paper, with real networks: one of clips, one of frames."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.card import Card
from kinema.config import config
from kinema.data.views import Views
from kinema.networks.vit import PatchEmbed, plain_block
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.dropping import Dropout
from kinema.nn.factory import Factory
from kinema.systems.model import Part
from kinema.systems.recognizer import FrameRecognizer, Recognizer, RecognizerConfig
from kinema.systems.recognizer_training import classifier_stage
from kinema.training.classification import ClassifierRecipe
from kinema.worlds.motion_classes import CLASSES

CARD = Card(
    name="small",
    number=0,
    title="",
    arxiv="",
    year=2026,
    kind="recognizer",
    job="",
    code="",
    code_license="",
    weights_license="",
    claim="",
    applies=(),
    verified=(),
)


@config
class SmallNetworkConfig:
    """Sizes."""

    image_size: int
    patch: tuple[int, ...]
    tokens: int
    width: int
    num_layers: int
    dropout: float
    num_classes: int


class SmallNetwork(Checkpointed):
    """A ViT without a class token: the mean of all tokens is what the head reads."""

    def __init__(self, config: SmallNetworkConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.patch_embed = PatchEmbed(config.patch, width, bias=True, **factory)
        self.positions = nn.Parameter(torch.zeros(1, config.tokens, width, **factory))
        self.blocks = nn.ModuleList(
            plain_block(f"blocks.{i}", width, 4, activation=F.gelu, eps=1e-6, **factory)
            for i in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width, **factory)
        self.dropout = Dropout(config.dropout, "head")
        self.head = nn.Linear(width, config.num_classes, **factory)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x) + self.positions
        return self.norm(self.through(self.blocks, x, None)).mean(1)

    def forward_head(self, features: Tensor) -> Tensor:
        return self.head(self.dropout(features))

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


@config
class SmallConfig(RecognizerConfig):
    """Of both."""

    network: SmallNetworkConfig


def of_clips() -> SmallConfig:
    """8 frames of 32 x 32, as tubelets of 2 x 8 x 8."""
    return SmallConfig(
        labels=CLASSES,
        views=Views(
            num_frames=8,
            stride=None,
            size=32,
            resize=32,
            interpolation="bilinear",
            clips=1,
            crops=1,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
        network=SmallNetworkConfig(
            image_size=32,
            patch=(2, 8, 8),
            tokens=64,
            width=16,
            num_layers=2,
            dropout=0.1,
            num_classes=len(CLASSES),
        ),
    )


def of_frames() -> SmallConfig:
    """The same, frame by frame."""
    base = of_clips()
    return replace(base, network=replace(base.network, patch=(8, 8), tokens=16))


RECIPE = ClassifierRecipe(
    steps=6,
    batch_size=4,
    learning_rate=1e-3,
    warmup=1,
    report_every=3,
    save_every=3,
    held_out=8,
    label_smoothing=0.1,
    mixup=0.0,
    cutmix=0.0,
    layer_decay=1.0,
    frozen=(),
    flip=0.0,
    crop_area=(1.0, 1.0),
)
STAGES = {"classifier": classifier_stage({"nano": RECIPE}, trains=("network",))}


class Small(Recognizer):
    """Reads clips."""

    CARD = CARD
    CONFIG = SmallConfig
    PRESETS: ClassVar = {"nano": of_clips}
    STAGES = STAGES
    config: SmallConfig
    network = Part(SmallNetwork)


class SmallFrames(FrameRecognizer):
    """Reads frames."""

    CARD = CARD
    CONFIG = SmallConfig
    PRESETS: ClassVar = {"nano": of_frames}
    STAGES = STAGES
    config: SmallConfig
    network = Part(SmallNetwork)


def small(kind: type[Recognizer] = Small) -> Recognizer:
    """One with fixed weights."""
    torch.manual_seed(0)
    return kind(kind.PRESETS["nano"]())
