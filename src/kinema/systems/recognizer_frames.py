"""The training plan of recognizers that read clips frame by frame; see `recognizer.py`.

Motion cannot be told from single frames, so of the clips of the world `motions` they learn another
class: the color of the object with corners, beside which a round one wanders about. A folder of
clips sorted by class is read as every recognizer reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kinema.data.batches import SegmentFrames, Source
from kinema.data.clips import SPLITS, split_of
from kinema.data.mixing import MixedClips
from kinema.data.preprocessing import Triple
from kinema.data.views import Views
from kinema.systems import recognizer_training
from kinema.systems.recognizer import FrameRecognizer, Recognizer
from kinema.systems.recognizer_training import (
    ClassifierStage,
    LabeledClips,
    classifier_stage,
    drawn_size,
    is_folder,
    small,
)
from kinema.training.classification import ClassifierRecipe
from kinema.training.recipe import UNCLIPPED
from kinema.worlds import palette
from kinema.worlds.motion_classes import FEWEST_FRAMES

COLORS = tuple(palette.COLORS)  # of the object that counts in clips of the world `motions`
NUM_FRAMES = 8  # of a clip that are looked at; no paper says
LEARNED = 2  # frames of a drawn clip that are learned from

# 300 epochs of ImageNet as DeiT (arXiv:2012.12877) has them, which others take with few changes.
DEIT = ClassifierRecipe(
    steps=375_000,
    batch_size=1024,
    learning_rate=1e-3,
    warmup=6250,
    decay=1.0,
    weight_decay=0.05,
    betas=(0.9, 0.999),
    clip_norm=UNCLIPPED,
    ema=0.99996,
    label_smoothing=0.1,
    mixup=0.8,
    cutmix=1.0,
    layer_decay=1.0,
    frozen=(),
    flip=0.5,
    crop_area=(0.08, 1.0),
)
# Of presets `tiny`: 10 colors, so that the bar is a held-out loss of 1.61.
DRAWN = small(replace(DEIT, mixup=0.0, cutmix=0.0), steps=1000)


def picture_views(*, size: int, resize: int, mean: Triple, std: Triple) -> Views:
    """The middle of a few frames of a clip, as networks of ImageNet see a picture.

    Args:
        size: of the square that is cut out.
        resize: of the shorter side before.
        mean, std: of red, green and blue in [0, 1].
    """
    return Views(
        num_frames=NUM_FRAMES,
        stride=None,
        size=size,
        resize=resize,
        interpolation="bicubic",
        clips=1,
        crops=1,
        mean=mean,
        std=std,
    )


def drawn_views(views: Views, side: int) -> Views:
    """The same for clips that are drawn at this many pixels, with the fewest frames there can be.

    Args:
        views: whose mean and deviation stay.
        side: of a frame.
    """
    return replace(views, num_frames=FEWEST_FRAMES, size=side, resize=side)


def colored(model: Recognizer, named: str, split: str) -> LabeledClips:
    """Clips of the world `motions` for a model, with the colors of what counts in them."""
    return LabeledClips(split_of(named, split, drawn_size(model)), "color", COLORS)


def frame_stage(
    recipes: Mapping[str, ClassifierRecipe], *, trains: tuple[str, ...]
) -> ClassifierStage:
    """The stage that trains a recognizer of frames.

    Args:
        recipes: by preset.
        trains: the roles whose networks change; ``network`` is one of them.
    """
    return replace(classifier_stage(recipes, trains=trains), drawn=COLORS, data=data)


def data(model: FrameRecognizer, recipe: ClassifierRecipe, named: str) -> tuple[Source, Source]:
    """Clips with their classes, to train on and held out."""
    if is_folder(named):
        return recognizer_training.data(model, recipe, named)
    clips, unseen = (colored(model, named, split) for split in SPLITS)
    # Frames of one clip are alike: more clips teach more than more frames.
    drawn: Source = SegmentFrames(clips, num_frames=LEARNED, seed=0)
    if recipe.mixup or recipe.cutmix:
        drawn = MixedClips(drawn, mixup=recipe.mixup, cutmix=recipe.cutmix, seed=0)
    return drawn, unseen
