"""Unlabeled public clips (arXiv 2402.08875): the more there are, the less doubling them brings.

Networks with equal initial weights are pre-trained by VideoMAE V2 on 64, 256 and 1,024 clips of
the world `motions`, each for equally many steps, and then fine-tuned alike on labeled ones, as in
`videomae_v2_clean_clips`. Larger pools contain the smaller ones. ``gain`` is by how much more of
the motions of held-out clips a network knows whose pool was doubled twice:

- ``first``: from 64 clips to 256;
- ``second``: from 256 to 1,024.

Doubled twice, so that what it brings stands out from what seeds differ by. ``fewer`` and ``more``
are the shares that are known after the smaller and the larger pool, ``error`` is what pre-training
on the larger one leaves of hidden tubelets of held-out clips.

The pilot is that of `videomae_v2_clean_clips`: 45 % after 1,000 steps on clean clips, 30 % without
pre-training; none was run on few clips. Three pools, each for 1,200 steps of 0.06 s and 350 of
0.07 s: about 15 minutes on one thread in all.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from kinema.claims.claim import Arm, Claim, Cost, Experiment, Measured, arms_of
from kinema.claims.record import Record
from kinema.claims.training import InMemory, cost_of
from kinema.claims.videomae_v2_clean_clips import FULL as CLEAN
from kinema.claims.videomae_v2_clean_clips import Scale, drawn, learned, learner, made

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    name="videomae_v2_doubling",
    system="videomae_v2",
    primary=False,
    statement="pre-trained for equally many steps, a network gains more motions when few unlabeled "
    "clips are doubled twice than when four times as many are",
    measure="gain",
    better="higher",
    margin=0.01,
    tested="first",
    baseline="second",
    tolerance=0.001,
    budget=25.0,
    invented=("how many clips few are",),
)
FULL = replace(CLEAN, clips=64)  # of the smallest pool
POOLS = (1, 4, 16)  # in smallest pools
PAIRS = {"first": POOLS[:2], "second": POOLS[1:]}


def pool(times: int, scale: Scale) -> InMemory:
    """The first so many clips."""
    clips = drawn(scale, "train", 0, POOLS[-1] * scale.clips).fields["clips"]
    return InMemory({"clips": clips[: times * scale.clips]}, {})


@functools.cache
def known(times: int, scale: Scale, seed: int) -> Measured:
    """What a network knows that was pre-trained on a pool; two arms ask for one of them."""
    return learned(pool(times, scale), scale, seed)


def run(name: str, scale: Scale, seed: int) -> Measured:
    """What both doublings of an arm bring."""
    fewer, more = (known(times, scale, seed) for times in PAIRS[name])
    return {
        "gain": more["top1"] - fewer["top1"],
        "fewer": fewer["top1"],
        "more": more["top1"],
        "error": more["error"],
    }


def cost(name: str, scale: Scale) -> Cost:
    """Of a step of pre-training on the larger pool of an arm."""
    batch = pool(PAIRS[name][1], scale)(tuple(range(scale.batch_size)))
    return cost_of(learner("pretraining", made(0), scale), batch, scale.batch_size)


def arms(scale: Scale) -> tuple[Arm, ...]:
    """Both arms."""
    return arms_of(tuple(PAIRS), run, cost, scale)


def draw(record: Record, figure: Figure) -> None:
    """What is known after each pool, a line for each seed."""
    axes = figure.add_subplot()
    first, second = (record.arms[name].measured for name in PAIRS)
    for seed, (few, many) in enumerate(zip(first, second)):
        values = [few["fewer"], few["more"], many["more"]]
        axes.plot(POOLS, values, marker="o", label=f"seed {seed}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(POOLS, [f"{times}" for times in POOLS])
    axes.set_xlabel("unlabeled clips, in smallest pools")
    axes.set_ylabel("top1")
    axes.legend()


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw)
