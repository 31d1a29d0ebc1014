"""Transformer in Transformer (arXiv 2103.00112): TNT as a recognizer of pictures and clips.

Authors' code: github.com/huawei-noah/Efficient-AI-Backbones (Apache-2.0). A ViT that attends inside
its patches too; a clip is read frame by frame. What is verified is in the card.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from kinema.card import Card
from kinema.config import config
from kinema.networks.tnt import TNT, TNTConfig, tnt_b, tnt_s, tnt_ti
from kinema.systems import recognizer_frames as frames
from kinema.systems.model import Part
from kinema.systems.recognizer import FrameRecognizer, RecognizerConfig, numbered
from kinema.systems.recognizer_files import RecognizerFiles, to_network
from kinema.weights.maps import tnt as maps

CARD = Card(
    name="tnt",
    number=56,
    title="Transformer in Transformer",
    arxiv="2103.00112",
    year=2021,
    kind="recognizer",
    job="a picture or a clip, read frame by frame, gets a class",
    code="github.com/huawei-noah/Efficient-AI-Backbones",
    code_license="Apache-2.0",
    weights_license="Apache-2.0",
    claim="attention inside patches finds details that a ViT of the same cost misses",
    applies=("full", "weights", "parity", "tiny", "run", "claim"),
    verified=(
        "by a recorded case: words, both transformers of a block, features, logits",
        "names and counts of parameters of TNT-S and TNT-B",
        "the recipe, by the authors' command line",
    ),
    inferred=("sizes of TNT-Ti, from the paper's table", "label smoothing of 0.1"),
    deviations=(
        "a clip's features are the mean of those of its frames; the paper has pictures alone",
        "no RandAugment, color jitter, random erasing and repeated augmentation",
        "the learning rate falls in a line, not as a cosine; weights of positions decay too",
        "tiny and nano learn the color of what has corners, since frames tell no motion",
    ),
)
HALF = (0.5, 0.5, 0.5)


@config
class TNTRecognizerConfig(RecognizerConfig):
    """Classes, views and the network."""

    network: TNTConfig


def full() -> TNTRecognizerConfig:
    """TNT-S for the 1000 classes of ImageNet: 23,768,584 parameters."""
    return _imagenet(tnt_s(1000))


def ti() -> TNTRecognizerConfig:
    """TNT-Ti, of which no weights are published: 6,076,408 parameters."""
    return _imagenet(tnt_ti(1000))


def b() -> TNTRecognizerConfig:
    """TNT-B: 65,428,680 parameters."""
    return _imagenet(tnt_b(1000))


def _imagenet(network: TNTConfig) -> TNTRecognizerConfig:
    views = frames.picture_views(size=224, resize=248, mean=HALF, std=HALF)
    return TNTRecognizerConfig(labels=numbered(network.num_classes), views=views, network=network)


def tiny() -> TNTRecognizerConfig:
    """Trains on two cores in minutes: 16 patches of 16 words in frames of 64x64."""
    whole = full()
    network = replace(
        whole.network,
        image_size=64,
        width=96,
        num_layers=4,
        num_heads=4,
        word_width=12,
        word_heads=2,
        num_classes=len(frames.COLORS),
        drop_path=0.0,
    )
    views = frames.drawn_views(whole.views, 64)
    return TNTRecognizerConfig(labels=frames.COLORS, views=views, network=network)


def nano() -> TNTRecognizerConfig:
    """The real classes at under 200,000 parameters, for contract tests."""
    base = tiny()
    network = replace(
        base.network, image_size=32, width=24, num_layers=2, num_heads=2, word_width=4
    )
    return replace(base, views=frames.drawn_views(base.views, 32), network=network)


VERSIONS = {"full": full, "ti": ti, "b": b}
RECIPES = {
    **dict.fromkeys(VERSIONS, frames.DEIT),
    "tiny": frames.DRAWN,
    "nano": frames.DRAWN.nano(batch_size=4),
}


class TNTRecognizer(FrameRecognizer):
    """The system: `classify` names what a picture or a clip shows."""

    CARD = CARD
    CONFIG = TNTRecognizerConfig
    PRESETS: ClassVar = {**VERSIONS, "tiny": tiny, "nano": nano}
    STAGES: ClassVar = {"classifier": frames.frame_stage(RECIPES, trains=("network",))}
    PUBLISHED = RecognizerFiles(
        name=CARD.name,
        parts={"network": TNT},
        versions=VERSIONS,
        find=to_network(maps.find),
        fresh=(),
    ).published()
    config: TNTRecognizerConfig
    network = Part(TNT)


SYSTEM = TNTRecognizer
