"""The training plan of Stable Video Diffusion: first the VAE, then the U-Net on its latents.

Paper, code and licence: see `svd.py`. Latents are encoded on the fly, since the noise on the still
is drawn in pixels. Lengths and sizes of the small presets are ours.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kinema.condition import Conditions, Grid, Tokens
from kinema.config import config
from kinema.data.batches import Source, WorldClips
from kinema.data.clips import SPLITS, split_of
from kinema.noise import Noise
from kinema.systems.svd_conditions import conditions
from kinema.training.denoising import DenoisingObjective, Prepared
from kinema.training.objective import Batch
from kinema.training.recipe import Recipe
from kinema.training.reconstruction import Reconstruction
from kinema.training.sheets import draw_sheet
from kinema.training.stage import Stage
from kinema.worlds import WORLDS

if TYPE_CHECKING:
    from kinema.systems.svd import SVD

STILL_NOISE = (-3.0, 0.5)  # mean and deviation of the logarithm of the noise on the still
MOST_CHANGE = 0.05  # mean change between frames, of values in [-1, 1], of motion bucket 255
ON_A_SHEET = 4


@config
class CodecRecipe(Recipe):
    """How the VAE is trained; `kl` is the weight of the KL, in nats per latent value."""

    kl: float


@config
class UNetRecipe(Recipe):
    """How U-Net and image encoder are trained; `drop` is the share of clips without their still."""

    drop: float


FULL_CODEC = CodecRecipe(steps=200_000, batch_size=64, learning_rate=1e-4, held_out=16, kl=1e-6)
TINY_CODEC = replace(
    FULL_CODEC,
    steps=1500,
    batch_size=4,
    learning_rate=2e-3,
    warmup=50,
    decay=0.5,
    ema=0.99,
    report_every=500,
    save_every=500,
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
    learning_rate=3e-5,
    decay=0.0,
    precision="bfloat16",
    drop=0.1,
)
TINY_UNET = replace(
    FULL_UNET,
    steps=2500,
    batch_size=8,
    learning_rate=1e-3,
    warmup=100,
    decay=0.5,
    ema=0.998,
    precision="float32",
    report_every=500,
    save_every=500,
    held_out=32,
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


def prepare_batch(model: SVD, drop: float, batch: Batch, noise: Noise) -> list[Prepared]:
    """Latents of clips, and conditions on their first frames; some go without token and latent."""
    clips = batch["clips"].to(model.device)
    mean, deviation = STILL_NOISE
    level = torch.exp(mean + deviation * noise.normal((len(noise),), "still noise")).to(clips)
    with torch.no_grad():
        shape = (len(clips), *model.vae.latent_shape(*clips.shape[2:]))
        latents = model.vae.encode(clips, noise=noise.normal(shape, "posterior").to(clips))
    fps, motion = model.config.sampling.fps, motion_bucket(clips)
    told = conditions(model, clips[:, :, 0], motion, level, fps, noise)
    kept = (noise.uniform((len(noise),), "drop") >= drop).to(clips)
    token = kept.view(-1, 1, 1) * told.of(Tokens, "crossattn").x
    latent = kept.view(-1, 1, 1, 1, 1) * told.of(Grid, "concat").x
    told = Conditions({**told, "crossattn": Tokens(x=token), "concat": Grid(x=latent)})
    return [Prepared(x0=latents, conditions=told, noise=noise)]


def motion_bucket(clips: Tensor) -> Tensor:
    """How much moves in clips (B, 3, T, H, W): (B,), 0 to 255, by the change between frames."""
    change = clips.diff(dim=2).abs().mean((1, 2, 3, 4))
    return 255 * (change / MOST_CHANGE).clamp(max=1)


def data(model: SVD, recipe: Recipe, world: str) -> tuple[Source, Source]:
    """Clips that a world draws."""
    train, unseen = (split_of(world, split, model.config.sampling) for split in SPLITS)
    return WorldClips(train), WorldClips(unseen)


def codec_sheet(model: SVD, held_out: Batch, path: Path) -> None:
    """Held-out clips above what the VAE makes of them."""
    clips = held_out["clips"][:ON_A_SHEET].to(model.device)
    made = model.vae.decode(model.vae.encode(clips))
    captions = [said[0] for said in held_out["captions"]]
    draw_sheet(path, {"world": clips, "vae": made}, captions, columns=1)


def unet_sheet(model: SVD, held_out: Batch, path: Path) -> None:
    """Held-out clips above what becomes of their first frames, always with the same noise."""
    clips = held_out["clips"][:ON_A_SHEET].to(model.device)
    noise = Noise(0, tuple(range(len(clips))))
    made = model.animate(clips[:, :, 0], noise=noise, sampling=model.config.sampling)
    captions = [said[0] for said in held_out["captions"]]
    draw_sheet(path, {"world": clips, "made": made}, captions, columns=1)


STAGES = {
    "codec": Stage(
        trains=("vae",),
        recipes=CODEC,
        objective=codec_objective,
        data=data,
        worlds=tuple(WORLDS),
        sheet=codec_sheet,
    ),
    "unet": Stage(
        trains=("unet", "image"),
        recipes=UNET,
        objective=unet_objective,
        data=data,
        worlds=tuple(WORLDS),
        sheet=unet_sheet,
        starts_from=("codec",),
    ),
}
