"""The training plan of VideoMAE V2: clips without labels, then a few with them.

Papers, code and license: see `videomae_v2.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kinema.data.batches import Source, WorldClips
from kinema.data.class_folder import ClassClips, ClassFolder, listed
from kinema.data.clips import SPLITS, split_of, to_clip
from kinema.data.media_folder import read_folder
from kinema.errors import InputError
from kinema.media import write_contact_sheet
from kinema.noise import Noise
from kinema.systems.recognizer_training import FPS, classifier_stage, drawn_size
from kinema.systems.videomae_v2_presets import PRETRAINING, RECIPES
from kinema.training.folder_stage import FolderStage, check_once, is_folder, unsorted
from kinema.training.masked_autoencoding import MaskedAutoencoding, MaskedRecipe
from kinema.training.objective import Batch

if TYPE_CHECKING:
    from kinema.systems.videomae_v2 import VideoMAEV2

WORLDS = ("motions", "shapes")
ON_SHEET = 6


class UnlabeledStage(FolderStage):
    """A stage whose `--data` may also be a folder of clips, however they lie in it."""

    def files(self, named: str | None) -> ClassFolder | None:
        """The clips of a folder."""
        return listed(unlabeled, named) if is_folder(named, WORLDS) else None


def unlabeled(folder: Path) -> ClassFolder:
    """The clips of a folder; every tenth by name is held out.

    Raises:
        InputError: there are none, or a list of them is damaged.
    """
    found, faults = read_folder(folder, captioned=False)
    if faults:
        raise InputError(faults[0])
    return unsorted(folder, [file.path for file in found])


def prepare(model: VideoMAEV2, recipe: MaskedRecipe, named: str | None, run: Path) -> str | None:
    """Looks at every file of a folder.

    Raises:
        InputError: files cannot be read, or are not those that the run began with.
    """
    if is_folder(named, WORLDS):
        check_once(listed(unlabeled, named), run)
    return named


def data(model: VideoMAEV2, recipe: MaskedRecipe, named: str) -> tuple[Source, Source]:
    """Clips, to train on and held out; whatever is known of them is not read."""
    if not is_folder(named, WORLDS):
        train, unseen = (WorldClips(split_of(named, s, drawn_size(model))) for s in SPLITS)
        return train, unseen
    folder, views = listed(unlabeled, named), model.config.views
    return (
        ClassClips(folder.train, views, seed=0, flip=recipe.flip, crop_area=recipe.crop_area),
        ClassClips(folder.held_out, views, seed=None, flip=0.0, crop_area=(1.0, 1.0)),
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
        prepare=prepare,
        sheet=sheet,
        worlds=WORLDS,
    ),
    "classifier": replace(
        classifier_stage(RECIPES, trains=("network",)), starts_from=("pretraining",)
    ),
}
