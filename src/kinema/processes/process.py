"""What a process is: predictors and guidance as it sees them, and what all processes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor

from kinema.condition import Conditions
from kinema.noise import Noise
from kinema.processes import samplers
from kinema.processes.steps import StepHook


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


class Errors(NamedTuple):
    """Squared errors (B, ...), weighted as in the loss, which is their mean.

    Attributes:
        own: of the network.
        trivial: of one that gives 0.
    """

    own: Tensor
    trivial: Tensor


Times = Callable[[Tensor, Noise], Tensor]
Fraction = TypeVar("Fraction", float, Tensor)


class Process:
    """How noise becomes a sample and a sample becomes a loss; states are (B, ...).

    The time of a process, (B,), or (B, N) one per token, grows from 0 for a clean state; tables of
    noise levels hold the same numbers. A subclass has `times` and writes whatever raises here.
    """

    times: Times
    """Times to train at, for a batch of states and its noise."""

    def start(self, shape: Sequence[int], noise: Noise, /) -> Tensor:
        """The state of shape (B, ...) that sampling starts from."""
        raise NotImplementedError

    def noised(self, x0: Tensor, time: Tensor, noise: Noise, /) -> Tensor:
        """x0 brought to times, with the noise that `start` gives."""
        raise NotImplementedError

    def level(self, fraction: Fraction, /) -> Fraction:
        """The time where noise makes up a fraction, in [0, 1), of the state."""
        raise NotImplementedError

    def errors(
        self, predict: Predict, x0: Tensor, conditions: Conditions, noise: Noise, time: Tensor, /
    ) -> Errors:
        """What a network gets wrong at times (B,), or (B, N) one per token of x0 (B, N, ...)."""
        raise NotImplementedError

    def velocity(
        self, predict: Predict, conditions: Conditions, guidance: Guidance
    ) -> samplers.Velocity:
        """The guided dx/dsigma, as samplers take it."""
        raise NotImplementedError

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
        raise NotImplementedError

    def loss_at(
        self, predict: Predict, x0: Tensor, conditions: Conditions, noise: Noise, time: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss at times; logs: ``loss``, and ``trivial``, that of a network that gives 0."""
        errors = self.errors(predict, x0, conditions, noise, time)
        loss = errors.own.mean()
        return loss, {"loss": loss.detach(), "trivial": errors.trivial.mean()}

    def loss(
        self, predict: Predict, x0: Tensor, conditions: Conditions, noise: Noise
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss at times to train at; see `loss_at`."""
        time = self.times(x0, noise).to(x0.device)
        return self.loss_at(predict, x0, conditions, noise, time)

    def sample(
        self,
        predict: Predict,
        x: Tensor,
        sigmas: Tensor,
        *,
        conditions: Conditions,
        guidance: Guidance,
        hooks: Sequence[StepHook] = (),  # default kept: plain sampling has none
    ) -> Tensor:
        """Integrates from ``sigmas[0]`` to ``sigmas[-1]`` with Euler's rule; shape of x."""
        velocity = self.velocity(predict, conditions, guidance)
        return samplers.euler(velocity, x, sigmas, hooks=hooks)
