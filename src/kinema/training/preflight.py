"""Before a long run: every trained tensor receives a gradient, one batch can be overfitted, and the
cost of the whole is told.
"""

from __future__ import annotations

import copy
import functools
import logging
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from kinema.data.batches import Source
from kinema.errors import InputError
from kinema.training import distributed
from kinema.training.distributed import local
from kinema.training.objective import Objective
from kinema.training.recipe import Recipe
from kinema.training.trainer import Trainer, check_split

LOGGER = logging.getLogger(__name__)
STEPS = 24
SAMPLES = 2
MEASURED = 3  # whole steps


@dataclass(frozen=True)
class Cost:
    """What a run will cost.

    Attributes:
        seconds: of a step, the median of those measured.
        memory: bytes that the process has used at most, None if it is not known. In the check there
            are two copies of the networks, in the run one.
        checkpoint: bytes of a checkpoint, of which two are kept.
    """

    seconds: float
    memory: int | None
    checkpoint: int

    def told(self, recipe: Recipe) -> str:
        """One line for the person who waits."""
        whole = recipe.steps * self.seconds
        units = (("hours", 3600), ("minutes", 60), ("seconds", 1))
        unit, size = next(u for u in units if whole >= 1.5 * u[1] or u[1] == 1)
        memory = "" if self.memory is None else f"at most {self.memory / 1e9:.2f} GB of memory, "
        return (
            f"cost: {recipe.steps} steps of {self.seconds:.3g} s are {whole / size:.1f} {unit}, "
            f"beside the reports; {memory}two checkpoints of {self.checkpoint / 1e6:.0f} MB"
        )


def check(
    objective: Objective,
    source: Source,
    recipe: Recipe,
    *,
    dead: Mapping[str, str],
    device: str,
) -> Cost:
    """Trains a copy for a few steps on one small batch, without touching the objective.

    Several processes train it together, as they will in the run.

    Noise and turns are those of the run's last step, so that every player which ever joins the
    game moves. A player without a turn in that step is not checked. The loss need
    only fall: how far in so few steps is a matter of the learning rate, and since the noise is
    always the same, what cannot learn does not fall. Then whole steps are measured.

    Args:
        dead: {pattern of parameter names: reason} that may stay without gradient.

    Raises:
        InputError: a trained tensor receives no gradient, or the first player's loss does not fall;
            or batches cannot be split as the recipe asks.
    """
    check_split(objective, recipe)
    size = min(max(SAMPLES, distributed.count()), recipe.batch_size)
    drawn = functools.cache(source)
    trainer = Trainer(
        copy.deepcopy(objective),
        lambda samples: drawn(tuple(sample % size for sample in samples)),
        replace(recipe, batch_size=size, accumulate=1, warmup=1, decay=0.0),
        seed=0,
        device=device,
    )
    trainer.step = recipe.steps - 1  # it is never advanced, so the noise stays the same
    turns = objective.turns(trainer.step)
    silent = {
        name
        for player in turns
        for name in trainer.players[player]
        if not any(fnmatchcase(name, pattern) for pattern in dead)
    }
    for player in turns:
        for name, parameter in trainer.players[player].items():
            # The names that hear from it are struck off; a gradient of zeros does not count.
            def strike(parameter: Tensor, name: str = name) -> None:
                if parameter.grad is not None and local(parameter.grad).any():
                    silent.discard(name)

            parameter.register_post_accumulate_grad_hook(strike)
    losses = [trainer.train_step()[f"{turns[0]}/loss"] for _ in range(STEPS)]
    silent = set.intersection(*distributed.of_all(silent))
    if silent:
        raise InputError(
            f"{len(silent)} trained tensors receive no gradient: {', '.join(sorted(silent)[:5])}"
        )
    if not losses[-1] < losses[0]:
        raise InputError(
            f"one batch cannot be overfitted: the loss of {turns[0]} went from {losses[0]:.4f} "
            f"to {losses[-1]:.4f} in {STEPS} steps"
        )
    LOGGER.info(
        "pre-flight: every trained tensor receives a gradient; on one batch the loss of %s falls "
        "from %.4f to %.4f in %d steps",
        turns[0],
        losses[0],
        losses[-1],
        STEPS,
    )
    trainer.source, trainer.recipe = source, recipe
    return measured(trainer)


def measured(trainer: Trainer) -> Cost:
    """What a run costs, from a few steps of a trainer that stands at its last one."""
    last, seconds = trainer.step, []
    for trainer.step in range(max(last + 1 - MEASURED, 0), last + 1):
        seconds.append(trainer.train_step()["seconds"])
    checkpoint = sum(tensor.numel() * tensor.element_size() for tensor in trainer.state().values())
    return Cost(statistics.median(seconds), peak_memory(trainer.device), checkpoint)


def peak_memory(device: str) -> int | None:
    """Bytes that this process has used at most; None where device or system do not tell."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if device != "cpu" or sys.platform == "win32":
        return None
    import resource  # there is none on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
