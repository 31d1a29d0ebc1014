"""UniFormerV2 (arXiv 2211.09552): an image ViT armed to recognize what happens in clips.

Authors' code: github.com/OpenGVLab/UniFormerV2 (Apache-2.0). It starts from CLIP's image tower;
local aggregators mix neighboring frames, and a video token reads all of them. What is verified is
in the card.
"""

from __future__ import annotations

from typing import ClassVar

from kinema.card import Card
from kinema.networks.uniformerv2 import UniFormerV2
from kinema.systems.model import Part
from kinema.systems.recognizer import Recognizer
from kinema.systems.recognizer_files import to_network
from kinema.systems.recognizer_from_clip import FromCLIP
from kinema.systems.recognizer_training import classifier_stage
from kinema.systems.uniformerv2_presets import (
    PRESETS,
    RECIPES,
    VERSIONS,
    UniFormerV2ModelConfig,
)
from kinema.weights.maps.uniformerv2 import find

CARD = Card(
    name="uniformerv2",
    number=14,
    title="UniFormerV2: Spatiotemporal Learning by Arming Image ViTs with Video UniFormer",
    arxiv="2211.09552",
    year=2022,
    kind="recognizer",
    job="a clip gets a class",
    code="github.com/OpenGVLab/UniFormerV2",
    code_license="Apache-2.0",
    weights_license="Apache-2.0",
    claim="global and local aggregators let an image ViT see motion that a mean of frames hides",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by recorded cases: tokens, blocks, readers and logits of the global, the local and global "
        "and the frozen form",
        "names and counts of parameters of seven published models",
        "at first it is the image tower, whose class tokens it averages, against transformers",
        "published recipes, and which frames a test sees, by the authors' scripts",
    ),
    inferred=(
        "epochs in steps, from sizes of the data sets that are recalled",
        "the prefix of names in published files",
        "recipes of L/14: those of Kinetics-710, on Kinetics-400",
    ),
    deviations=(
        "no RandAugment and color jitter, and no two augmented copies of a clip in a batch",
        "frames that shrink are averaged; theirs are sampled",
        "the learning rate falls in a line to zero, not as a cosine to 1e-6",
        "drop path skips attention or MLP of a frame; by the layout of the authors' tokens theirs "
        "skips them for one place in all frames of the batch",
        "tiny starts from nothing, since there is no CLIP of its size",
    ),
)


class UniFormerV2Recognizer(Recognizer):
    """The system: `classify` names what a clip shows.

    Training starts from a CLIP model where there is one of the size, as in
    ``kinema train uniformerv2:full@CLIP --stage classifier --data FOLDER``.
    """

    CARD = CARD
    CONFIG = UniFormerV2ModelConfig
    PRESETS = PRESETS
    STAGES: ClassVar = {"classifier": classifier_stage(RECIPES, trains=("network",))}
    PUBLISHED = FromCLIP(
        name=CARD.name,
        parts={"network": UniFormerV2},
        versions=VERSIONS,
        find=to_network(find),
        fresh=(),
    ).published()
    config: UniFormerV2ModelConfig
    network = Part(UniFormerV2)


SYSTEM = UniFormerV2Recognizer
