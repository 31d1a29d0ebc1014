"""The training plan of Frozen in Time: one step on clips, one on stills, in turn.

Paper, code and licence: see `frozen_in_time.py`. The published recipe is that of the authors'
configurations; batch sizes are the paper's as recalled, the recipes of small sizes ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kinema.clip import Clip
from kinema.config import config
from kinema.data.batches import Alternating, SegmentFrames, WorldClips, WorldStills
from kinema.errors import unknown
from kinema.media import write_contact_sheet
from kinema.noise import Noise
from kinema.training.contrastive import ContrastiveObjective, cosines
from kinema.training.objective import Batch
from kinema.training.recipe import Recipe
from kinema.training.stage import Data, Stage
from kinema.worlds import World
from kinema.worlds import load as load_world

if TYPE_CHECKING:
    from kinema.systems.frozen_in_time import FrozenInTime

WORLD = "shapes"
CLIP_FRAMES, FPS = 12, 8.0
QUERIES, RANKS = 6, 3  # on a sheet


@config
class RetrieverRecipe(Recipe):
    """How both encoders are trained.

    Args:
        frames: taken from each clip; the curriculum starts with one.
        temperature: of the loss.
    """

    frames: int
    temperature: float


FULL = RetrieverRecipe(
    steps=100_000,
    batch_size=24,
    learning_rate=3e-5,
    warmup=0,
    decay=0.0,
    betas=(0.9, 0.999),
    ema=0.0,
    report_every=1000,
    save_every=1000,
    held_out=64,
    frames=4,
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
)
NANO = replace(TINY, steps=8, batch_size=4, report_every=4, save_every=2, held_out=4)


def objective(model: FrozenInTime, recipe: RetrieverRecipe) -> ContrastiveObjective:
    """All networks together."""
    return ContrastiveObjective(
        dict(model.parts), embed=partial(embed, model), temperature=recipe.temperature
    )


def embed(model: FrozenInTime, batch: Batch, noise: Noise) -> tuple[Tensor, Tensor]:
    """Embeddings of one caption of each clip, drawn, and of the clips."""
    picks = noise.uniform((len(noise), 1), "caption").flatten().tolist()
    texts = [said[int(pick * len(said))] for said, pick in zip(batch["captions"], picks)]
    return model.embed_texts(texts), model.embed_clips(batch["clips"])


def data(model: FrozenInTime, recipe: RetrieverRecipe, named: str | None) -> Data:
    """Clips and stills of the world `shapes`; held out are clips under their full captions."""
    if named not in (None, WORLD):
        raise unknown("world with captions of stills", str(named), (WORLD,))
    clips = WorldClips(drawn(model, "train", num_frames=CLIP_FRAMES))
    stills = WorldStills(drawn(model, "train", num_frames=1), said_of_a_still)
    moving = SegmentFrames(clips, num_frames=recipe.frames, seed=0)
    whole = WorldClips(drawn(model, "held_out", num_frames=CLIP_FRAMES))
    unseen = SegmentFrames(whole, num_frames=recipe.frames, seed=None)(
        tuple(range(recipe.held_out))
    )
    first = [said[:1] for said in unseen["captions"]]
    return Data(Alternating((moving, stills), recipe.batch_size), {**unseen, "captions": first})


def drawn(model: FrozenInTime, split: str, *, num_frames: int) -> World:
    """One split of the world, at the size that the model reads."""
    side = model.config.video.image_size
    return load_world(
        WORLD,
        seed={"train": 0, "held_out": 1}[split],
        split=split,
        num_frames=num_frames,
        height=side,
        width=side,
        fps=FPS,
    )


def said_of_a_still(labels: Mapping[str, str]) -> str:
    """What one frame shows: everything but the motion."""
    kind = "" if labels["background_kind"] == "flat" else " gradient"
    ground = f"{labels['background']}{kind} background"
    said = f"a {labels['size']} {labels['color']} {labels['shape']} on a {ground}"
    return re.sub(r"\ba (?=[aeiou])", "an ", said)


def sheet(model: FrozenInTime, held_out: Batch, path: Path) -> None:
    """The first held-out captions, each with the clips that the model finds for it."""
    texts = [said[0] for said in held_out["captions"]]
    with torch.no_grad():
        scores = cosines(model.embed_texts(texts), model.embed_clips(held_out["clips"]))
    rows, labels = [], []
    for query in range(min(QUERIES, len(texts))):
        best = scores[query].topk(min(RANKS, len(texts))).indices.tolist()
        for rank, i in enumerate(best, start=1):
            rows.append(Clip.from_float(held_out["clips"][i].numpy(), FPS))
            labels.append(f"{rank}{' (right)' if i == query else ''}: {texts[query]}")
    write_contact_sheet(path, rows, labels, columns=RANKS, frames_per_clip=8, overwrite=True)


STAGES = {
    "retriever": Stage(
        trains=("text", "video", "projections"),
        recipes={"full": FULL, "tiny": TINY, "nano": NANO},
        objective=objective,
        data=data,
        sheet=sheet,
    )
}
