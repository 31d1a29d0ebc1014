"""IA-RED^2 (arXiv 2106.12620): what interpreters drop by reward is what matters least.

A DeiT learns the colors of objects with corners in single frames of the world `motions`, with all
its patches. From there, with the same clips and as many steps for the transformer:

- ``rewarded``: interpreters learn by reward which patches may go, and the transformer learns with
  what they leave, as in the system's stage `policy`;
- ``random``: the transformer learns with patches that are dropped at random, before each group of
  blocks as many as those interpreters drop of held-out frames in the mean.

So both compute as many patches, and neither is faster than the other; the baseline computes the
interpreters' scores too, and does not read them, so that it has as many parameters. What decides is
``top1``, the share of held-out frames whose color is told rightly with the patches that are left.
Beside it: ``all patches``, the same of the same transformer with nothing dropped; ``host``, that of
the DeiT before; ``kept``, the share of patches that a block computes; ``faster``, the operations
of all patches over those of what interpreters keep. `bench/ia_red2_speed.py` measures seconds.

No pilot was run. The system's preset `tiny` had told 0.578 of 128 held-out clips with all patches
and 0.547 with the kept ones, 1.54 times as fast (`bench/ia_red2_speed.py`, one run of an earlier
recipe). 1,000, 1,200 and 750 steps of about 0.1 s: about 15 minutes on one thread in all.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.claims.claim import Arm, Claim, Cost, Experiment, Measured, arms_of
from kinema.claims.figure import draw_pairs
from kinema.claims.training import initialize, train
from kinema.data.batches import SegmentFrames, Source
from kinema.metrics.accuracy import hits
from kinema.networks.ia_red2 import with_class_token
from kinema.noise import Noise
from kinema.planning.meters import flops
from kinema.systems.ia_red2 import IARED2
from kinema.systems.ia_red2_config import tiny
from kinema.systems.ia_red2_policy import HOST, PolicyRecipe
from kinema.systems.ia_red2_training import HOSTS, POLICIES, STAGES
from kinema.training.objective import Batch, Logs, Objective

CLAIM = Claim(
    name="ia_red2_rewards",
    system="ia_red2",
    primary=True,
    statement="a transformer that drops patches by interpreters that learned by reward tells more "
    "pictures rightly than one that drops as many at random",
    measure="top1",
    better="higher",
    margin=0.02,
    tested="rewarded",
    baseline="random",
    tolerance=0.01,
    budget=40.0,
)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is learned, by the DeiT and then by the policy, and told."""

    host_steps: int
    steps: int
    batch_size: int
    held_out: int


FULL = Scale(host_steps=1000, steps=1200, batch_size=32, held_out=1024)
WORLD = "motions"
UNSEEN = 1_000_003  # seed of what is dropped at random of held-out frames
NAMES = ("rewarded", "random")


