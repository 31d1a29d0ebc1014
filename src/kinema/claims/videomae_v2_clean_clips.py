"""Unlabeled public clips (arXiv 2402.08875): in pre-training, quality counts more than number.

Networks with equal initial weights are pre-trained by VideoMAE V2 for equally many steps, on clips
of the world `motions` without its labels and without the round object. The pools differ:

- ``clean``: clips as they are drawn;
- ``mixed``: these, and as many that are junk, so that the pool is twice as large;
- ``more``: twice as many as they are drawn.

A clip of junk is static noise, or is cut in the middle to another clip, or has lost its object, as
what lies on public platforms does where nobody looks; the authors search clips for scenes and for
people to avoid it. Junk is made of further clips, so no two clips of a pool are alike.

Then all are fine-tuned alike on labeled clips. ``top1`` is how often they tell the motion of
held-out clips rightly, of twelve; ``error`` is what pre-training leaves of hidden tubelets of
held-out clean clips, where gray ones have 0.76.

In a pilot of one seed, 1,000 steps of pre-training on clean clips brought the error from 0.90 to
0.58, and 350 of fine-tuning knew 45 % of the motions, without pre-training 30 %; no other arm was
tried before the margin was written. 64 tubelets, 0.2 million parameters, 1,200 steps of 0.06 s and
350 of 0.07 s: about 16 minutes on one thread in all.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kinema.claims.claim import Arm, Claim, Cost, Experiment, Measured, arms_of
from kinema.claims.figure import draw_pairs
from kinema.claims.training import InMemory, cost_of, initialize, train
from kinema.data.clips import split_of
from kinema.noise import Noise
from kinema.systems.recognizer_training import LabeledClips, drawn_size
from kinema.systems.videomae_v2 import VideoMAEV2
from kinema.systems.videomae_v2_presets import PRETRAIN_TINY, TINY, tiny
from kinema.systems.videomae_v2_training import STAGES
from kinema.training.classification import ClassifierRecipe
from kinema.training.masked_autoencoding import MaskedRecipe
from kinema.training.objective import Objective
from kinema.worlds.motion_classes import CLASSES

CLAIM = Claim(
    name="videomae_v2_clean_clips",
    system="videomae_v2",
    primary=True,
    statement="pre-trained for equally many steps, a network knows motions better after clean "
    "clips than after twice as many of which half is junk",
    measure="top1",
    better="higher",
    margin=0.02,
    tested="clean",
    baseline="mixed",
    tolerance=0.001,
    budget=25.0,
    invented=("what junk is, and how much of it there is",),
)
WORLD = "motions:distractors=0"
LABELED = 100_000  # the first of the clips whose labels are read
KINDS = 3  # of junk


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is drawn and learned."""

    clips: int
    labeled: int
    held_out: int
    pretraining: int
    steps: int
    batch_size: int


FULL = Scale(
    clips=768,
    labeled=4096,
    held_out=1024,
    pretraining=1200,
    steps=350,
    batch_size=32,
)


def made(seed: int) -> VideoMAEV2:
    """The model with its initial weights."""
    return initialize(lambda: VideoMAEV2(tiny()), seed)


@functools.cache
def drawn(scale: Scale, split: str, first: int, count: int) -> InMemory:
    """Clips of a split with their motions."""
    size = drawn_size(made(0))
    source = LabeledClips(split_of(WORLD, split, size), "motion", CLASSES)
    return InMemory(source(tuple(range(first, first + count))), {})


@functools.cache
def pool(name: str, scale: Scale) -> InMemory:
    """What an arm is pre-trained on."""
    clips = drawn(scale, "train", 0, 2 * scale.clips).fields["clips"]
    own, others = clips[: scale.clips], clips[scale.clips :]
    if name == "clean":
        return InMemory({"clips": own}, {})
    return InMemory({"clips": clips if name == "more" else torch.cat([own, junk(others)])}, {})


def junk(clips: Tensor) -> Tensor:
    """Clips (B, 3, T, S, S) in [-1, 1] as nobody wants them, of each kind as many."""
    length = clips.shape[2]
    noise = Noise(0, tuple(range(len(clips)))).uniform(clips.shape, "static") * 2 - 1
    other = clips.roll(1, 0)
    cut = torch.cat([clips[:, :, : length // 2], other[:, :, length // 2 :]], 2)
    ground = clips.median(2, keepdim=True).values.expand_as(clips)
    kind = torch.arange(len(clips), device="cpu").remainder(KINDS)[:, None, None, None, None]
    return torch.where(kind == 0, noise, torch.where(kind == 1, cut, ground))


def pretraining(scale: Scale) -> MaskedRecipe:
    """That of the preset tiny."""
    return replace(PRETRAIN_TINY, steps=scale.pretraining, batch_size=scale.batch_size)


def finetuning(scale: Scale) -> ClassifierRecipe:
    """That of the preset tiny."""
    return replace(TINY, steps=scale.steps, batch_size=scale.batch_size)


def learner(stage: str, model: VideoMAEV2, scale: Scale) -> Objective:
    """What a stage learns by."""
    recipe = pretraining(scale) if stage == "pretraining" else finetuning(scale)
    return STAGES[stage].objective(model, recipe)


def run(name: str, scale: Scale, seed: int) -> Measured:
    """Pre-trains on the pool of an arm, then fine-tunes; what it then knows."""
    return learned(pool(name, scale), scale, seed)


def learned(unlabeled: InMemory, scale: Scale, seed: int) -> Measured:
    """What a network knows of held-out clips, pre-trained on these and then fine-tuned."""
    model = made(seed)
    first = learner("pretraining", model, scale)
    train(first, unlabeled, pretraining(scale), seed=seed)
    error = unseen(first, scale)["loss"]
    second = learner("classifier", model, scale)
    labeled = drawn(scale, "train", LABELED, scale.labeled)
    train(second, labeled, finetuning(scale), seed=seed)
    known = unseen(second, scale)
    return {"top1": known["top1"], "loss": known["loss"], "error": error}


@torch.no_grad()
def unseen(objective: Objective, scale: Scale) -> dict[str, float]:
    """Numbers of held-out clips."""
    rows = tuple(range(scale.held_out))
    logs = objective.held_out(drawn(scale, "held_out", 0, scale.held_out)(rows), Noise(0, rows))
    return {name: float(value) for name, value in logs.items()}


def cost(name: str, scale: Scale) -> Cost:
    """Of a step of pre-training."""
    batch = pool(name, scale)(tuple(range(scale.batch_size)))
    return cost_of(learner("pretraining", made(0), scale), batch, scale.batch_size)


def arms(scale: Scale) -> tuple[Arm, ...]:
    """All three."""
    return arms_of(("clean", "mixed", "more"), run, cost, scale)


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw_pairs)
