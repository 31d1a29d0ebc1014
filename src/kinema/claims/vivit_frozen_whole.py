"""Optimizing ViViT Training (arXiv 2306.04822): freezing the spatial transformer costs no accuracy.

Both arms of a seed begin alike: with a spatial transformer that has learned in the system's stage
`image` what color the one object in frames of the world `motions` has and where it stands, an
adapter, and a temporal transformer that starts from its last blocks. They learn the twelve motions
from the same clips, for equally many steps by the same recipe:

- ``frozen``: the spatial transformer stays as it is. What it says of the clips is computed once,
  which changes nothing but the time;
- ``whole``: everything learns.

``top1`` is the share of held-out clips that are told rightly. The paper's bar is that freezing
loses no more than a point. A margin is above 0, so ``frozen`` is given two points and must be one
ahead in ``handicapped``. ``operations`` and ``memory`` are those of a training step of one clip, in
FLOPs and in bytes that are kept for the gradient, with no features kept; the bar is 0.6 of those of
``whole``. `bench/vivit_frozen_cost.py` measures seconds. What the runner compares are the networks
and what an answer costs, for it is the training that is meant to differ.

No pilot was run. Per seed 1,600 steps on stills of 0.04 s, features of 17,408 clips in 75
seconds, and 1,500 steps of 0.02 and 0.16 s: about 21 minutes on one thread in all.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import Tensor

from kinema.claims import motions
from kinema.claims.claim import Arm, Claim, Cost, Experiment, Measured, arms_of
from kinema.claims.figure import draw_pairs
from kinema.claims.training import train
from kinema.claims.vivit_frozen_adapter import FULL as ADAPTER
from kinema.claims.vivit_frozen_adapter import WORLD, Scale, initial, labeled, recipe, said
from kinema.data.batches import Source
from kinema.noise import Noise
from kinema.planning.meters import flops, saved_activations
from kinema.systems.vivit_frozen import ViViTFrozen
from kinema.systems.vivit_frozen_presets import IMAGES
from kinema.systems.vivit_frozen_training import STAGES
from kinema.training.classification import PLAYER, Classification
from kinema.training.objective import Objective
from kinema.worlds.motion_classes import CLASSES

CLAIM = Claim(
    name="vivit_frozen_whole",
    system="vivit_frozen",
    primary=False,
    statement="trained for as many steps, a ViViT whose spatial transformer is frozen knows "
    "motions at most a point worse than one that learns as a whole",
    measure="handicapped",
    better="higher",
    margin=0.01,
    tested="frozen",
    baseline="whole",
    tolerance=0.001,
    budget=40.0,
    invented=(
        "the form of the adapter",
        "which blocks the temporal transformer starts from",
    ),
)
FULL = replace(ADAPTER, image_steps=1600, steps=1500, batch_size=16)
LEARNS_BY = {"frozen": "classifier", "whole": "whole"}  # stages, where no features are kept
HANDICAP = {"frozen": 0.02, "whole": 0.0}
ONE = (0,)  # clip


@functools.cache
def image_model(scale: Scale, seed: int) -> dict[str, Tensor]:
    """Weights of a spatial transformer that knows what single frames show."""
    model, stage = initial("adapted", seed), STAGES["image"]
    plan = replace(IMAGES["tiny"], steps=scale.image_steps, batch_size=scale.batch_size)
    source, _ = stage.data(model, plan, WORLD)
    train(stage.objective(model, plan), source, plan, seed=seed)
    return model.spatial.state_dict()


def made(scale: Scale, seed: int) -> ViViTFrozen:
    """What both arms of a seed begin as."""
    model = initial("adapted", seed)
    model.spatial.load_state_dict(image_model(scale, seed))
    model.network.take(model.spatial.blocks[-model.config.network.num_layers :])
    return model


def objective(name: str, model: ViViTFrozen, scale: Scale) -> Classification:
    """What an arm learns by from clips."""
    learner = STAGES[LEARNS_BY[name]].objective(model, recipe(scale))
    assert isinstance(learner, Classification)
    return learner


def seen(scale: Scale) -> Source:
    """The clips that features are of; indices beyond their number begin anew."""
    source = labeled("train", "motion", CLASSES)
    return lambda samples: source(tuple(sample % scale.clips for sample in samples))


def run(name: str, scale: Scale, seed: int) -> Measured:
    """Trains an arm; what it knows of held-out clips, and what a step of it takes."""
    model = made(scale, seed)
    learner: Objective = objective(name, model, scale)
    train_on: Source = seen(scale)
    unseen: Source = labeled("held_out", "motion", CLASSES)
    if name == "frozen":
        learner = STAGES["cached"].objective(model, recipe(scale))
        train_on, unseen = (said(model, scale, split) for split in ("train", "held_out"))
    train(learner, train_on, recipe(scale), seed=seed)
    found = motions.told(learner, unseen, scale.held_out)
    return {**found, "handicapped": found["top1"] + HANDICAP[name], **step(name, scale)}


def step(name: str, scale: Scale) -> Measured:
    """What a training step of one clip takes: ``operations`` and ``memory``."""
    learner = objective(name, initial("adapted", 0), scale)
    trained = learner.trained(PLAYER)
    for known, parameter in learner.named_parameters():
        parameter.requires_grad_(known in trained)
    batch = seen(scale)(ONE)

    def loss() -> Tensor:
        return learner.loss(PLAYER, batch, 0, Noise(0, ONE))[0]

    kept = saved_activations(loss)
    return {"operations": flops(lambda: loss().backward()), "memory": kept}


def cost(name: str, scale: Scale) -> Cost:
    """Of an answer of an arm, and the parameters of both transformers."""
    model = initial("adapted", 0)
    learner = objective(name, model, scale)
    with torch.no_grad():
        operations = flops(learner.logits, seen(scale)(ONE)["clips"])
    return Cost(sum(parameter.numel() for parameter in model.parts.parameters()), operations)


def arms(scale: Scale) -> tuple[Arm, ...]:
    """Both arms."""
    return arms_of(tuple(LEARNS_BY), run, cost, scale)


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw_pairs)
