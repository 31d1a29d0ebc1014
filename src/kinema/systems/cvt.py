"""CvT: Introducing Convolutions to Vision Transformers (arXiv 2103.15808), as a recognizer.

Authors' code: github.com/microsoft/CvT (MIT). A transformer of three stages whose tokens, queries,
keys and values are convolved, without positions; a clip is read frame by frame. What is verified is
in the card.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from kinema.card import Card
from kinema.config import config
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from kinema.networks.cvt import CvT
from kinema.networks.cvt_config import CvTConfig, cvt_13, cvt_21, cvt_w24, stage
from kinema.systems import recognizer_frames as frames
from kinema.systems.model import Part
from kinema.systems.recognizer import FrameRecognizer, RecognizerConfig, numbered
from kinema.systems.recognizer_files import RecognizerFiles, to_network
from kinema.weights.maps import cvt as maps

CARD = Card(
    name="cvt",
    number=61,
    title="CvT: Introducing Convolutions to Vision Transformers",
    arxiv="2103.15808",
    year=2021,
    kind="recognizer",
    job="a picture or a clip, read frame by frame, gets a class",
    code="github.com/microsoft/CvT",
    code_license="MIT",
    weights_license="MIT",
    claim="with convolutions a vision transformer needs no positions and loses nothing by it",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by a recorded case: embeddings, stages, a block, features, logits",
        "names and counts of parameters of CvT-13, CvT-21 and CvT-W24",
        "against transformers' class, with the authors' QuickGELU in the place of its GELU",
        "sizes, drop path and weight decay, by the authors' configurations",
    ),
    inferred=("the learning rate of the whole batch, from that of one device",),
    deviations=(
        "a clip's features are the mean of those of its frames; the paper has pictures alone",
        "no RandAugment, random erasing and repeated augmentation, no epochs after the last rate",
        "the learning rate falls in a line, not as a cosine",
        "tiny and nano learn the color of what has corners, since frames tell no motion",
        "under gradient checkpointing statistics of batch norms move twice a step",
    ),
    dead={
        "*.attn.proj_k.bias": "what is added to all keys changes no softmax",
        "*.stages.0.*.attn.conv_proj_k.bn.bias": "without a class token it is added to all keys",
        "*.stages.1.*.attn.conv_proj_k.bn.bias": "without a class token it is added to all keys",
        "*.stages.2.blocks.1.attn.conv_proj_q.*": "last block of tiny: the class token alone asks",
        "*.stages.2.blocks.9.attn.conv_proj_q.*": "last block of CvT-13, likewise",
        "*.stages.2.blocks.15.attn.conv_proj_q.*": "last block of CvT-21, likewise",
        "*.stages.2.blocks.19.attn.conv_proj_q.*": "last block of CvT-W24, likewise",
    },
)


@config
class CvTRecognizerConfig(RecognizerConfig):
    """Classes, views and the network."""

    network: CvTConfig


def imagenet(network: CvTConfig, side: int) -> CvTRecognizerConfig:
    """A network of ImageNet's classes for frames of so many pixels."""
    # At 224 pixels the middle of a frame is cut out, at 384 the whole square is seen.
    views = frames.picture_views(
        size=side, resize=max(side, 256), mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    return CvTRecognizerConfig(labels=numbered(network.num_classes), views=views, network=network)


VERSIONS = {
    "full": lambda: imagenet(cvt_13(1000), 224),
    "13-384": lambda: imagenet(cvt_13(1000), 384),
    "21": lambda: imagenet(cvt_21(1000), 224),
    "21-384": lambda: imagenet(cvt_21(1000), 384),
    "w24-384": lambda: imagenet(cvt_w24(1000), 384),
}


def tiny() -> CvTRecognizerConfig:
    """Trains on two cores in minutes: frames of 64x64, maps of 16, 8 and 4 places a side."""
    network = CvTConfig(
        stages=(stage(0, 24, 1, 1, 0.0), stage(1, 48, 2, 2, 0.0), stage(2, 96, 4, 2, 0.0)),
        class_token=True,
        num_classes=len(frames.COLORS),
    )
    views = frames.drawn_views(VERSIONS["full"]().views, 64)
    return CvTRecognizerConfig(labels=frames.COLORS, views=views, network=network)


def nano() -> CvTRecognizerConfig:
    """The real classes at under 200,000 parameters, for contract tests."""
    base = tiny()
    stages = (stage(0, 8, 1, 1, 0.0), stage(1, 12, 2, 1, 0.0), stage(2, 24, 2, 2, 0.0))
    network = replace(base.network, stages=stages)
    return replace(base, network=network, views=frames.drawn_views(base.views, 32))


# As DeiT's, with twice the batch and rate, and no average of the weights.
FULL = replace(
    frames.DEIT, steps=187_500, batch_size=2048, learning_rate=2e-3, warmup=3125, ema=0.0
)
LARGER = replace(FULL, weight_decay=0.1)
RECIPES = {
    **dict.fromkeys(("full", "13-384"), FULL),
    **dict.fromkeys(("21", "21-384", "w24-384"), LARGER),
    "tiny": frames.DRAWN,
    "nano": frames.DRAWN.nano(batch_size=4),
}


class CvTRecognizer(FrameRecognizer):
    """The system: `classify` names what a picture or a clip shows."""

    CARD = CARD
    CONFIG = CvTRecognizerConfig
    PRESETS: ClassVar = {**VERSIONS, "tiny": tiny, "nano": nano}
    STAGES: ClassVar = {"classifier": frames.frame_stage(RECIPES, trains=("network",))}
    PUBLISHED = RecognizerFiles(
        name=CARD.name,
        parts={"network": CvT},
        versions=VERSIONS,
        find=to_network(maps.find),
        fresh=(),
    ).published()
    config: CvTRecognizerConfig
    network = Part(CvT)


SYSTEM = CvTRecognizer
