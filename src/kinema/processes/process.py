"""What a process is, and what all share: predictors, guidance, hooks, reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from kinema.condition import Conditions
from kinema.noise import Noise


class Predict(Protocol):
    """A network seen from a process: from state, time and conditions to a prediction.

    x is (B, ...), and so is the prediction; time is (B,), or (B, N) one per token. Its unit is that
    of the process: t in [0, 1] for `Flow`, ln(sigma) / 4 for the networks of `EDM`.
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


class Process(Protocol):
    """How noise becomes a sample and a sample becomes a loss; states are (B, ...).

    The time of a process, (B,), or (B, N) one per token, grows from 0 for a clean state; tables of
    noise levels hold the same numbers.
    """

    def start(self, shape: Sequence[int], noise: Noise, /) -> Tensor:
        """The state of shape (B, ...) that sampling starts from."""
        ...

    def noised(self, x0: Tensor, time: Tensor, noise: Noise, /) -> Tensor:
        """x0 brought to times, with the noise that `start` gives."""
        ...

    def times(self, x0: Tensor, noise: Noise, /) -> Tensor:
        """Times to train at, for a batch of states."""
        ...

    def level(self, fraction: float, /) -> float:
        """The time where noise makes up a fraction, in [0, 1), of the state: for reports."""
        ...

    def loss(
        self, predict: Predict, x0: Tensor, conditions: Conditions, noise: Noise, /
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss at times to train at; see `loss_at`."""
        ...

    def loss_at(
        self, predict: Predict, x0: Tensor, conditions: Conditions, noise: Noise, time: Tensor, /
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and logs: ``loss``, and ``trivial``, the loss of a network that gives 0."""
        ...

    def sample(
        self,
        predict: Predict,
        x: Tensor,
        sigmas: Tensor,
        *,
        conditions: Conditions,
        guidance: Guidance,
        hooks: Sequence[StepHook],
        callback: Callback | None,
    ) -> Tensor:
        """The state at the last of the noise levels, from x at the first."""
        ...

    def distill(
        self,
        predict: Predict,
        x0: Tensor,
        conditions: Conditions,
        noise: Noise,
        time: Tensor,
        guidance: Guidance,
        /,
    ) -> Tensor:
        """The gradient of score distillation with respect to x0 (B, ...), up to its weight.

        It is the noise that is predicted in x0 at the times, under guidance, less the noise that
        was put there; without a gradient of its own (DreamFusion, arXiv 2209.14988, eq. 3).
        """
        ...


def per_sample(time: Tensor, x: Tensor) -> Tensor:
    """Numbers (B,) or (B, N), ready to be multiplied with x (B, ...) or (B, N, ...)."""
    return time.reshape(*time.shape, *(1,) * (x.ndim - time.ndim)).to(x.dtype)
