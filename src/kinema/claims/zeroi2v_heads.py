"""ZeroI2V (arXiv 2310.01324): heads that read other frames let a frozen image ViT see motion.

An image tower learns in which ninth of a still of the world `motions` an object stands. Then it is
frozen, and adapters beside it learn the classes of motion from clips of 8 frames of 32x32, in which
that object is alone (``distractors=0``). The arms of a seed have the same tower, adapters, clips
and recipe:

- ``neighbors``: of four heads one reads keys and values of the frame before, one of that behind;
- ``own``: all heads read their own frame.

Neither has a parameter or an operation more. ``top1`` is the share of held-out clips whose motion
is told rightly. The adapters are then merged: ``merging`` is the largest change of a logit of
held-out clips by that (asked for: below 1e-5), ``operations`` what the merged network takes in
units of what the image tower takes for the frames of a clip (asked for: 1).
`bench/zeroi2v_cost.py` measures seconds.

A pilot of ``neighbors`` with one seed: after 500 steps the tower knew 81 % of 256 stills; the
adapters stayed at chance for 300 steps and knew 23 % of 128 clips after 600. So they get 1,100
steps here. None of ``own`` was run: frames one by one tell nothing in this world. About 0.2 s a
step, and 0.07 s of the tower: about 25 minutes on one thread in all.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kinema.claims import motions
from kinema.claims.claim import Arm, Claim, Cost, Experiment, Measured, arms_of
from kinema.claims.figure import draw_pairs
from kinema.claims.training import initialize
from kinema.planning.meters import flops
from kinema.systems.zeroi2v import ZeroI2VRecognizer
from kinema.systems.zeroi2v_presets import IMAGE, TINY, ZeroI2VModelConfig, tiny
from kinema.systems.zeroi2v_training import NINTHS
from kinema.training.classification import ClassifierRecipe

CLAIM = Claim(
    name="zeroi2v_heads",
    system="zeroi2v",
    primary=True,
    statement="adapters of a frozen image transformer tell more motions rightly when some of its "
    "heads read the frames before and behind",
    measure="top1",
    better="higher",
    margin=0.05,
    tested="neighbors",
    baseline="own",
    tolerance=0.001,
    budget=40.0,
)
STAGE, TOWER = "classifier", "image"
WORLD = "motions:distractors=0"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is learned, first by the tower, and told."""

    tower_steps: int
    steps: int
    batch_size: int
    held_out: int


FULL = Scale(tower_steps=800, steps=1100, batch_size=32, held_out=1024)


def config(name: str) -> ZeroI2VModelConfig:
    """That of the preset tiny, or the same without shifts."""
    base = tiny()
    shifts = base.network.shifts if name == "neighbors" else ()
    return replace(base, network=replace(base.network, shifts=shifts))


def recipe(scale: Scale) -> ClassifierRecipe:
    """That of the preset tiny, shorter."""
    return replace(TINY, steps=scale.steps, batch_size=scale.batch_size)


@functools.cache
def tower(scale: Scale, seed: int) -> dict[str, Tensor]:
    """The weights of a tower that has learned what stills show, without the head."""
    model = initialize(functools.partial(ZeroI2VRecognizer, config("own")), seed)
    model.reset_classifier(NINTHS)
    learning = replace(IMAGE, steps=scale.tower_steps, batch_size=scale.batch_size)
    motions.learned(model, TOWER, learning, world=WORLD, held_out=scale.held_out, seed=seed)
    weights = model.network.state_dict()
    return {name: value for name, value in weights.items() if not name.startswith("head.")}


def made(name: str, scale: Scale, seed: int) -> ZeroI2VRecognizer:
    """The model of an arm: a tower, adapters that change nothing yet, a new head."""
    model = initialize(functools.partial(ZeroI2VRecognizer, config(name)), seed)
    model.network.load_state_dict({**model.network.state_dict(), **tower(scale, seed)})
    return model


def run(name: str, scale: Scale, seed: int) -> Measured:
    """Trains the adapters of an arm and merges them; how many motions it tells rightly."""
    model = made(name, scale, seed)
    found = motions.learned(
        model, STAGE, recipe(scale), world=WORLD, held_out=scale.held_out, seed=seed
    )
    _, unseen = type(model).STAGES[STAGE].data(model, recipe(scale), WORLD)
    clips = unseen(tuple(range(scale.batch_size)))["clips"]
    merged = model.merged()
    with torch.inference_mode():
        change = float((model.logits(clips) - merged.logits(clips)).abs().max())
        stills = clips.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        operations = flops(merged.forward_features, clips) / flops(merged.forward_features, stills)
    return {**found, "merging": change, "operations": operations}


def cost(name: str, scale: Scale) -> Cost:
    """Of a training step of the adapters of an arm."""
    model = initialize(functools.partial(ZeroI2VRecognizer, config(name)), 0)
    return motions.step_cost(model, STAGE, recipe(scale), world=WORLD)


def arms(scale: Scale) -> tuple[Arm, ...]:
    """Both arms."""
    return arms_of(("neighbors", "own"), run, cost, scale)


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw_pairs)