class RandomDropping(Objective):
    """One player, the transformer: cross-entropy with patches that are dropped at random.

    Args:
        model: its transformer is trained.
        shares: of the patches that each group of blocks gets, in the mean.
    """

    def __init__(self, model: IARED2, shares: Sequence[float]) -> None:
        super().__init__()
        self.network, self.see, self.shares = model.network, model.seen, shares
        self.players = {HOST: ("network.*",)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """Of one batch."""
        logits, _ = self.see(batch["clips"], functools.partial(at_random, self.shares, noise))
        loss = F.cross_entropy(logits, batch["classes"])
        return loss, {"loss": loss.detach()}


def at_random(
    shares: Sequence[float], noise: Noise, group: int, scores: Tensor, there: Tensor
) -> Tensor:
    """The tokens (B, N) that a group gets, whatever their scores, of those that are there."""
    before = shares[group - 1] if group else 1.0
    shape = (len(noise), len(scores) // len(noise), scores.shape[1])
    lots = noise.uniform(shape, f"group {group}").flatten(0, 1)
    return with_class_token(there & (lots * before < shares[group]))


def sources(model: IARED2) -> tuple[Source, Source]:
    """Clips of two frames with their colors to train on; the middle frames of held-out ones."""
    drawn, unseen = STAGES["classifier"].data(model, HOSTS["tiny"], WORLD)
    return drawn, SegmentFrames(unseen, num_frames=1, seed=None)


def policy(scale: Scale) -> PolicyRecipe:
    """That of the preset tiny."""
    return replace(POLICIES["tiny"], steps=scale.steps, batch_size=scale.batch_size)


@functools.cache
def host(scale: Scale, seed: int) -> IARED2:
    """A model whose transformer has learned with all patches; it is not changed."""
    model = initialize(functools.partial(IARED2, tiny()), seed)
    recipe = replace(HOSTS["tiny"], steps=scale.host_steps, batch_size=scale.batch_size)
    objective = STAGES["classifier"].objective(model, recipe)
    train(objective, sources(model)[0], recipe, seed=seed)
    return model


@functools.cache
def rewarded(scale: Scale, seed: int) -> IARED2:
    """The same with interpreters that have learned; it is not changed."""
    model = copy.deepcopy(host(scale, seed))
    recipe = policy(scale)
    objective = STAGES["policy"].objective(model, recipe)
    train(objective, sources(model)[0], recipe, seed=seed)
    return model


def dropping_at_random(scale: Scale, seed: int, shares: Sequence[float]) -> IARED2:
    """A model whose transformer has had as many steps with patches dropped at random."""
    model, whole = copy.deepcopy(host(scale, seed)), policy(scale)
    objective = STAGES["policy"].objective(model, whole)
    turns = sum(HOST in objective.turns(step) for step in range(whole.steps))
    recipe = replace(whole, steps=turns, learning_rate=whole.learning_rate * whole.host_rate)
    train(RandomDropping(model, shares), sources(model)[0], recipe, seed=seed)
    return model


def run(name: str, scale: Scale, seed: int) -> Measured:
    """Trains an arm; what it tells of held-out frames with the patches that it keeps."""
    before, model = host(scale, seed), rewarded(scale, seed)
    samples = tuple(range(scale.held_out))
    batch = sources(model)[1](samples)
    clips, classes = batch["clips"], batch["classes"]
    with torch.no_grad():
        logits, found = model.seen(clips, None)
        faster = flops(model.whole_logits, clips) / flops(model.logits, clips)
    if name == "random":
        shares = found.kept[:, :, 1:].float().mean((1, 2)).tolist()
        model = dropping_at_random(scale, seed, shares)
        choose = functools.partial(at_random, shares, Noise(UNSEEN, samples))
        with torch.no_grad():
            logits, found = model.seen(clips, choose)

    def right(logits: Tensor) -> float:
        return float(hits(logits, classes, 1).mean())

    with torch.no_grad():
        return {
            "top1": right(logits),
            "loss": float(F.cross_entropy(logits, classes)),
            "all patches": right(model.whole_logits(clips)),
            "host": right(before.whole_logits(clips)),
            "kept": float(model.policy.cost(found.kept).mean()),
            "faster": faster,
        }


def cost(name: str, scale: Scale) -> Cost:
    """Of a training step of the transformer, as it learns with dropped patches."""
    model = initialize(functools.partial(IARED2, tiny()), 0)
    batch = sources(model)[0](tuple(range(scale.batch_size)))
    objective: Objective = RandomDropping(model, (0.5,) * len(model.policy.agents))
    if name == "rewarded":
        objective = STAGES["policy"].objective(model, policy(scale))

    def step() -> None:
        noise = Noise(0, tuple(range(scale.batch_size)))
        objective.loss(HOST, batch, scale.steps - 1, noise)[0].backward()

    parameters = sum(parameter.numel() for parameter in model.parts.parameters())
    return Cost(parameters=parameters, flops=flops(step))


def arms(scale: Scale) -> tuple[Arm, ...]:
    """Both arms."""
    return arms_of(NAMES, run, cost, scale)


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw_pairs)
