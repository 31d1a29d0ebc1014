"""The training plan of VideoMAE V2: clips without labels, then a few with them.

Papers, code and license: see `videomae_v2.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kinema.data.batches import Source, WorldClips
from kinema.data.class_folder import ClassClips, ClassFolder, Labelled, check_files
from kinema.data.clips import SPLITS, split_of, to_clip
from kinema.data.media_folder import is_media_folder, read_folder
from kinema.errors import InputError
from kinema.media import write_contact_sheet
from kinema.noise import Noise
from kinema.systems.recognizer_training import FPS, classifier_stage, drawn_size
from kinema.systems.videomae_v2_presets import PRETRAINING, RECIPES
from kinema.training.masked_autoencoding import MaskedAutoencoding, MaskedRecipe
from kinema.training.objective import Batch
from kinema.training.stage import Data, Stage

if TYPE_CHECKING:
    from kinema.systems.videomae_v2 import VideoMAEV2

WORLDS = ("motions", "shapes")
EVERY = 10  # one of so many files is held out
ON_SHEET = 6


class UnlabeledStage(Stage):
    """A stage whose `--data` may also be a folder of clips, however they lie in it."""

    def read(self, system: Any, recipe: Any, named: str | None) -> Data:
        """The data that the user named; those of the world `motions` if None.

        Raises:
            InputError: it is neither, or files cannot be read.
        """
        if named is None or not is_folder(named):
            return super().read(system, recipe, named)
        folder = unlabeled(named)
        check_files(folder)
        source, unseen = self.data(system, recipe, named)
        return Data(source, unseen(tuple(range(min(recipe.held_out, len(folder.held_out))))))


def is_folder(named: str) -> bool:
    """Whether what the user named is a folder of clips, and no world."""
    return named.partition(":")[0] not in WORLDS and is_media_folder(named)


def unlabeled(folder: str) -> ClassFolder:
    """The clips of a folder, all of one class; every tenth by name is held out.

    Raises:
        InputError: there are none, or a list of them is damaged.
    """
    found, faults = read_folder(folder, captioned=False)
    if faults:
        raise InputError(faults[0])
    files = tuple(Labelled(file.path, 0) for file in found)
    held_out = files[EVERY - 1 :: EVERY]
    train = tuple(file for file in files if file not in held_out)
    # Of a few clips none can be spared: they are looked at too.
    return ClassFolder(Path(folder), ("clip",), train, held_out or files)


def data(model: VideoMAEV2, recipe: MaskedRecipe, named: str) -> tuple[Source, Source]:
    """Clips, to train on and held out; whatever is known of them is not read."""
    if not is_folder(named):
        train, unseen = (WorldClips(split_of(named, s, drawn_size(model))) for s in SPLITS)
        return train, unseen
    folder, views = unlabeled(named), model.config.views
    cut: dict[str, Any] = {"flip": recipe.flip, "crop_area": recipe.crop_area}
    whole: dict[str, Any] = {"flip": 0.0, "crop_area": (1.0, 1.0)}
    return (
        ClassClips(folder.train, views, seed=0, **cut),
        ClassClips(folder.held_out, views, seed=None, **whole),
    )


def objective(model: VideoMAEV2, recipe: MaskedRecipe) -> MaskedAutoencoding:
    """The error of hidden tubelets."""
    return MaskedAutoencoding(
        model.network, model.decoder, normalize=model.normalized, recipe=recipe
    )


def sheet(model: VideoMAEV2, held_out: Batch, path: Path) -> None:
    """The first held-out clips: what the encoder sees of them, and what the decoder makes of it."""
    clips = held_out["clips"][:ON_SHEET]
    noise = Noise(0, tuple(range(len(clips))))
    with torch.no_grad():
        seen, restored = model.reconstructed(clips, noise)
    pairs = [pair for both in zip(seen, restored) for pair in both]
    write_contact_sheet(
        path,
        [to_clip(x, FPS) for x in pairs],
        ["seen", "restored"] * len(clips),
        columns=2,
        frames_per_clip=8,
        overwrite=True,
    )


STAGES = {
    "pretraining": UnlabeledStage(
        trains=("network", "decoder"),
        recipes=PRETRAINING,
        objective=objective,
        data=data,
        sheet=sheet,
        worlds=WORLDS,
    ),
    "classifier": replace(
        classifier_stage(RECIPES, trains=("network",)), starts_from=("pretraining",)
    ),
}
