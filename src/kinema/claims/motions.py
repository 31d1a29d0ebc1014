"""What claims about networks of clips share: training and telling apart the world `motions`.

Its twelve classes, whose difficulty is fixed in docs/recognizers.md, cannot be told from frames
without their order; a guess has 0.083 and 2.485.
"""

from __future__ import annotations

import torch

from kinema.claims.claim import Cost, Measured
from kinema.claims.training import cost_of, train
from kinema.data.batches import Source
from kinema.data.latents import in_batches
from kinema.noise import Noise
from kinema.systems.recognizer import Recognizer
from kinema.training.classification import ClassifierRecipe
from kinema.training.objective import Objective

AT_ONCE = 64  # held-out clips


def learned(
    model: Recognizer,
    stage: str,
    recipe: ClassifierRecipe,
    *,
    world: str,
    held_out: int,
    seed: int,
) -> Measured:
    """Trains a stage of a recognizer on fresh clips; what it tells of held-out ones.

    Args:
        model: it is trained in place, and in eval mode then.
        stage: of its system.
        recipe: the numbers.
        world: `motions`, with options.
        held_out: clips.
        seed: of the noise.

    Returns:
        ``top1``, the share that is told rightly, and ``loss``, the cross-entropy.
    """
    plan = type(model).STAGES[stage]
    objective = plan.objective(model, recipe)
    source, unseen = plan.data(model, recipe, world)
    train(objective, source, recipe, seed=seed)
    return told(objective, unseen, held_out)


def told(objective: Objective, unseen: Source, count: int) -> Measured:
    """What an objective tells of the first clips of a source: ``top1`` and ``loss``."""
    sums = {"top1": 0.0, "loss": 0.0}
    for samples in in_batches(range(count), AT_ONCE):
        with torch.no_grad():
            logs = objective.held_out(unseen(samples), Noise(0, samples))
        sums = {name: sums[name] + len(samples) * float(logs[name]) for name in sums}
    return {name: total / count for name, total in sums.items()}


def step_cost(model: Recognizer, stage: str, recipe: ClassifierRecipe, *, world: str) -> Cost:
    """Of a training step; see `learned`."""
    plan = type(model).STAGES[stage]
    source, _ = plan.data(model, recipe, world)
    batch = source(tuple(range(recipe.batch_size)))
    return cost_of(plan.objective(model, recipe), batch, recipe.batch_size)
