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

from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Conditions
from kinema.data.batches import RandomCrops, WorldClips
from kinema.data.latents import LatentCache
from kinema.errors import InputError
from kinema.media import write_contact_sheet
from kinema.networks.ltx_transformer import patchify
from kinema.noise import Noise
from kinema.systems.ltx_video_recipes import (
    CODEC,
    GENERATOR,
    REFINE,
    CodecRecipe,
    GeneratorRecipe,
)
from kinema.training.denoising import DenoisingObjective
from kinema.training.objective import Batch
from kinema.training.stage import Data, Stage
from kinema.training.vae_gan import VAEGAN
from kinema.weights.digest import digest
from kinema.worlds import load as load_world

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo
    from kinema.systems.ltx_video_config import Sampling

ON_A_SHEET = 8


def codec_objective(model: LTXVideo, recipe: CodecRecipe) -> VAEGAN:
    """The codec against its critic."""
    return VAEGAN(model.codec, recipe.loss)


def codec_data(model: LTXVideo, recipe: CodecRecipe, named: str | None) -> Data:
    """Windows of clips that a world draws (`shapes` if none is named); whole clips are held out."""
    sampling = model.config.sampling
    windows = drawn_clips(named, replace(sampling, num_frames=recipe.frames), "train")
    unseen = drawn_clips(named, sampling, "held_out")
    return Data(
        RandomCrops(windows, side=recipe.crop, seed=0), unseen(tuple(range(recipe.held_out)))
    )


def drawn_clips(named: str | None, size: Sampling, split: str) -> WorldClips:
    """Clips of one split of a world, `shapes` if none is named."""
    world = load_world(
        named or "shapes",
        seed={"train": 0, "held_out": 1}[split],
        split=split,
        num_frames=size.num_frames,
        height=size.height,
        width=size.width,
        fps=size.fps,
    )
    return WorldClips(world)


def codec_sheet(model: LTXVideo, held_out: Batch, path: Path) -> None:
    """Held-out clips above what the codec makes of them."""
    clips = held_out["clips"][: ON_A_SHEET // 2].to(model.device)
    sampling = replace(model.config.sampling, decode_noise=0.0, decode_time=0.0)
    noise = Noise(0, tuple(range(len(clips))))
    decoded = model.decode(model.codec.encode(clips), noise=noise, sampling=sampling)
    rows = [row for pair in zip(clips, decoded) for row in pair]
    labels = [f"{name}: {said[0]}" for said in held_out["captions"] for name in ("clip", "codec")]
    draw_sheet(rows, labels, model.config.sampling.fps, path)


def generator_objective(model: LTXVideo, recipe: GeneratorRecipe) -> DenoisingObjective:
    """Transformer and text encoder together."""
    networks = {role: model.parts[role] for role in ("transformer", "text")}
    prepare = partial(prepare_batch, model, recipe.text_drop)
    return DenoisingObjective(
        networks, predict="transformer", process=model.process, prepare=prepare
    )


def prepare_batch(
    model: LTXVideo, text_drop: float, batch: Batch, noise: Noise
) -> tuple[Tensor, Conditions]:
    """Tokens and conditions from cached latents: one caption of each clip is drawn, and dropped now
    and then.
    """
    choice = noise.uniform((len(noise), 2), "caption").tolist()
    texts = [
        "" if drop < text_drop else captions[int(pick * len(captions))]
        for captions, (pick, drop) in zip(batch["captions"], choice)
    ]
    latents = batch["latents"].to(model.device)
    text = model.text(model.text.ids(texts).to(model.device))
    _, _, t, h, w = latents.shape
    return patchify(latents), model.conditions(text, (t, h, w), batch["fps"])


def generator_data(model: LTXVideo, recipe: GeneratorRecipe, named: str | None) -> Data:
    """Latents that `kinema encode` wrote with this model's codec."""
    if named is None:
        raise InputError(
            "the generator trains on latents: pass --data FOLDER that `kinema encode` wrote"
        )
    codec = digest(model.codec)
    train, unseen = (
        LatentCache(Path(named) / split, codec=codec, seed=0) for split in ("train", "held_out")
    )
    return Data(train, unseen(tuple(range(recipe.held_out))))


def generator_sheet(model: LTXVideo, held_out: Batch, path: Path) -> None:
    """Clips from the first captions of the held-out batch, always with the same noise."""
    prompts = [captions[0] for captions in held_out["captions"][:ON_A_SHEET]]
    noise = Noise(0, tuple(range(len(prompts))))
    sampling = model.config.sampling
    latents = model.latents(prompts, noise=noise, sampling=sampling, negative="")
    draw_sheet(
        list(model.decode(latents, noise=noise, sampling=sampling)), prompts, sampling.fps, path
    )


def draw_sheet(clips: list[Tensor], labels: list[str], fps: float, path: Path) -> None:
    """A contact sheet of clips (3, T, H, W) in [-1, 1]."""
    rows = [Clip.from_float(clip.float().cpu().numpy(), fps) for clip in clips]
    write_contact_sheet(
        path, rows, labels[: len(rows)], columns=1, frames_per_clip=9, overwrite=True
    )


STAGES = {
    "codec": Stage(
        trains=("codec",),
        recipes=CODEC,
        objective=codec_objective,
        data=codec_data,
        sheet=codec_sheet,
    ),
    "refine": Stage(
        trains=("codec",),
        recipes=REFINE,
        objective=codec_objective,
        data=codec_data,
        sheet=codec_sheet,
        starts_from=("codec",),
    ),
    "generator": Stage(
        trains=("transformer", "text"),
        recipes=GENERATOR,
        objective=generator_objective,
        data=generator_data,
        sheet=generator_sheet,
        starts_from=("refine",),
    ),
}
