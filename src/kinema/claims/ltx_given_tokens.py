"""LTX-Video (arXiv 2501.00103, section 2.4): a time per token lets a generator go on from a frame.

It takes no new parameter.

Two generators with equal initial weights learn the same clips of the world `shapes`, as latents of
the shipped codec. In half of the rows the first latent frame is given: it stands in the state
without noise and is left out of the loss. The arms differ in what the network is told of it:

- ``per-token``: time 0 on the tokens that are given, t on the others, as in the paper;
- ``one-time``: t on all tokens, so that it must see for itself which are clean. Parameters and
  FLOPs are the same: the one time is written on every token.

Both then go on from the first frames of held-out clips, under their captions, without guidance.
``error`` is the squared error of all latent frames after the given one against those of the clip,
in units of a variance of about 1; ``error without frame`` is that of the same network from the
caption alone, and ``first frame without`` what it gets wrong of the frame that is not given, which
is 0 by construction where it is.

64 tokens, 1.4 million parameters, 1,500 steps of 0.16 s: about 25 minutes on one thread in all.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from kinema.claims.claim import Arm, Claim, Cost, Experiment, Measured, arms_of
from kinema.claims.figure import draw_pairs
from kinema.claims.shipped_latents import encoded, shipped
from kinema.claims.training import InMemory, cost_of, initialize, train
from kinema.condition import Conditions
from kinema.hooks.hold import Hold
from kinema.networks.ltx_transformer import patchify, unpatchify
from kinema.noise import Noise
from kinema.processes.guidance import plain
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_config import Sampling
from kinema.systems.ltx_video_presets import WORDS
from kinema.systems.ltx_video_recipes import GENERATOR, GeneratorRecipe
from kinema.systems.ltx_video_training import generator_objective
from kinema.training.objective import Objective

CLAIM = Claim(
    name="ltx_given_tokens",
    system="ltx_video",
    primary=True,
    statement="told the time of every token, a network goes on from a given first frame better "
    "than the same network told one time for all tokens",
    measure="error",
    better="lower",
    margin=0.05,
    tested="per-token",
    baseline="one-time",
    tolerance=0.001,
    budget=40.0,
)
UNSEEN = 1_000_003  # seed of the noise that held-out clips are made from


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is drawn, learned and sampled."""

    clips: int
    held_out: int
    frames: int
    side: int
    steps: int
    batch_size: int
    sampling_steps: int


FULL = Scale(
    clips=1024, held_out=64, frames=13, side=64, steps=1500, batch_size=8, sampling_steps=20
)


class OneTime(nn.Module):
    """Tells a transformer the latest time of all tokens on each of them."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        """Velocity (B, N, C) of tokens x (B, N, C) at times (B,) or (B, N)."""
        if time.ndim == 2:
            time = time.amax(1, keepdim=True).expand_as(time)
        velocity: Tensor = self.transformer(x, time, conditions)
        return velocity


def sampling(scale: Scale) -> Sampling:
    """Size and steps of the clips."""
    return replace(
        shipped().config.sampling,
        num_frames=scale.frames,
        height=scale.side,
        width=scale.side,
        steps=scale.sampling_steps,
        perturbed_blocks=(),
    )


@functools.cache
def latents(scale: Scale, split: str) -> InMemory:
    """Latents (N, C, t, h, w) of clips of a split, with their captions."""
    size = sampling(scale)
    count = scale.clips if split == "train" else scale.held_out
    parts, captions = [], []
    for batch, z in encoded(size, split, count):
        parts.append(z)
        captions += batch["captions"]
    return InMemory({"latents": torch.cat(parts), "captions": captions}, {"fps": size.fps})


def made(name: str, scale: Scale, seed: int) -> tuple[LTXVideo, Objective]:
    """The model of an arm with its initial weights, and what it learns by."""
    base = shipped().config
    config = replace(
        base,
        text=replace(WORDS, width=64, num_heads=2),
        transformer=replace(
            base.transformer, caption_channels=64, num_layers=4, num_heads=4, head_width=32
        ),
        sampling=sampling(scale),
    )
    model = initialize(functools.partial(LTXVideo, config), seed)
    if name == "one-time":
        model.parts["transformer"] = OneTime(model.transformer)
    return model, generator_objective(model, recipe(scale))


def recipe(scale: Scale) -> GeneratorRecipe:
    """That of the preset tiny; the first frame of every second clip is given, without noise."""
    return replace(
        GENERATOR["tiny"],
        steps=scale.steps,
        batch_size=scale.batch_size,
        warmup=100,
        ema=0.995,
        first_given=0.5,
        start_given=0.0,
        stills_given=0.0,
        given_level=0.0,
        shown=0.0,
    )


def run(name: str, scale: Scale, seed: int) -> Measured:
    """Trains an arm; what it gets wrong of held-out clips with and without their first frames."""
    model, objective = made(name, scale, seed)
    train(objective, latents(scale, "train"), recipe(scale), seed=seed)
    batch = latents(scale, "held_out")(tuple(range(scale.held_out)))
    z = batch["latents"]
    given, alone = (
        (sampled(model, scale, batch["captions"], z, given=given) - z).square()
        for given in (True, False)
    )
    return {
        "error": float(given[:, :, 1:].mean()),
        "error without frame": float(alone[:, :, 1:].mean()),
        "first frame": float(given[:, :, 0].mean()),
        "first frame without": float(alone[:, :, 0].mean()),
    }


@torch.inference_mode()
def sampled(
    model: LTXVideo, scale: Scale, captions: list[tuple[str, ...]], z: Tensor, *, given: bool
) -> Tensor:
    """Latents (B, C, t, h, w) from captions, and from the first latent frames of z if `given`."""
    x0, (t, h, w), size = patchify(z), z.shape[2:], sampling(scale)
    noise = Noise(UNSEEN, tuple(range(len(z))))
    text = model.text(model.text.ids([said[0] for said in captions]))
    stills = torch.zeros(len(z), 0, dtype=torch.long, device=z.device)
    conditions = model.conditions(text, (t, h, w), size.fps, stills)
    x, strength = model.process.start(x0.shape, noise), torch.zeros(x0.shape[:2], device=z.device)
    if given:
        x[:, : h * w], strength[:, : h * w] = x0[:, : h * w], 1
    tokens = model.process.sample(
        model.transformer,
        x,
        model.sigmas(size.steps, x.shape[1], size.terminal),
        conditions=conditions,
        guidance=plain,
        hooks=[Hold(given=x, strength=strength, noise=noise, noise_scale=0.0)],
    )
    return unpatchify(tokens, h, w)


def cost(name: str, scale: Scale) -> Cost:
    """Of a training step of an arm."""
    batch = latents(scale, "train")(tuple(range(scale.batch_size)))
    return cost_of(made(name, scale, seed=0)[1], batch, scale.batch_size)


def arms(scale: Scale) -> tuple[Arm, ...]:
    """Both arms."""
    return arms_of(("per-token", "one-time"), run, cost, scale)


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw_pairs)
