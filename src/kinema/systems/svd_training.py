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
import torch.nn.functional as F
from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Conditions, Grid, Tokens
from kinema.config import config
from kinema.data.batches import WorldClips
from kinema.media import write_contact_sheet
from kinema.networks.svd_vae import SVDVAE
from kinema.noise import Noise
from kinema.systems.svd_conditions import conditions
from kinema.training.denoising import DenoisingObjective
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.recipe import Recipe
from kinema.training.stage import Data, Stage
from kinema.training.vae_gan import psnr
from kinema.worlds import load as load_world

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


FULL_CODEC = CodecRecipe(
    steps=200_000,
    batch_size=64,
    learning_rate=1e-4,
    warmup=1000,
    decay=0.2,
    report_every=1000,
    save_every=1000,
    held_out=16,
    kl=1e-6,
)
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
    "nano": replace(TINY_CODEC, steps=8, batch_size=2, report_every=4, save_every=2, held_out=2),
}
FULL_UNET = UNetRecipe(
    steps=50_000,
    batch_size=768,
    learning_rate=3e-5,
    warmup=1000,
    decay=0.0,
    precision="bfloat16",
    report_every=1000,
    save_every=1000,
    held_out=64,
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
    "nano": replace(TINY_UNET, steps=8, batch_size=4, report_every=4, save_every=2, held_out=4),
}


class Reconstruction(Objective):
    """One player, ``codec``: squared error of clips (B, 3, T, H, W), and the KL of its latents."""

    def __init__(self, codec: SVDVAE, kl: float) -> None:
        super().__init__()
        self.codec, self.kl = codec, kl
        self.players = {"codec": ("codec.*",)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """At latents that are drawn from the posterior."""
        x = batch["clips"]
        mean, log_variance = (moment.float() for moment in self.codec.posterior(x))
        z = mean + (0.5 * log_variance).exp() * noise.normal(mean.shape, "posterior").to(x)
        mse = F.mse_loss(self.codec.decode(z * self.codec.config.scale).float(), x)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = mse + self.kl * kl
        return loss, {"loss": loss.detach(), "mse": mse.detach(), "kl": kl.detach()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """PSNR in dB and squared error at the mode, the error of a gray clip, the latents' spread.

        The spread should be about 1, which the process takes it for.
        """
        x = batch["clips"]
        z = self.codec.encode(x)
        y = self.codec.decode(z).float().clamp(-1, 1)
        trivial = (x - x.mean((2, 3, 4), keepdim=True)).square().mean()
        return {
            "loss": F.mse_loss(y, x),
            "psnr": psnr(y, x).mean(),
            "trivial": trivial,
            "latent_std": z.float().std(),
        }


def codec_objective(model: SVD, recipe: CodecRecipe) -> Reconstruction:
    """The VAE alone."""
    return Reconstruction(model.vae, recipe.kl)


def unet_objective(model: SVD, recipe: UNetRecipe) -> DenoisingObjective:
    """U-Net and image encoder together; the VAE is fixed."""
    networks = {role: model.parts[role] for role in ("unet", "image")}
    prepare = partial(prepare_batch, model, recipe.drop)
    return DenoisingObjective(networks, predict="unet", process=model.process, prepare=prepare)


def prepare_batch(model: SVD, drop: float, batch: Batch, noise: Noise) -> tuple[Tensor, Conditions]:
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
    return latents, Conditions({**told, "crossattn": Tokens(x=token), "concat": Grid(x=latent)})


def motion_bucket(clips: Tensor) -> Tensor:
    """How much moves in clips (B, 3, T, H, W): (B,), 0 to 255, by the change between frames."""
    change = clips.diff(dim=2).abs().mean((1, 2, 3, 4))
    return 255 * (change / MOST_CHANGE).clamp(max=1)


def clips_data(model: SVD, recipe: Recipe, named: str | None) -> Data:
    """Clips that a world draws, `shapes` if none is named."""
    size = {k: getattr(model.config.sampling, k) for k in ("num_frames", "height", "width", "fps")}
    train, unseen = (
        WorldClips(load_world(named or "shapes", seed=seed, split=split, **size))
        for seed, split in enumerate(("train", "held_out"))
    )
    return Data(train, unseen(tuple(range(recipe.held_out))))


def codec_sheet(model: SVD, held_out: Batch, path: Path) -> None:
    """Held-out clips above what the VAE makes of them."""
    clips = held_out["clips"][:ON_A_SHEET].to(model.device)
    draw_pairs(clips, model.vae.decode(model.vae.encode(clips)), "vae", model, path)


def unet_sheet(model: SVD, held_out: Batch, path: Path) -> None:
    """Held-out clips above what becomes of their first frames, always with the same noise."""
    clips = held_out["clips"][:ON_A_SHEET].to(model.device)
    noise = Noise(0, tuple(range(len(clips))))
    made = model.animate(clips[:, :, 0], noise=noise, sampling=model.config.sampling)
    draw_pairs(clips, made, "made", model, path)


def draw_pairs(real: Tensor, made: Tensor, name: str, model: SVD, path: Path) -> None:
    """A contact sheet of clips (B, 3, T, H, W) in [-1, 1], each above another one."""
    rows = [
        Clip.from_float(clip.float().cpu().numpy(), model.config.sampling.fps)
        for pair in zip(real, made)
        for clip in pair
    ]
    labels = ["world", name] * len(real)
    write_contact_sheet(path, rows, labels, columns=1, frames_per_clip=8, overwrite=True)


STAGES = {
    "codec": Stage(
        trains=("vae",),
        recipes=CODEC,
        objective=codec_objective,
        data=clips_data,
        sheet=codec_sheet,
    ),
    "unet": Stage(
        trains=("unet", "image"),
        recipes=UNET,
        objective=unet_objective,
        data=clips_data,
        sheet=unet_sheet,
        starts_from=("codec",),
    ),
}
