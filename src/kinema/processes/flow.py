"""Rectified flow: x_t = (1 - t) x0 + t eps, velocity v = eps - x0.

Source: arXiv 2209.03003, with the times of SD3 (arXiv 2403.03206), as LTX-Video uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.condition import Conditions
from kinema.noise import Noise
from kinema.processes import samplers, schedules
from kinema.processes.process import Callback, Guidance, Predict, StepHook

Times = Callable[[Tensor, Noise], Tensor]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The process of a rectified flow over states (B, ...).

    Args:
        times: draws training times (B,), or (B, N) one per token, for a batch of states.
    """

    times: Times

    def start(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """The state at t = 1: standard normal, shape (B, ...)."""
        return noise.normal(shape, "x_T")

    def noised(self, x0: Tensor, t: Tensor, noise: Noise) -> Tensor:
        """x0 (B, ...) brought to times t (B,) or (B, N)."""
        return self._mix(x0, t, noise.normal(x0.shape, "x_T").to(x0))

    def loss(
        self, predict: Predict, x0: Tensor, conditions: Conditions, noise: Noise
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error of the velocity at random times; see `loss_at`."""
        return self.loss_at(predict, x0, conditions, noise, self.times(x0, noise).to(x0.device))

    def loss_at(
        self, predict: Predict, x0: Tensor, conditions: Conditions, noise: Noise, t: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss at times t (B,) or (B, N).

        Returns:
            The loss, and logs: ``loss``, and ``trivial``, the error of the predictor v = 0.
        """
        eps = noise.normal(x0.shape, "eps").to(x0)
        target = eps - x0
        v = predict(self._mix(x0, t, eps), t, conditions)
        loss = torch.nn.functional.mse_loss(v.float(), target.float())
        return loss, {"loss": loss.detach(), "trivial": target.float().square().mean()}

    def sample(
        self,
        predict: Predict,
        x: Tensor,
        sigmas: Tensor,
        *,
        conditions: Conditions,
        guidance: Guidance,
        hooks: Sequence[StepHook] = (),  # default kept: plain sampling has none
        callback: Callback | None = None,
    ) -> Tensor:
        """Integrates from ``sigmas[0]`` to ``sigmas[-1]`` with Euler's rule; shape of x."""

        def velocity(x: Tensor, time: Tensor, step: int) -> Tensor:
            return guidance(predict, x, time, conditions, step)

        return samplers.euler(velocity, x, sigmas, hooks=hooks, callback=callback)

    @staticmethod
    def _mix(x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        t = t.reshape(*t.shape, *(1,) * (x0.ndim - t.ndim)).to(x0.dtype)
        return (1 - t) * x0 + t * eps


def logit_normal(x0: Tensor, noise: Noise) -> Tensor:
    """Times (B,) for x0 (B, N, C): sigmoids of normals (SD3, section 3.1), shifted by N."""
    t = torch.sigmoid(noise.normal((x0.shape[0],), "time"))
    return schedules.shift(t, schedules.mu_of_tokens(x0.shape[1]))
