"""The first stage of ZeroI2V where there is no CLIP: a tower that knows what stands where.

Paper, code and license: see `zeroi2v.py`. What it learns is ours: of single frames of the world
`motions`, in which ninth of the frame the object with corners stands; the round one beside it does
not count.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from kinema.data.batches import Source
from kinema.data.clips import SPLITS, split_of
from kinema.systems import recognizer_training
from kinema.systems.recognizer import Recognizer
from kinema.systems.recognizer_training import (
    ClassifierStage,
    classifier_stage,
    drawn_size,
    is_folder,
)
from kinema.training.classification import ClassifierRecipe
from kinema.training.objective import Batch
from kinema.worlds.motion_classes import FEWEST_FRAMES
from kinema.worlds.world import PLACES, World

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
    size = replace(drawn_size(model), num_frames=FEWEST_FRAMES)
    drawn, held_out = (Stills(split_of(named, split, size)) for split in SPLITS)
    return drawn, held_out


class Stills:
    """Batches of first frames of a world, as clips of one frame (B, 3, 1, S, S), with classes (B,).

    Args:
        world: the program that draws.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        drawn = [self.world.sample(index) for index in samples]
        places = [NINTHS.index(sample.graph.objects[0].place) for sample in drawn]
        return {
            "clips": torch.stack([torch.from_numpy(s.clip.to_float()[:, :1]) for s in drawn]),
            "classes": torch.tensor(places),
        }


def stopped(source: Source) -> Source:
    """A source that gives the first frames of clips alone."""

    def batch(samples: tuple[int, ...]) -> Batch:
        given = source(samples)
        return {**given, "clips": given["clips"][:, :, :1]}

    return batch
