"""The training plan of Stable Video Diffusion: first the VAE, then the U-Net on its latents.

Paper, code and license: see `svd.py`. Latents come with the first frame in pixels, since the noise
on the still is drawn there. Lengths and sizes of the small presets are ours.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kinema.condition import Conditions, Grid, Tokens
from kinema.config import config
from kinema.data.batches import Source, WorldClips
from kinema.data.buckets import Bucket, Shaper
from kinema.data.clips import SPLITS, split_of
from kinema.noise import Noise
from kinema.systems.svd_conditions import conditions, first_frames
from kinema.training.clip_folder import encode_folder, find_clips, read_latents
from kinema.training.denoising import DenoisingObjective, Prepared
from kinema.training.objective import Batch
from kinema.training.recipe import UNCLIPPED, Recipe
from kinema.training.reconstruction import Reconstruction
from kinema.training.sheets import draw_sheet
from kinema.training.stage import Stage
from kinema.worlds import WORLDS

if TYPE_CHECKING:
    from kinema.systems.svd import SVD

STILL_NOISE = (-3.0, 0.5)  # mean and deviation of the logarithm of the noise on the still
ON_A_SHEET = 4


@config
class CodecRecipe(Recipe):
    """How the VAE is trained; `kl` is the weight of the KL, in nats per latent value."""

    kl: float


@config
class UNetRecipe(Recipe):
    """How U-Net and image encoder are trained.

    Args:
        drop: share of the clips that are learned without their still.
        skip_broken: of a folder of clips, train on those that can be used.
    """

    drop: float
    skip_broken: bool = False


# The authors' examples of training clip no gradient. Batches are split into single clips, of which
# one accelerator holds one.
FULL_CODEC = CodecRecipe(
    steps=200_000,
    batch_size=64,
    accumulate=64,
    learning_rate=1e-4,
    clip_norm=UNCLIPPED,
    held_out=16,
    kl=1e-6,
)
TINY_CODEC = CodecRecipe(
    steps=1500,
    batch_size=4,
    optimizer="muon",
    learning_rate=1.5e-3,
    warmup=50,
    decay=0.5,
    ema=0.99,
    report_every=500,
    save_every=500,
    held_out=16,
    kl=1e-3,
)
CODEC = {
    **dict.fromkeys(("full", "full_xt"), FULL_CODEC),
    "tiny": TINY_CODEC,
    "nano": TINY_CODEC.nano(batch_size=2),
}
FULL_UNET = UNetRecipe(
    steps=50_000,
    batch_size=768,
    accumulate=768,
    learning_rate=3e-5,
    decay=0.0,
    clip_norm=UNCLIPPED,
    precision="bfloat16",
    drop=0.1,
)
TINY_UNET = UNetRecipe(
    steps=2500,
    batch_size=8,
    learning_rate=1e-3,
    warmup=100,
    decay=0.5,
    ema=0.998,
    report_every=500,
    save_every=500,
    held_out=32,
    drop=0.1,
)
UNET = {
    **dict.fromkeys(("full", "full_xt"), FULL_UNET),
    "tiny": TINY_UNET,
    "nano": TINY_UNET.nano(batch_size=4),
}


def codec_objective(model: SVD, recipe: CodecRecipe) -> Reconstruction:
    """The VAE alone."""
    return Reconstruction(model.vae, kl=recipe.kl)


def unet_objective(model: SVD, recipe: UNetRecipe) -> DenoisingObjective:
    """U-Net and image encoder together; the VAE is fixed."""
    networks = {role: model.parts[role] for role in ("unet", "image")}
    prepare = partial(prepare_batch, model, recipe.drop)
    return DenoisingObjective(networks, predict="unet", process=model.process, prepare=prepare)


def prepare_batch(model: SVD, drop: float, batch: Batch, noise: Noise) -> Prepared:
    """Latents of clips, and conditions on their first frames; some go without token and latent."""
    latents = batch["latents"].to(model.device)
    stills, motion = first_frames(batch["stills"]).to(latents), batch["motion"].to(latents)
    mean, deviation = STILL_NOISE
    level = torch.exp(mean + deviation * noise.normal((len(noise),), "still noise")).to(latents)
    told = conditions(model, stills, motion, level, batch["fps"], noise)
    kept = (noise.uniform((len(noise),), "drop") >= drop).to(latents)
    token = kept.view(-1, 1, 1) * told.of(Tokens, "crossattn").x
    latent = kept.view(-1, 1, 1, 1, 1) * told.of(Grid, "concat").x
    told = Conditions({**told, "crossattn": Tokens(x=token), "concat": Grid(x=latent)})
    return Prepared(x0=latents, conditions=told, noise=noise)


def prepare_clips(model: SVD, recipe: UNetRecipe, named: str | None, folder: Path) -> str | None:
    """Encodes a folder of clips, which need no captions, beside the run.

    Returns:
        The folder of the latents; what was named where that is no folder of clips.

    Raises:
        InputError: nothing was named, or files of the folder cannot be used; each is named in the
            log.
    """
    clips = find_clips(named, captioned=False)
    if clips is None:
        return named
    size, pixels = model.config.sampling, model.config.vae.stride * model.config.unet.stride
    return encode_folder(
        model.encoded,
        model.vae,
        clips,
        folder,
        shaper=Shaper(Bucket(size.num_frames, size.height, size.width), (1, pixels, pixels)),
        fps=size.fps,
        stills=model.STILLS,
        pictures=False,
        check_caption=str,  # nobody reads them
        skip_broken=recipe.skip_broken,
    )


def codec_data(model: SVD, recipe: CodecRecipe, world: str) -> tuple[Source, Source]:
    """Clips that a world draws."""
    train, unseen = (split_of(world, split, model.config.sampling) for split in SPLITS)
    return WorldClips(train), WorldClips(unseen)


def codec_sheet(model: SVD, held_out: Batch, path: Path) -> None:
    """Held-out clips above what the VAE makes of them."""
    clips = held_out["clips"][:ON_A_SHEET].to(model.device)
    made = model.vae.decode(model.vae.encode(clips))
    captions = [said[0] for said in held_out["captions"]]
    draw_sheet(path, {"world": clips, "vae": made}, captions, columns=1)


def unet_data(model: SVD, recipe: UNetRecipe, folder: str) -> tuple[Source, Source]:
    """Latents that `kinema encode` or `prepare_clips` wrote with this model's VAE."""
    return read_latents(model.vae, folder, recipe.batch_size)


def unet_sheet(model: SVD, held_out: Batch, path: Path) -> None:
    """Held-out clips above what becomes of their first frames, always with the same noise."""
    clips = model.vae.decode(held_out["latents"][:ON_A_SHEET].to(model.device))
    noise = Noise(0, tuple(range(len(clips))))
    stills = first_frames(held_out["stills"][:ON_A_SHEET])
    made = model.animate(stills, noise=noise, sampling=model.config.sampling)
    captions = [said[0] for said in held_out["captions"]]
    draw_sheet(path, {"clip": clips, "made": made}, captions, columns=1)


STAGES = {
    "codec": Stage(
        trains=("vae",),
        recipes=CODEC,
        objective=codec_objective,
        data=codec_data,
        worlds=tuple(WORLDS),
        sheet=codec_sheet,
    ),
    "unet": Stage(
        trains=("unet", "image"),
        recipes=UNET,
        objective=unet_objective,
        data=unet_data,
        prepare=prepare_clips,
        latents_of="vae",
        sheet=unet_sheet,
        starts_from=("codec",),
    ),
}
