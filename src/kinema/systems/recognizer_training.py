"""The training plan that recognizers share; see `recognizer.py`.

A classifier is trained on the world `motions`, or on a folder with a folder of clips for each
class, whose classes it takes over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import torch

from kinema.data.batches import Source, WorldClips
from kinema.data.class_folder import ClassClips, ClassFolder
from kinema.data.clips import SPLITS, ClipSize, split_of, to_clip
from kinema.data.mixing import MixedClips
from kinema.media import write_contact_sheet
from kinema.systems.recognizer import Recognizer
from kinema.training import folder_stage
from kinema.training.classification import Classification, ClassifierRecipe
from kinema.training.folder_stage import FolderStage, check_once
from kinema.training.objective import Batch
from kinema.training.recipe import Recipe
from kinema.worlds.motion_classes import CLASSES, FEWEST_FRAMES
from kinema.worlds.world import World, WorldSample

WORLDS = ("motions",)
FPS = 8.0
ON_SHEET = 12
LOGGER = logging.getLogger(__name__)
R = TypeVar("R", bound=Recipe)


def small(recipe: R, *, steps: int) -> R:
    """A recipe for a preset `tiny`, which learns drawn clips within minutes.

    The bar of all of them is a held-out loss of 0.7 of what a guess has (docs/recognizers.md).

    Args:
        recipe: the published one, for all other numbers.
        steps: how many.
    """
    return replace(
        recipe,
        steps=steps,
        batch_size=32,
        optimizer="muon",
        learning_rate=3e-3,
        warmup=100,
        decay=0.5,
        clip_norm=1.0,
        ema=0.99,
        report_every=250,
        save_every=250,
    )


@dataclass(frozen=True, kw_only=True)
class ClassifierStage(FolderStage):
    """A stage whose `--data` may also be a folder of clips, sorted by class.

    Args:
        drawn: classes of the clips of the world.
    """

    drawn: tuple[str, ...] = CLASSES

    def adapt(self, system: Recognizer, named: str | None) -> None:
        """Gives the model a new head where the data has other classes than its own."""
        folder = self.files(named)
        labels = self.drawn if folder is None else folder.classes
        if labels != system.labels:
            LOGGER.info("the head is new, for %d classes: %s", len(labels), ", ".join(labels[:6]))
            system.reset_classifier(labels)

    def files(self, named: str | None) -> ClassFolder | None:
        """The files of a folder with a folder of clips for each class."""
        return ClassFolder.read(named) if is_folder(named) else None


def classifier_stage(
    recipes: Mapping[str, ClassifierRecipe], *, trains: tuple[str, ...]
) -> ClassifierStage:
    """The stage that trains a recognizer on clips with their classes.

    Args:
        recipes: by preset.
        trains: the roles whose networks change; ``network`` is one of them.
    """
    return ClassifierStage(
        trains=trains,
        recipes=recipes,
        objective=partial(objective, trains),
        data=data,
        prepare=prepare,
        sheet=sheet,
        worlds=WORLDS,
    )


def objective(
    trains: tuple[str, ...], model: Recognizer, recipe: ClassifierRecipe
) -> Classification:
    """Cross-entropy of the logits."""
    networks = {role: model.parts[role] for role in trains}
    return Classification(networks, logits=model.logits, recipe=recipe)


def is_folder(named: str | None) -> TypeGuard[str]:
    """Whether what the user named is a folder, and no world."""
    return folder_stage.is_folder(named, WORLDS)


def prepare(
    model: Recognizer, recipe: ClassifierRecipe, named: str | None, run: Path
) -> str | None:
    """Looks at every file of a folder.

    Raises:
        InputError: files cannot be read, or are not those that the run began with.
    """
    if is_folder(named):
        check_once(ClassFolder.read(named), run)
    return named


def data(model: Recognizer, recipe: ClassifierRecipe, named: str) -> tuple[Source, Source]:
    """Clips with their classes; those that are held out are seen as in a test, in one view."""
    train: Source
    unseen: Source
    if is_folder(named):
        folder, views = ClassFolder.read(named), model.config.views
        train = ClassClips(
            folder.train, views, seed=0, flip=recipe.flip, crop_area=recipe.crop_area
        )
        unseen = ClassClips(folder.held_out, views, seed=None, flip=0.0, crop_area=(1.0, 1.0))
    else:
        train, unseen = (
            LabeledClips(split_of(named, split, drawn_size(model)), "motion", CLASSES)
            for split in SPLITS
        )
    if recipe.mixup or recipe.cutmix:
        train = MixedClips(train, mixup=recipe.mixup, cutmix=recipe.cutmix, seed=0)
    return train, unseen


def drawn_size(model: Recognizer) -> ClipSize:
    """Of clips as they are drawn for a model."""
    views = model.config.views
    return ClipSize(num_frames=views.num_frames, height=views.size, width=views.size, fps=FPS)


class LabeledClips(WorldClips):
    """Batches of the world `motions`: clips and, as numbers, their classes.

    Args:
        world: the program that draws.
        label: which of its labels is learned.
        classes: the values that it may have.
    """

    def __init__(self, world: World, label: str, classes: tuple[str, ...]) -> None:
        super().__init__(world)
        self.label, self.classes = label, classes

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """``clips`` (B, 3, T, S, S) in [-1, 1] and ``classes`` (B,)."""
        batch = super().__call__(samples)
        classes = [self.classes.index(labels[self.label]) for labels in batch["labels"]]
        return {"clips": batch["clips"], "classes": torch.tensor(classes)}


def stills(
    model: Recognizer, named: str, class_of: Callable[[WorldSample], int]
) -> tuple[Source, Source]:
    """First frames of a world, to train on and held out.

    Batches have them as clips of one frame (B, 3, 1, S, S), with classes (B,).

    Args:
        model: whose views say how large they are.
        named: the world.
        class_of: what is learned of a clip.
    """
    size = replace(drawn_size(model), num_frames=FEWEST_FRAMES)

    def of(world: World) -> Source:
        def batch(samples: tuple[int, ...]) -> dict[str, Any]:
            drawn = [world.sample(index) for index in samples]
            frames = [torch.from_numpy(sample.clip.to_float()[:, :1]) for sample in drawn]
            classes = torch.tensor([class_of(sample) for sample in drawn])
            return {"clips": torch.stack(frames), "classes": classes}

        return batch

    train, unseen = (of(split_of(named, split, size)) for split in SPLITS)
    return train, unseen


def sheet(model: Recognizer, held_out: Batch, path: Path) -> None:
    """The first held-out clips, with what they are taken for."""
    clips, classes = held_out["clips"][:ON_SHEET], held_out["classes"][:ON_SHEET].tolist()
    with torch.no_grad():
        chances = model.logits(clips).float().softmax(1).cpu()
    said = []
    for chance, right in zip(chances, classes):
        best = int(chance.argmax())
        wrong = "" if best == right else f" (wrong: {model.labels[right]})"
        said.append(f"{model.labels[best]} {float(chance[best]):.0%}{wrong}")
    shown = [to_clip(clip, FPS) for clip in clips]
    write_contact_sheet(path, shown, said, columns=2, frames_per_clip=8, overwrite=True)
