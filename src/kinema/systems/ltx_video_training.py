"""The training plan of LTX-Video: first the codec against its critic, then the generator on its
latents.

Paper, code and license: see `ltx_video.py`. Losses follow the paper, times the authors' trainer of
LTX-2; sizes and lengths are ours.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kinema.data.batches import RandomCrops, Source, WorldClips
from kinema.data.clips import split_of
from kinema.data.latents import LatentCache
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.ltx_video_clips import prepare_clips
from kinema.systems.ltx_video_given import STILLS, GivenFrames
from kinema.systems.ltx_video_recipes import (
    CODEC,
    GENERATOR,
    REFINE,
    CodecRecipe,
    GeneratorRecipe,
)
from kinema.training.clip_folder import read_latents
from kinema.training.objective import Batch
from kinema.training.sheets import draw_sheet
from kinema.training.stage import Stage
from kinema.training.vae_gan import VAEGAN
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


def generator_objective(model: LTXVideo, recipe: GeneratorRecipe) -> GivenFrames:
    """Transformer and text encoder together."""
    return GivenFrames(model, recipe)


def generator_data(model: LTXVideo, recipe: GeneratorRecipe, folder: str) -> tuple[Source, Source]:
    """Latents that `kinema encode` or `prepare_clips` wrote with this model's codec."""
    train, unseen = read_latents(model.codec, folder, recipe.batch_size)
    if recipe.stills_given and isinstance(train, LatentCache) and train.key.stills < STILLS:
        raise InputError(
            f"recipe.stills_given={recipe.stills_given} needs {STILLS} single frames of each clip, "
            f"which {folder} lacks: encode into another folder"
        )
    if recipe.shown and not (isinstance(train, LatentCache) and "shown" in train.tensors):
        raise InputError(
            f"recipe.shown={recipe.shown} needs what tokens show, which {folder} lacks: encode "
            "a world into another folder, or set recipe.shown=0"
        )
    return train, unseen


def generator_sheet(model: LTXVideo, held_out: Batch, path: Path) -> None:
    """Clips from the first captions of the held-out batch, in one pass and always with the same
    noise.
    """
    prompts = [captions[0] for captions in held_out["captions"][:ON_A_SHEET]]
    noise = Noise(0, tuple(range(len(prompts))))
    sampling = replace(model.config.sampling, second=None)
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
