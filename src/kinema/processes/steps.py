"""The steps of a sampler: where it is, what may act on it, what it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor


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
