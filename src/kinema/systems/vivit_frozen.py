"""Optimizing ViViT Training: Time and Memory Reduction for Action Recognition (arXiv 2306.04822).

Authors' code: none is published; that of ViViT is github.com/google-research/scenic (Apache-2.0). A
factorized ViViT whose spatial transformer stays as the image model that it is: an adapter and a
temporal transformer that does not start from nothing make good for it. What is verified is in the
card.

Letters: B clips, T steps in time, N tokens of a step, D width, S side of a frame, K classes.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from kinema.card import Card
from kinema.networks.vivit import SpatialTransformer, TemporalTransformer
from kinema.systems.model import Model, Part
from kinema.systems.recognizer import Recognizer
from kinema.systems.videomae_v2 import VideoMAEV2
from kinema.systems.vivit_frozen_files import FromImageViT
from kinema.systems.vivit_frozen_presets import IMAGE, PRESETS, VERSIONS, ViViTFrozenConfig
from kinema.systems.vivit_frozen_training import STAGES
from kinema.weights.maps.vit import find

CARD = Card(
    name="vivit_frozen",
    number=20,
    title="Optimizing ViViT Training: Time and Memory Reduction for Action Recognition",
    arxiv="2306.04822",
    year=2023,
    kind="recognizer",
    job="a clip gets a class, by a video transformer that is trained in half of the time",
    code="github.com/google-research/scenic",
    code_license="Apache-2.0",
    weights_license="none published",
    claim="an adapter and first values for the temporal transformer make good for a frozen "
    "spatial one",
    applies=("full", "tiny", "run", "claim"),
    verified=(
        "parameters of ViViT-B/16x2 with a factorized encoder: the paper's 115.1 million",
        "tubelets, positions and blocks, against transformers",
        "a frozen step takes 36 % of the operations and of the time of one that trains all, and "
        "keeps 5 % of its activations; on kept features 6 % of the time",
    ),
    inferred=(
        "the adapter, our reading: one block in which the class token of a step picks from its "
        "tokens and their places, at first the class token; or a block of all tokens",
        "the first values of the temporal transformer, our reading: the last blocks of the image "
        "model, or the first of VideoMAE",
        "learning rates, since ours is AdamW",
    ),
    deviations=(
        "AdamW in the place of SGD with momentum",
        "no color jitter, gray frames, RandAugment; scales are those of random crops",
        "the learning rate falls in a line, not as a cosine",
        "features may be kept, which the paper does not do",
        "tiny learns colors and places in stills before, there being no image model of its size",
    ),
)


class ViViTFrozen(Recognizer):
    """The system: `classify` names what a clip shows.

    It starts from an image ViT: ``kinema train vivit_frozen:full@VIT --stage classifier --data
    FOLDER``; or, where there is none of the size, from the stage `image`, whose model is handed on
    by ``--start-from FILE``. The stage `cached` keeps what the frozen transformer says; `whole`
    trains all, and takes the image model by ``--start-from FILE --warm --set
    recipe.temporal=image``.
    """

    CARD = CARD
    CONFIG = ViViTFrozenConfig
    PRESETS = PRESETS
    STAGES: ClassVar = STAGES
    PUBLISHED = FromImageViT(
        name=CARD.name,
        parts={"spatial": SpatialTransformer, "network": TemporalTransformer},
        versions=VERSIONS,
        find=find,
        fresh=(),
    ).published()
    config: ViViTFrozenConfig
    spatial = Part(SpatialTransformer)
    network = Part(TemporalTransformer)

    def normalized(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, 2 T, S, S) in [-1, 1] as the spatial transformer reads them."""
        return self._normalized(clips)

    def tokens(self, clips: Tensor) -> Tensor:
        """What the spatial transformer says of clips (B, 3, 2 T, S, S) in [-1, 1]: (B, T, N, D)."""
        return self.spatial(self.normalized(clips))

    def frozen_tokens(self, clips: Tensor) -> Tensor:
        """The same, through which no gradient goes, so that no activation is kept."""
        with torch.no_grad():
            return self.tokens(clips)

    def forward_features(self, clips: Tensor) -> Tensor:
        """What the head reads (B, D), of clips (B, 3, 2 T, S, S) in [-1, 1]."""
        return self.network.forward_features(self.frozen_tokens(clips))

    def logits_of(self, tokens: Tensor) -> Tensor:
        """Logits (B, K) of tokens (B, T, N, D)."""
        return self.network(tokens.to(next(self.network.parameters())))

    def whole_logits(self, clips: Tensor) -> Tensor:
        """Logits (B, K) of clips, through which the spatial transformer learns too."""
        return self.network(self.tokens(clips))

    def start_from(self, other: Model, roles: tuple[str, ...]) -> None:
        """As for every recognizer; a temporal transformer that is not taken over starts from the
        last blocks of the spatial one.
        """
        super().start_from(other, roles)
        if "spatial" in roles and "network" not in roles:
            self.start_temporal(IMAGE)

    def start_temporal(self, named: str) -> None:
        """Starts the temporal transformer from blocks that have learned, if any are named.

        Args:
            named: as `FrozenRecipe.temporal`.

        Raises:
            InputError: the file of VideoMAE V2 is damaged, or its blocks are of another size.
        """
        count = self.config.network.num_layers
        if named == IMAGE:
            self.network.take(self.spatial.blocks[-count:])
        elif named:
            self.network.take(VideoMAEV2.from_pretrained(named).network.blocks[:count])


SYSTEM = ViViTFrozen
