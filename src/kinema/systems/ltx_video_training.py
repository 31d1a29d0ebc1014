"""The training plan of LTX-Video: first the codec against its critic, then the generator on its
latents.

Paper, code and licence: see `ltx_video.py`. Losses follow the paper, times the authors' trainer of
LTX-2; sizes and lengths are ours.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kinema.data import folder_latents
from kinema.data.batches import RandomCrops, Source, WorldClips
from kinema.data.clips import SPLITS, split_of
from kinema.data.folder_latents import FolderLatents
from kinema.data.latents import LatentCache
from kinema.errors import InputError
from kinema.networks.ltx_transformer import patchify
from kinema.noise import Noise
from kinema.systems.ltx_video_clips import prepare_clips
from kinema.systems.ltx_video_keyframes import (
    STILLS,
    Given,
    draw_given,
    rows_alike,
    single_frames,
    strength_of,
)
from kinema.systems.ltx_video_recipes import (
    CODEC,
    GENERATOR,
    REFINE,
    CodecRecipe,
    GeneratorRecipe,
)
from kinema.training.captions import draw_captions
from kinema.training.denoising import DenoisingObjective, Prepared
from kinema.training.objective import Batch
from kinema.training.sheets import draw_sheet
from kinema.training.stage import Stage
from kinema.training.vae_gan import VAEGAN
from kinema.weights.digest import digest
from kinema.worlds import WORLDS

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo

ON_A_SHEET = 8


def codec_objective(model: LTXVideo, recipe: CodecRecipe) -> VAEGAN:
    """The codec against its critic."""
    return VAEGAN(model.codec, recipe.loss)


def codec_data(model: LTXVideo, recipe: CodecRecipe, world: str) -> tuple[Source, Source]:
    """Windows of clips that a world draws; whole clips are held out."""
    size = model.config.sampling
    windows = WorldClips(split_of(world, "train", replace(size, num_frames=recipe.frames)))
    unseen = WorldClips(split_of(world, "held_out", size))
    return RandomCrops(windows, side=recipe.crop, seed=0), unseen


def codec_sheet(model: LTXVideo, held_out: Batch, path: Path) -> None:
    """Held-out clips above what the codec makes of them."""
    clips = held_out["clips"][: ON_A_SHEET // 2].to(model.device)
    sampling = replace(model.config.sampling, decode_noise=0.0, decode_time=0.0)
    noise = Noise(0, tuple(range(len(clips))))
    decoded = model.decode(model.codec.encode(clips), noise=noise, sampling=sampling)
    captions = [said[0] for said in held_out["captions"]]
    draw_sheet(path, {"clip": clips, "codec": decoded}, captions, columns=1)


def generator_objective(model: LTXVideo, recipe: GeneratorRecipe) -> DenoisingObjective:
    """Transformer and text encoder together."""
    networks = {role: model.parts[role] for role in ("transformer", "text")}
    prepare = partial(prepare_batch, model, recipe)
    return DenoisingObjective(
        networks, predict="transformer", process=model.process, prepare=prepare
    )


def prepare_batch(
    model: LTXVideo, recipe: GeneratorRecipe, batch: Batch, noise: Noise
) -> list[Prepared]:
    """Tokens and conditions from cached latents: one caption of each clip is drawn, and dropped now
    and then, as are the frames that are given.
    """
    texts = draw_captions(batch, noise, drop=recipe.text_drop)
    given = draw_given(recipe, batch, noise)
    return [prepare_rows(model, batch, rows, texts, given, noise) for rows in rows_alike(given)]


def prepare_rows(
    model: LTXVideo,
    batch: Batch,
    rows: list[int],
    texts: list[str],
    given: list[Given],
    noise: Noise,
) -> Prepared:
    """Some rows of a batch, of which equally many single frames are given."""
    latents = batch["latents"][rows].to(model.device)
    text = model.text(model.text.ids([texts[row] for row in rows]).to(model.device))
    x0, (t, h, w) = patchify(latents), latents.shape[2:]
    mine = [given[row] for row in rows]
    stills, frames = single_frames(batch, rows, mine[0].stills)
    strength = strength_of(mine, x0.shape[1], h * w).to(x0.device) if mine[0].anything else None
    return Prepared(
        x0=torch.cat((x0, stills.to(x0)), 1),
        conditions=model.conditions(text, (t, h, w), batch["fps"], frames.to(model.device)),
        noise=Noise(noise.seed, tuple(noise.samples[row] for row in rows)),
        strength=strength,
    )


def generator_data(model: LTXVideo, recipe: GeneratorRecipe, folder: str) -> tuple[Source, Source]:
    """Latents that `kinema encode` or `prepare_clips` wrote with this model's codec."""
    codec = digest(model.codec)
    if folder_latents.is_written(Path(folder)):
        clips = FolderLatents(Path(folder), codec=codec, batch_size=recipe.batch_size, seed=0)
        return clips, lambda samples: clips.held_out(len(samples))
    train, unseen = (LatentCache(Path(folder) / split, codec=codec, seed=0) for split in SPLITS)
    if recipe.stills_given and min(train.key.stills, unseen.key.stills) < STILLS:
        raise InputError(
            f"recipe.stills_given={recipe.stills_given} needs {STILLS} single frames of each clip, "
            f"which {folder} lacks: encode again with --stills {STILLS}"
        )
    return train, unseen


def generator_sheet(model: LTXVideo, held_out: Batch, path: Path) -> None:
    """Clips from the first captions of the held-out batch, always with the same noise."""
    prompts = [captions[0] for captions in held_out["captions"][:ON_A_SHEET]]
    noise, sampling = Noise(0, tuple(range(len(prompts)))), model.config.sampling
    latents = model.latents(prompts, noise=noise, sampling=sampling)
    made = model.decode(latents, noise=noise, sampling=sampling)
    draw_sheet(path, {"made": made}, prompts, columns=1)


CODEC_STAGE = Stage(
    trains=("codec",),
    recipes=CODEC,
    objective=codec_objective,
    data=codec_data,
    sheet=codec_sheet,
    worlds=tuple(WORLDS),
)
STAGES = {
    "codec": CODEC_STAGE,
    "refine": replace(CODEC_STAGE, recipes=REFINE, starts_from=("codec",)),
    "generator": Stage(
        trains=("transformer", "text"),
        recipes=GENERATOR,
        objective=generator_objective,
        data=generator_data,
        prepare=prepare_clips,
        sheet=generator_sheet,
        latents_of="codec",
        starts_from=("refine",),
    ),
}
