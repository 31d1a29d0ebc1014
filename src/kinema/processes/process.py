"""What all processes share: the form of a predictor, of guidance, of hooks and of reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from kinema.condition import Conditions


class Predict(Protocol):
    """A network seen from a process: from state, time and conditions to a prediction.

    x is (B, ...), and so is the prediction; time is (B,), or (B, N) one per token, in [0, 1].
    """

    def __call__(self, x: Tensor, time: Tensor, conditions: Conditions) -> Tensor: ...


class Guidance(Protocol):
    """The rule that turns several predictions into one; `step` counts from 0."""

    def __call__(
        self, predict: Predict, x: Tensor, time: Tensor, conditions: Conditions, step: int
    ) -> Tensor: ...


@dataclass(frozen=True)
class Step:
    """Where a sampler is: step `index` (from 0) of `total`, from `sigma` to `sigma_next`."""

    index: int
    total: int
    sigma: float
    sigma_next: float


class StepHook(Protocol):
    """Sees the state before each prediction and after each step; returns what takes its place."""

    def before(self, x: Tensor, step: Step) -> Tensor:
        """The state that is predicted from."""
        ...

    def after(self, x: Tensor, x_next: Tensor, step: Step) -> Tensor:
        """The state that the next step starts from."""
        ...

    def time(self, time: Tensor, step: Step) -> Tensor:
        """The time that the network is told: (B,), or (B, N) one per token."""
        ...


class Report(NamedTuple):
    """What a callback receives after a step: the new state, and the clean state predicted in it."""

    step: Step
    x: Tensor
    x0: Tensor


Callback = Callable[[Report], None]
