"""The training plan of Frozen in Time: one step on clips, one on stills; few frames, then more.

Paper, code and licence: see `frozen_in_time.py`. Steps on clips and on stills take turns, so that
negatives are of one kind. The curriculum begins with one frame of each clip. A model
has temporal positions for all frames; those that no step has read yet are still the zeros that they
began with, which is how the authors' code grows them.

The published recipe is that of the authors' configurations, with the shares of their README; batch
sizes are the paper's as recalled, the recipes of small sizes ours.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kinema.config import config
from kinema.data.batches import Alternating, SegmentFrames, ShapesStills, Source, WorldClips
from kinema.data.clips import SPLITS, ClipSize, split_of, to_clip
from kinema.errors import InputError
from kinema.media import write_contact_sheet
from kinema.noise import Noise
from kinema.training.captions import draw_captions
from kinema.training.contrastive import ContrastiveObjective, cosines
from kinema.training.objective import Batch
from kinema.training.recipe import Recipe
from kinema.training.stage import Stage

if TYPE_CHECKING:
    from kinema.systems.frozen_in_time import FrozenInTime

CLIP_FRAMES, FPS = 12, 8.0
QUERIES, RANKS = 6, 3  # on a sheet


@config
class RetrieverRecipe(Recipe):
    """How both encoders are trained.

    Args:
        frames: taken from each clip, phase by phase.
        shares: of the steps that each phase has; 1 in all.
        temperature: of the loss.

    Raises:
        InputError: phases do not have more and more frames, or their shares are not 1 in all.
    """

    frames: tuple[int, ...]
    shares: tuple[float, ...]
    temperature: float

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)  # a class with slots has no super()
        rising = (0, *self.frames)
        if not self.frames or any(a >= b for a, b in pairwise(rising)):
            raise InputError(f"frames must rise from phase to phase, as [1, 4], not {self.frames}")
        fits = len(self.shares) == len(self.frames) and min(self.shares) > 0
        if not (fits and math.isclose(sum(self.shares), 1)):
            raise InputError(
                f"shares must be one for each of frames={list(self.frames)}, above 0 and 1 in all, "
                f"not {list(self.shares)}"
            )

    def frames_at(self, step: int) -> int:
        """How many frames of each clip a step takes, of the steps from 0 on."""
        ends = [round(share * self.steps) for share in accumulate(self.shares)]
        return self.frames[min(bisect_right(ends, step), len(self.frames) - 1)]


FULL = RetrieverRecipe(
    steps=100_000,
    batch_size=24,
    learning_rate=3e-5,
    warmup=0,
    decay=0.0,
    betas=(0.9, 0.999),
    ema=0.0,
    frames=(1, 4),
    shares=(0.9, 0.1),
    temperature=0.05,
)
TINY = replace(
    FULL,
    steps=2000,
    batch_size=64,
    learning_rate=1e-3,
    warmup=50,
    decay=0.5,
    ema=0.99,
    report_every=250,
    save_every=250,
    shares=(0.5, 0.5),
)
NANO = TINY.nano(batch_size=4)


def objective(model: FrozenInTime, recipe: RetrieverRecipe) -> ContrastiveObjective:
    """All networks together."""
    return ContrastiveObjective(
        dict(model.parts), embed=partial(embed, model), temperature=recipe.temperature
    )


def embed(model: FrozenInTime, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
    """Embeddings of one caption of each clip, drawn, and of the clips."""
    texts = draw_captions(batch, noise, drop=0.0)
    return model.embed_texts(texts), model.embed_clips(batch["clips"])


def data(model: FrozenInTime, recipe: RetrieverRecipe, world: str) -> tuple[Source, Source]:
    """Clips and stills in turn; held out are clips of the last phase under their full captions."""
    moving = clip_size(model, CLIP_FRAMES)
    clips, whole = (WorldClips(split_of(world, split, moving)) for split in SPLITS)
    stills = ShapesStills(split_of(world, "train", clip_size(model, 1)))
    return in_turns(clips, stills, recipe), looked_at(whole, recipe)


def in_turns(clips: Source, stills: Source, recipe: RetrieverRecipe) -> Source:
    """Training batches: a step on random frames of clips, as many as its phase has, one on stills.

    Args:
        clips: gives ``clips`` (B, 3, T, S, S) with all their frames, and ``captions``.
        stills: gives clips of one frame.
        recipe: of the training.
    """
    phases = {count: SegmentFrames(clips, num_frames=count, seed=0) for count in recipe.frames}

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
    "retriever": Stage(
        trains=("text", "video", "projections"),
        recipes={"full": FULL, "tiny": TINY, "nano": NANO},
        objective=objective,
        data=data,
        sheet=sheet,
        worlds=("shapes",),
    )
}
