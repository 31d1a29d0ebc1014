"""UniFormerV2 (arXiv 2211.09552): local aggregators beside global ones are worth their cost.

Networks learn the classes of the world `motions` from clips of 8 frames of 32x32, from nothing,
with the same clips, recipe and seeds. They cost the same:

- ``both``: local aggregators in every block, and a video token that reads after the last two, as
  in the paper's networks for motion;
- ``global``: the video token alone, which reads a tower of width 72 in the place of 64;
- ``local``, an arm of `uniformerv2_local`: the local aggregators alone, 88 channels wide in the
  place of 42; the features are the mean of the class tokens.

Patches are of single frames, so that nothing but the aggregators mixes frames. What decides is
``top1``, the share of held-out clips that are told rightly.

No pilot was run of these arms. In a trial of the system's preset `tiny`, which is ``both`` with 16
frames and patches of 3, 292 steps led to 35 % of 256 clips, so there is room above and below.
600 steps of about 0.2 s: about 14 minutes on one thread in all.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

from kinema.claims import motions
from kinema.claims.claim import Arm, Claim, Cost, Experiment, Measured, arms_of
from kinema.claims.figure import draw_pairs
from kinema.claims.training import initialize
from kinema.systems.uniformerv2 import UniFormerV2Recognizer
from kinema.systems.uniformerv2_presets import TINY, UniFormerV2ModelConfig, tiny
from kinema.training.classification import ClassifierRecipe

CLAIM = Claim(
    name="uniformerv2_aggregators",
    system="uniformerv2",
    primary=True,
    statement="with local and global aggregators a network tells more motions rightly than with "
    "global ones alone at equal cost",
    measure="top1",
    better="higher",
    margin=0.05,
    tested="both",
    baseline="global",
    tolerance=0.07,
    budget=30.0,
)
STAGE, WORLD = "classifier", "motions"
SIZES: dict[str, dict[str, Any]] = {
    "both": {},
    "global": {"num_local": 0, "width": 72, "read_hidden": 32},
    "local": {"read_after": (), "local_width": 88},
}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is learned and told."""

    steps: int
    batch_size: int
    held_out: int


FULL = Scale(steps=600, batch_size=32, held_out=1024)


def config(name: str) -> UniFormerV2ModelConfig:
    """That of the preset tiny with 8 frames, patches of one frame and narrow readers."""
    base = tiny()
    common = replace(
        base.network, tube_frames=1, tube_stride=1, local_width=42, read_hidden=64, dropout=0.0
    )
    return replace(
        base,
        views=replace(base.views, num_frames=8),
        network=replace(common, **SIZES[name]),
    )


def made(name: str, seed: int) -> UniFormerV2Recognizer:
    """The model of an arm with its initial weights."""
    return initialize(functools.partial(UniFormerV2Recognizer, config(name)), seed)


def recipe(scale: Scale) -> ClassifierRecipe:
    """That of the preset tiny, shorter."""
    return replace(TINY, steps=scale.steps, batch_size=scale.batch_size)


def run(name: str, scale: Scale, seed: int) -> Measured:
    """Trains an arm; how many motions it tells rightly."""
    model = made(name, seed)
    return motions.learned(
        model, STAGE, recipe(scale), world=WORLD, held_out=scale.held_out, seed=seed
    )


def cost(name: str, scale: Scale) -> Cost:
    """Of a training step of an arm."""
    return motions.step_cost(made(name, seed=0), STAGE, recipe(scale), world=WORLD)


def arms(scale: Scale) -> tuple[Arm, ...]:
    """Both arms of this claim."""
    return arms_of(("both", "global"), run, cost, scale)


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw_pairs)
