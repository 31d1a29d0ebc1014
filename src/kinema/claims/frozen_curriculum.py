"""Frozen in Time (arXiv 2104.00650): single frames first, several at the end, at equal cost.

Retrievers with equal initial weights learn the same clips and stills of the world `shapes`, a step
on clips and a step on stills in turn, with texts of the world as queries. They differ in how many
frames of a clip a step sees:

- ``curriculum``: one frame for the first 70 % of the steps, four for the rest;
- ``full-frames``: four all the time.

Both have the same networks and the same FLOPs in all: one frame is cheaper, so the curriculum takes
more steps. What the runner tells as FLOPs of a step are here those of the whole training. Where
time goes is where FLOPs go: on one thread, a step on four frames has 2.8 times the FLOPs of a step
on one, and takes 2.7 times as long, so both arms take equally long, to 2 %.

Then each finds 512 clips of held-out combinations of shape, color and motion by their full
captions, with four frames. ``R@1`` is the share that comes first. A single frame shows no motion,
so whoever never learned from several could at best guess among clips that differ in it. Some
captions fit two of the clips, so 1 cannot be reached.

65 tokens, 0.2 million parameters, 1,600 steps of the baseline: about 18 minutes on one thread.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import torch

from kinema.claims.claim import Arm, Claim, Cost, Experiment, Measured, arms_of
from kinema.claims.figure import draw_pairs
from kinema.claims.training import InMemory, cost_of, initialize, train
from kinema.data.batches import SegmentFrames, ShapesStills, Source, WorldClips
from kinema.data.clips import ClipSize, split_of
from kinema.data.latents import in_batches
from kinema.networks.word_encoder import WordEncoderConfig
from kinema.noise import Noise
from kinema.systems.frozen_in_time import FrozenInTime
from kinema.systems.frozen_in_time_config import tiny
from kinema.systems.frozen_in_time_recipes import TINY, RetrieverRecipe
from kinema.systems.frozen_in_time_training import in_turns, looked_at, objective
from kinema.training.objective import Batch

CLAIM = Claim(
    name="frozen_curriculum",
    system="frozen_in_time",
    primary=True,
    statement="a retriever that learns from single frames first and from four at the end finds "
    "clips better than one that learns from four all the time, at equal FLOPs",
    measure="R@1",
    better="higher",
    margin=0.03,
    tested="curriculum",
    baseline="full-frames",
    tolerance=0.005,
    budget=25.0,
    invented=("the share of the steps that each phase has",),
)
WORLD = "shapes"
WORDS = 20  # as long as a caption of the world is, and two more
AT_ONCE = 64  # clips that are drawn together
STILL, FRAMES = 1, 4
PHASES: dict[str, tuple[tuple[int, ...], tuple[float, ...]]] = {  # frames and shares of the steps
    "curriculum": ((STILL, FRAMES), (0.7, 0.3)),
    "full-frames": ((FRAMES,), (1.0,)),
}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is drawn and learned; `steps` are those of the baseline, `frames` those drawn."""

    clips: int
    held_out: int
    frames: int
    side: int
    steps: int
    batch_size: int


FULL = Scale(clips=4096, held_out=512, frames=8, side=32, steps=1600, batch_size=64)


@functools.cache
def drawn(scale: Scale, split: str, num_frames: int) -> InMemory:
    """Clips (N, 3, num_frames, S, S) of a split with their captions; stills if there is one frame.

    Half precision keeps more levels than a picture has.
    """
    size = ClipSize(num_frames=num_frames, height=scale.side, width=scale.side, fps=8.0)
    kind = ShapesStills if num_frames == STILL else WorldClips
    source = kind(split_of(WORLD, split, size))
    count = scale.clips if split == "train" else scale.held_out
    batches = [source(samples) for samples in in_batches(range(count), AT_ONCE)]
    clips = torch.cat([batch["clips"].half() for batch in batches])
    captions = [said for batch in batches for said in batch["captions"]]
    return InMemory({"clips": clips, "captions": captions}, {})


def shuffled(source: Source, count: int) -> Source:
    """Samples of a source of `count`, each time through in another order."""

    @functools.cache
    def order(epoch: int) -> list[int]:
        return Noise(0, (epoch,)).permutation(count, "order").tolist()

    def batch(samples: tuple[int, ...]) -> Batch:
        return source(tuple(order(sample // count)[sample % count] for sample in samples))

    return batch


def made(scale: Scale, seed: int) -> FrozenInTime:
    """The model with its initial weights."""
    base = tiny()
    assert isinstance(base.text, WordEncoderConfig), "texts are those of a world"
    config = replace(
        base,
        text=replace(base.text, max_words=WORDS),
        video=replace(base.video, image_size=scale.side, num_frames=FRAMES),
    )
    return initialize(functools.partial(FrozenInTime, config), seed)


@functools.cache
def prices(scale: Scale) -> dict[int, Cost]:
    """What a step on clips costs, by the number of their frames; one on stills is that on one."""
    learned = objective(made(scale, seed=0), recipe("full-frames", scale, scale.steps))
    rows = tuple(range(scale.batch_size))
    clips = drawn(scale, "train", scale.frames)
    batches = {n: SegmentFrames(clips, num_frames=n, seed=0)(rows) for n in (STILL, FRAMES)}
    return {n: cost_of(learned, batch, scale.batch_size) for n, batch in batches.items()}


def recipe(name: str, scale: Scale, steps: int) -> RetrieverRecipe:
    """That of the preset tiny with the phases of an arm, for so many steps."""
    frames, shares = PHASES[name]
    return replace(TINY, steps=steps, batch_size=scale.batch_size, frames=frames, shares=shares)


def total(name: str, scale: Scale, steps: int) -> int:
    """FLOPs of so many steps of an arm: on clips and on stills in turn."""
    plan = recipe(name, scale, steps)
    seen = (STILL if step % 2 else plan.frames_at(step) for step in range(steps))
    return sum(prices(scale)[count].flops for count in seen)


def steps_of(name: str, scale: Scale) -> int:
    """How many steps an arm takes: as many as have the FLOPs of those of the baseline."""
    budget = total(CLAIM.baseline, scale, scale.steps)
    return round(scale.steps * budget / total(name, scale, scale.steps))


def run(name: str, scale: Scale, seed: int) -> Measured:
    """Trains an arm; how it finds held-out clips by their captions."""
    model, plan = made(scale, seed), recipe(name, scale, steps_of(name, scale))
    learned = objective(model, plan)
    clips, stills = (
        shuffled(drawn(scale, "train", count), scale.clips) for count in (scale.frames, STILL)
    )
    train(learned, in_turns(clips, stills, plan), plan, seed=seed)
    samples = tuple(range(scale.held_out))
    batch = looked_at(drawn(scale, "held_out", scale.frames), plan)(samples)
    with torch.no_grad():
        logs = learned.held_out(batch, Noise(0, samples))
    return {measure: float(value) for measure, value in logs.items() if measure != "trivial"}


def cost(name: str, scale: Scale) -> Cost:
    """Of the whole training of an arm."""
    parameters = prices(scale)[FRAMES].parameters
    return Cost(parameters=parameters, flops=total(name, scale, steps_of(name, scale)))


def arms(scale: Scale) -> tuple[Arm, ...]:
    """Both arms."""
    return arms_of(tuple(PHASES), run, cost, scale)


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw_pairs)
