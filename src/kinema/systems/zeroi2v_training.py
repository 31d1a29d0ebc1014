"""The first stage of ZeroI2V where there is no CLIP: a tower that knows what stands where.

Paper, code and license: see `zeroi2v.py`. What it learns is ours: of single frames of the world
`motions`, in which ninth of the frame the object with corners stands; the round one beside it does
not count.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

from kinema.data.batches import Source
from kinema.systems import recognizer_training
from kinema.systems.recognizer import Recognizer
from kinema.systems.recognizer_training import (
    ClassifierStage,
    classifier_stage,
    is_folder,
    stills,
)
from kinema.training.classification import ClassifierRecipe
from kinema.training.objective import Batch
from kinema.worlds.world import PLACES

NINTHS = tuple(itertools.chain(*PLACES))
"""Classes of stills: where in the frame something stands."""


def image_stage(recipes: Mapping[str, ClassifierRecipe]) -> ClassifierStage:
    """The stage that trains the tower.

    Args:
        recipes: by preset.
    """
    return replace(classifier_stage(recipes, trains=("network",)), drawn=NINTHS, data=data)


def data(model: Recognizer, recipe: ClassifierRecipe, named: str) -> tuple[Source, Source]:
    """Stills with their classes, to train on and held out."""
    if is_folder(named):
        train, unseen = recognizer_training.data(model, recipe, named)
        return stopped(train), stopped(unseen)
    return stills(model, named, lambda sample: NINTHS.index(sample.graph.objects[0].place))


def stopped(source: Source) -> Source:
    """A source that gives the first frames of clips alone."""

    def batch(samples: tuple[int, ...]) -> Batch:
        given = source(samples)
        return {**given, "clips": given["clips"][:, :, :1]}

    return batch
