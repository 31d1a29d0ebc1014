"""Recipes: the numbers of one training run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Self

from kinema.config import config
from kinema.errors import InputError

UNCLIPPED = 1e9  # larger than the norm of any gradient that training survives


@config
class Recipe:
    """How long, on how much, how fast. Stages that need more numbers subclass it.

    Args:
        steps: optimizer steps.
        batch_size: samples per step.
        accumulate: micro-batches that a step is split into; must divide `batch_size`.
        optimizer: adamw, or muon for small networks from nothing.
        learning_rate: peak, after a linear warm-up.
        warmup: steps until the peak.
        decay: the last fraction of the steps over which the rate falls linearly to zero.
        weight_decay: decoupled, on matrices and kernels only.
        betas: of Adam's two averages.
        clip_norm: largest norm of each player's gradient; `UNCLIPPED` where the source clips none.
        ema: decay of the moving average of the weights, the result of the training.
        precision: type of the activations; weights are float32.
        report_every: steps between held-out losses and sample sheets.
        save_every: steps between checkpoints.
        held_out: samples of the held-out batch.

    Raises:
        InputError: a number is out of its range.
    """

    steps: int
    batch_size: int
    accumulate: int = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float
    warmup: int = 1000
    decay: float = 0.2
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 1.0
    ema: float = 0.999
    precision: Literal["float32", "bfloat16"] = "float32"
    report_every: int = 1000
    save_every: int = 1000
    held_out: int = 64

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "report_every", "save_every", "held_out"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be greater than 0, not {getattr(self, name)}")
        if self.batch_size % self.accumulate:
            raise InputError(f"batch_size {self.batch_size} is not divisible by {self.accumulate}")
        if not 0 <= self.decay <= 1:
            raise InputError(f"decay is a fraction of the steps, not {self.decay}")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema must lie in [0, 1), not be {self.ema}")

    def nano(self, *, batch_size: int, **changes: Any) -> Self:
        """This recipe for contract tests: a few steps with reports and checkpoints among them.

        Args:
            batch_size: samples per step, and held out.
            changes: other numbers by name.
        """
        few = {"steps": 8, "report_every": 4, "save_every": 2, "held_out": batch_size}
        return replace(self, **{**few, "batch_size": batch_size, **changes})

    def rate(self, step: int) -> float:
        """The learning rate of a step that counts from 0."""
        rising = min(1.0, (step + 1) / max(1, self.warmup))
        falling = min(1.0, (self.steps - step) / max(1.0, self.decay * self.steps))
        return self.learning_rate * rising * falling


def check_cutting(flip: float, crop_area: tuple[float, float]) -> None:
    """Raises InputError unless clips can be mirrored and cut out so, of recipes that do it."""
    least, most = crop_area
    if not 0 <= flip <= 1:
        raise InputError(f"flip must be in [0, 1], not {flip}")
    if not 0 < least <= most <= 1:
        raise InputError(f"crop_area must be 0 < least <= most <= 1, not {crop_area}")
