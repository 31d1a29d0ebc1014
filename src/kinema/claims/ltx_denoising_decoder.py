"""LTX-Video (arXiv 2501.00103, section 2.1): a decoder that denoises decodes noisy latents better.

Decoders with equal initial weights learn, by squared error alone, to decode latents that the
encoder of the shipped codec made of clips of the world `shapes`. They differ in what they see:

- ``told``: latents with noise of a level drawn from [0, 0.2], and the level, as in the paper;
- ``untold``: the same latents, but always the level 0;
- ``plain``: latents without noise, and the level 0.

All are the same network, so parameters and FLOPs are equal. Held-out latents are then decoded with
noise of known levels, as a sampler that stops early leaves them; ``plain`` gets them divided by
one minus the level, so that it suffers from the noise and not from their scale. ``psnr`` is the
mean, in dB, at the levels 0.05, 0.1 and 0.2; ``psnr/0`` is what the denoising costs without noise.

27 tokens, 0.8 million parameters, 1,500 steps of 0.07 s: about 16 minutes on one thread in all.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.claims.claim import Arm, Claim, Cost, Experiment, Measured, arms_of
from kinema.claims.shipped_latents import encoded, shipped
from kinema.claims.training import InMemory, cost_of, initialize, train
from kinema.networks.ltx_vae import LTXVAE
from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.recipe import Recipe
from kinema.training.reconstruction import psnr
from kinema.training.vae_gan import MAX_DECODE_NOISE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kinema.claims.record import Record

CLAIM = Claim(
    name="ltx_denoising_decoder",
    system="ltx_video",
    primary=False,
    statement="a decoder that learned to remove noise of a known level decodes noisy latents "
    "better than a decoder that learned clean ones",
    measure="psnr",
    better="higher",
    margin=0.3,
    tested="told",
    baseline="plain",
    tolerance=0.001,
    budget=40.0,
    invented=("the timed decoder of version 0.9.1 is taken for the paper's",),
)
LEVELS = (0.05, 0.1, 0.2)
UNSEEN = 1_000_003  # seed of the noise on held-out latents


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is drawn and learned; `width` is that of the decoder."""

    clips: int
    held_out: int
    frames: int
    side: int
    steps: int
    batch_size: int
    width: int


FULL = Scale(clips=512, held_out=64, frames=9, side=48, steps=1500, batch_size=8, width=16)


class NoisyDecoding(Objective):
    """One player, ``decoder``: squared error of clips (B, 3, T, H, W) from ``latents``.

    Args:
        codec: its decoder is trained.
        noised: whether it learns from latents with noise.
        told: whether it is told the level.
    """

    def __init__(self, codec: LTXVAE, *, noised: bool, told: bool) -> None:
        super().__init__()
        self.codec, self.noised, self.told = codec, noised, told
        self.players = {"decoder": ("codec.decoder.*",)}

    def decode(self, z: Tensor, level: Tensor, noise: Noise) -> Tensor:
        """Clips from latents (B, C, t, h, w) with noise of levels (B,)."""
        share = level.view(-1, 1, 1, 1, 1)
        z = (1 - share) * z + share * noise.normal(z.shape, "decode").to(z)
        if not self.noised:
            z = z / (1 - share)
        return self.codec.decode(z, time=level if self.told else torch.zeros_like(level)).float()

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """At levels drawn from [0, 0.2], or at 0."""
        level = MAX_DECODE_NOISE * noise.uniform((len(noise),), "decode level")
        level = level.to(batch["latents"]) * self.noised
        loss = F.mse_loss(self.decode(batch["latents"], level, noise), batch["clips"])
        return loss, {"loss": loss.detach()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """PSNR in dB without noise, at each level, and the mean over the levels."""
        logs = {}
        for share in (0.0, *LEVELS):
            level = torch.full((len(noise),), share, device=batch["latents"].device)
            y = self.decode(batch["latents"], level, noise).clamp(-1, 1)
            logs[f"psnr/{share:g}"] = psnr(y, batch["clips"]).mean()
        return {**logs, "psnr": torch.stack([logs[f"psnr/{s:g}"] for s in LEVELS]).mean()}


@functools.cache
def pairs(scale: Scale, split: str) -> InMemory:
    """Clips (N, 3, T, H, W) of a split and their latents (N, C, t, h, w)."""
    size = replace(
        shipped().config.sampling, num_frames=scale.frames, height=scale.side, width=scale.side
    )
    count = scale.clips if split == "train" else scale.held_out
    parts = [(batch["clips"], z) for batch, z in encoded(size, split, count)]
    clips, latents = (torch.cat(tensors) for tensors in zip(*parts))
    return InMemory({"clips": clips, "latents": latents}, {})


def made(name: str, scale: Scale, seed: int) -> NoisyDecoding:
    """What an arm learns by, with its initial weights and the latents' statistics."""
    config = replace(shipped().config.codec, decoder_base_channels=scale.width)
    codec = initialize(functools.partial(LTXVAE, config), seed)
    codec.mean_of_means.copy_(shipped().codec.mean_of_means)
    codec.std_of_means.copy_(shipped().codec.std_of_means)
    return NoisyDecoding(codec, noised=name != "plain", told=name == "told")


def run(name: str, scale: Scale, seed: int) -> Measured:
    """Trains an arm and decodes held-out latents."""
    objective = made(name, scale, seed)
    recipe = Recipe(
        steps=scale.steps,
        batch_size=scale.batch_size,
        optimizer="muon",
        learning_rate=1.5e-3,
        warmup=100,
        decay=0.4,
        ema=0.995,
    )
    train(objective, pairs(scale, "train"), recipe, seed=seed)
    samples = tuple(range(scale.held_out))
    with torch.no_grad():
        logs = objective.held_out(pairs(scale, "held_out")(samples), Noise(UNSEEN, samples))
    return {measure: float(value) for measure, value in logs.items()}


def cost(name: str, scale: Scale) -> Cost:
    """Of a training step of an arm."""
    batch = pairs(scale, "train")(tuple(range(scale.batch_size)))
    return cost_of(made(name, scale, seed=0), batch, scale.batch_size)


def arms(scale: Scale) -> tuple[Arm, ...]:
    """The three arms."""
    return arms_of(("told", "untold", "plain"), run, cost, scale)


def draw(record: Record, figure: Figure) -> None:
    """PSNR against the level of the noise: means over the seeds as lines, the seeds as dots."""
    axes = figure.add_subplot()
    levels = (0.0, *LEVELS)
    for name, arm in record.arms.items():
        (line,) = axes.plot(levels, [arm.mean(f"psnr/{x:g}") for x in levels], label=name)
        for values in arm.measured:
            axes.plot(levels, [values[f"psnr/{x:g}"] for x in levels], ".", color=line.get_color())
    axes.set_xlabel("level of the noise in the latents")
    axes.set_ylabel("PSNR, dB")
    axes.legend()


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw)
