"""The training plan of Frozen in Time: one step on clips, one on stills; few frames, then more.

Paper, code and license: see `frozen_in_time.py`. Steps on clips and on stills take turns, so that
negatives are of one kind. The curriculum begins with one frame of each clip. A model has temporal
positions for all frames; those that no step has read yet are still the zeros that they began with,
which is how the authors' code grows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kinema.data.batches import Alternating, SegmentFrames, ShapesStills, Source, WorldClips
from kinema.data.clips import SPLITS, ClipSize, split_of, to_clip
from kinema.media import write_contact_sheet
from kinema.noise import Noise
from kinema.systems.frozen_in_time_clips import (
    WORLDS,
    CaptionedClips,
    CaptionedFolder,
    CaptionedStage,
    captioned,
)
from kinema.systems.frozen_in_time_recipes import FRAMES8, FULL, NANO, TINY, RetrieverRecipe
from kinema.training.captions import draw_captions
from kinema.training.contrastive import ContrastiveObjective, cosines
from kinema.training.folder_stage import check_once
from kinema.training.objective import Batch

if TYPE_CHECKING:
    from kinema.systems.frozen_in_time import FrozenInTime

CLIP_FRAMES, FPS = 12, 8.0
QUERIES, RANKS = 6, 3  # on a sheet


def objective(model: FrozenInTime, recipe: RetrieverRecipe) -> ContrastiveObjective:
    """All networks together."""
    return ContrastiveObjective(
        dict(model.parts), embed=partial(embed, model), temperature=recipe.temperature
    )


def embed(model: FrozenInTime, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
    """Embeddings of one caption of each clip, drawn, and of the clips."""
    texts = draw_captions(batch, noise, drop=0.0)
    return model.embed_texts(texts), model.embed_clips(batch["clips"])


def prepare(
    model: FrozenInTime, recipe: RetrieverRecipe, named: str | None, run: Path
) -> str | None:
    """Looks at every file of a folder and at its captions.

    Raises:
        InputError: files or captions cannot be read, or are too few, or the files are not those
            that the run began with.
    """
    if (folder := captioned(named)) is not None:
        folder.check(model, recipe.batch_size)
        check_once(folder.files, run)
    return named


def data(model: FrozenInTime, recipe: RetrieverRecipe, named: str) -> tuple[Source, Source]:
    """Clips and stills in turn; held out are clips of the last phase under their full captions."""
    if (folder := captioned(named)) is not None:
        return folder_data(model, recipe, folder)
    moving = clip_size(model, CLIP_FRAMES)
    clips, whole = (WorldClips(split_of(named, split, moving)) for split in SPLITS)
    stills = ShapesStills(split_of(named, "train", clip_size(model, 1)))
    return in_turns(clips, stills, recipe), looked_at(whole, recipe)


def folder_data(
    model: FrozenInTime, recipe: RetrieverRecipe, folder: CaptionedFolder
) -> tuple[Source, Source]:
    """The same from the files of a folder."""
    cut: dict[str, Any] = {"seed": 0, "flip": recipe.flip, "crop_area": recipe.crop_area}
    whole: dict[str, Any] = {"seed": None, "flip": 0.0, "crop_area": (1.0, 1.0)}
    said, side = folder.captions, model.config.video.image_size
    phases = {n: CaptionedClips(folder.clips, said, n, side, **cut) for n in recipe.frames}
    stills = CaptionedClips(folder.stills, said, 1, side, **cut)
    unseen = CaptionedClips(folder.files.held_out, said, recipe.frames[-1], side, **whole)
    return by_phases(phases, stills, recipe), looked_at(unseen, recipe)


def in_turns(clips: Source, stills: Source, recipe: RetrieverRecipe) -> Source:
    """Training batches: a step on random frames of clips, as many as its phase has, one on stills.

    Args:
        clips: gives ``clips`` (B, 3, T, S, S) with all their frames, and ``captions``.
        stills: gives clips of one frame.
        recipe: of the training.
    """
    phases = {count: SegmentFrames(clips, num_frames=count, seed=0) for count in recipe.frames}
    return by_phases(phases, stills, recipe)


def by_phases(phases: Mapping[int, Source], stills: Source, recipe: RetrieverRecipe) -> Source:
    """Training batches of sources that give the frames of each phase by themselves."""

    def parts(samples: tuple[int, ...]) -> Batch:
        return phases[recipe.frames_at(samples[0] // recipe.batch_size)](samples)

    return Alternating((parts, stills), recipe.batch_size)


def looked_at(clips: Source, recipe: RetrieverRecipe) -> Source:
    """Held-out batches: the middle frames of clips, as many as the last phase has, in full words.

    Args:
        clips: as those of `in_turns`.
        recipe: of the training.
    """
    unseen = SegmentFrames(clips, num_frames=recipe.frames[-1], seed=None)

    def in_full(samples: tuple[int, ...]) -> Batch:
        batch = unseen(samples)
        return {**batch, "captions": [said[:1] for said in batch["captions"]]}

    return in_full


def clip_size(model: FrozenInTime, num_frames: int) -> ClipSize:
    """Of clips as they are drawn for a model."""
    side = model.config.video.image_size
    return ClipSize(num_frames=num_frames, height=side, width=side, fps=FPS)


def sheet(model: FrozenInTime, held_out: Batch, path: Path) -> None:
    """The first held-out captions, each with the clips that the model finds for it."""
    texts = [said[0] for said in held_out["captions"]]
    with torch.no_grad():
        scores = cosines(model.embed_texts(texts), model.embed_clips(held_out["clips"]))
    rows, labels = [], []
    for query in range(min(QUERIES, len(texts))):
        best = scores[query].topk(min(RANKS, len(texts))).indices.tolist()
        for rank, i in enumerate(best, start=1):
            rows.append(to_clip(held_out["clips"][i], FPS))
            labels.append(f"{rank}{' (right)' if i == query else ''}: {texts[query]}")
    write_contact_sheet(path, rows, labels, columns=RANKS, frames_per_clip=8, overwrite=True)


STAGES = {
    "retriever": CaptionedStage(
        trains=("text", "video", "projections"),
        recipes={"full": FULL, "frames8": FRAMES8, "tiny": TINY, "nano": NANO},
        objective=objective,
        data=data,
        prepare=prepare,
        sheet=sheet,
        worlds=WORLDS,
    )
}
