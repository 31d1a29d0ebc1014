"""Features of a frozen spatial transformer, computed once and read in every epoch.

Papers, code and license: see `vivit_frozen.py`; keeping features is ours. Before the run they are
written in its folder, in bfloat16 and without augmentation; then a step costs the temporal
transformer alone.

Letters: B clips, T steps in time, N tokens of a step, D width.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kinema.config import to_dict
from kinema.data import latents
from kinema.data.batches import Source
from kinema.data.class_folder import ClassClips, ClassFolder
from kinema.data.clips import SPLITS
from kinema.data.latents import Encoded, LatentCache, LatentKey, in_batches
from kinema.errors import InputError
from kinema.files import parse_json, write_text
from kinema.noise import Noise
from kinema.systems import recognizer_training
from kinema.systems.recognizer import Recognizer
from kinema.systems.recognizer_training import FPS, WORLDS, ClassifierStage, is_folder
from kinema.systems.vivit_frozen_presets import CachedRecipe
from kinema.training.classification import Classification
from kinema.training.objective import Batch, Logs
from kinema.training.stage import Data
from kinema.weights.digest import digest

if TYPE_CHECKING:
    from kinema.systems.vivit_frozen import ViViTFrozen

FEATURES, CLASSES = "features", "classes.json"  # in the folder of a run
AT_ONCE = 16  # clips that are encoded together


class OnFeatures(Classification):
    """Classification of ``features`` (B, T, N, D) in the place of clips."""

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """As of clips."""
        return super().loss(player, {**batch, "clips": batch["features"]}, step, noise)

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """As of clips."""
        return super().held_out({**batch, "clips": batch["features"]}, noise)


class Encoding:
    """Batches of another source with the ``features`` of their clips, computed as they are read."""

    def __init__(self, model: ViViTFrozen, source: Source) -> None:
        self.model, self.source = model, source

    def __call__(self, samples: tuple[int, ...]) -> Mapping[str, Any]:
        """The batch of some sample indices."""
        batch = self.source(samples)
        return {**batch, "features": self.model.frozen_tokens(batch["clips"]).cpu()}


class Stored:
    """Batches of features in a folder.

    Args:
        folder: what `write` wrote.
        model: by whose spatial transformer.
        seed: of their order.

    Raises:
        InputError: they are of another transformer, or not all there.
    """

    def __init__(self, folder: Path, model: ViViTFrozen, seed: int) -> None:
        self.cache = LatentCache(folder, codec=digest(model.spatial), seed=seed)

    def __len__(self) -> int:
        return len(self.cache)

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        batch = self.cache(samples)
        return {**batch, "features": batch.pop("latents")}


class FeatureStage(ClassifierStage):
    """A stage that reads features: those in the folder of its run, or computed as they are read."""

    def adapt(self, system: Recognizer, named: str | None) -> None:
        """Gives the model a new head where the features have other classes than its own."""
        if named is None or not is_stored(named):
            super().adapt(system, named)
        elif (labels := classes_of(Path(named))) != system.labels:
            system.reset_classifier(labels)

    def read(self, system: Any, recipe: Any, named: str | None) -> Data:
        """The features in a folder, or those of clips as every recognizer reads them."""
        if named is None or not is_stored(named):
            return super().read(system, recipe, named)
        train, unseen = (Stored(Path(named) / split, system, seed=0) for split in SPLITS)
        return Data(train, unseen(tuple(range(len(unseen)))))


def feature_stage(recipes: Mapping[str, CachedRecipe]) -> FeatureStage:
    """The stage that trains the temporal transformer on features.

    Args:
        recipes: by preset.
    """
    return FeatureStage(
        trains=("network",),
        recipes=recipes,
        objective=objective,
        data=data,
        prepare=prepare,
        sheet=recognizer_training.sheet,
        worlds=WORLDS,
    )


def is_stored(named: str) -> bool:
    """Whether this is a folder of features."""
    return (Path(named) / CLASSES).is_file()


def classes_of(folder: Path) -> tuple[str, ...]:
    """Names of the classes in a folder of features. Raises InputError if their list is damaged."""
    path = folder / CLASSES
    names = parse_json(path.read_bytes(), str(path))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path} must hold a list of names; remove it, and they are written anew")
    return tuple(names)


def objective(model: ViViTFrozen, recipe: CachedRecipe) -> OnFeatures:
    """Cross-entropy of the logits of features."""
    model.start_temporal(recipe.temporal)
    return OnFeatures({"network": model.network}, logits=model.logits_of, recipe=recipe)


def data(model: ViViTFrozen, recipe: CachedRecipe, named: str) -> tuple[Source, Source]:
    """Clips with their features and classes, to train on and held out, all as in a test."""
    if is_folder(named):
        folder, views = ClassFolder.read(named), model.config.views
        whole: dict[str, Any] = {"seed": None, "flip": 0.0, "crop_area": (1.0, 1.0)}
        sources: tuple[Source, ...] = tuple(
            ClassClips(files, views, **whole) for files in (folder.train, folder.held_out)
        )
    else:
        sources = recognizer_training.data(model, recipe, named)
    train, unseen = (Encoding(model, source) for source in sources)
    return train, unseen


def prepare(model: ViViTFrozen, recipe: CachedRecipe, named: str | None, run: Path) -> str:
    """Writes the features of all clips below the folder of a run; what is there is kept.

    Raises:
        InputError: files cannot be read, or the features there are of other clips.
    """
    named = recognizer_training.prepare(model, recipe, named, run) or WORLDS[0]
    labels: tuple[str, ...] = FeatureStage.drawn
    counts = [recipe.clips, recipe.held_out]
    if is_folder(named):
        folder = ClassFolder.read(named)
        labels = folder.classes
        counts = [len(folder.train), min(recipe.held_out, len(folder.held_out))]
    views = model.config.views
    key = LatentKey(
        codec=digest(model.spatial),
        source=json.dumps({"data": named, "views": to_dict(views)}, sort_keys=True),
        num_frames=views.num_frames,
        height=views.size,
        width=views.size,
        fps=FPS,
    )
    for split, source, count in zip(SPLITS, data(model, recipe, named), counts):
        kept = () if split == "train" else ("clips",)
        latents.write(run / FEATURES / split, key, count, partial(encode, source, kept))
    write_text(run / FEATURES / CLASSES, json.dumps(labels), overwrite=True)
    return str(run / FEATURES)


def encode(source: Source, kept: tuple[str, ...], samples: range) -> Iterator[Encoded]:
    """Samples of a source on their way into a folder, with their classes and what else is kept."""
    for indices in in_batches(samples, AT_ONCE):
        with torch.no_grad():
            batch = source(indices)
        for row, features in enumerate(batch["features"]):
            beside = {name: batch[name][row] for name in ("classes", *kept)}
            yield Encoded(features, captions=(), labels={}, beside=beside)
