"""The first stage of ZeroI2V where there is no CLIP: a tower that knows what stills show.

Paper, code and license: see `zeroi2v.py`. What it learns is ours: of clips of the world `motions`
that stand still, the color of the object with corners; the round one beside it does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from kinema.data.batches import Source
from kinema.data.clips import SPLITS
from kinema.systems import recognizer_training
from kinema.systems.recognizer import Recognizer
from kinema.systems.recognizer_frames import colored, frame_stage
from kinema.systems.recognizer_training import is_folder
from kinema.training.classification import ClassifierRecipe
from kinema.training.objective import Batch
from kinema.training.stage import Stage


def image_stage(recipes: Mapping[str, ClassifierRecipe]) -> Stage:
    """The stage that trains the tower.

    Args:
        recipes: by preset.
    """
    return replace(frame_stage(recipes, trains=("network",)), data=data)


def data(model: Recognizer, recipe: ClassifierRecipe, named: str) -> tuple[Source, Source]:
    """Clips that stand still, with their classes, to train on and held out."""
    if is_folder(named):
        train, unseen = recognizer_training.data(model, recipe, named)
        return stopped(train), stopped(unseen)
    drawn, held_out = (stopped(colored(model, named, split)) for split in SPLITS)
    return drawn, held_out


def stopped(source: Source) -> Source:
    """A source whose clips stand still at their first frame."""

    def batch(samples: tuple[int, ...]) -> Batch:
        given = source(samples)
        clips: Tensor = given["clips"]
        return {**given, "clips": clips[:, :, :1].expand_as(clips)}

    return batch
