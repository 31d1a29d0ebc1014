"""Rectified flow: x_t = (1 - t) x0 + t eps, velocity v = eps - x0.

Source: arXiv 2209.03003, with the times of SD3 (arXiv 2403.03206), as LTX-Video uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.condition import Conditions
from kinema.noise import Noise
from kinema.processes import conversions, samplers
from kinema.processes.conversions import per_sample
from kinema.processes.process import Errors, Fraction, Guidance, Predict, Process, Times
from kinema.processes.schedules import TokenShift

ENDS = (-2.5758, 3.0902)  # normals of which 0.5 % lie below and 0.1 % above
EARLIEST = 1e-3
UNIFORM = 0.1  # share of the times


@dataclass(frozen=True, kw_only=True)
class Flow(Process):
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

    def level(self, fraction: Fraction) -> Fraction:
        """The time at which noise makes up a fraction of the state: the fraction itself."""
        return fraction

    def errors(
        self, predict: Predict, x0: Tensor, conditions: Conditions, noise: Noise, t: Tensor
    ) -> Errors:
        """(v - (eps - x0))^2 at times t (B,) or (B, N)."""
        eps = noise.normal(x0.shape, "eps").to(x0)
        target = (eps - x0).float()
        v = predict(self._mix(x0, t, eps), t, conditions).float()
        return Errors((v - target).square(), target.square())

    def velocity(
        self, predict: Predict, conditions: Conditions, guidance: Guidance
    ) -> samplers.Velocity:
        """The guided velocity; it is that of the network."""
        return lambda x, time, step: guidance(predict, x, time, conditions, step)

    @torch.no_grad()
    def distill(
        self,
        predict: Predict,
        x0: Tensor,
        conditions: Conditions,
        noise: Noise,
        t: Tensor,
        guidance: Guidance,
    ) -> Tensor:
        """The gradient of score distillation at times t (B,); see `Process`."""
        eps = noise.normal(x0.shape, "eps").to(x0)
        x = self._mix(x0, t, eps)
        v = guidance(predict, x, t, conditions, 0)
        t = per_sample(t, x)
        return conversions.eps_from_velocity(x, v, 1 - t, t) - eps

    @staticmethod
    def _mix(x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        t = per_sample(t, x0)
        return (1 - t) * x0 + t * eps


@dataclass(frozen=True, kw_only=True)
class LogitNormal:
    """Training times (B,) for states (B, N, C): sigmoids of normals (SD3, section 3.1), shifted.

    Sampling starts where such times hardly ever fall, so they are stretched until all but the
    outermost reach both ends, and one in ten is uniform (the authors' trainer of LTX-2).

    Args:
        shift: mu for the number of tokens.
    """

    shift: TokenShift

    def __call__(self, x0: Tensor, noise: Noise) -> Tensor:
        """Times in [1e-3, 1]."""
        mu, batch = self.shift.at(x0.shape[1]), (x0.shape[0],)
        normal = noise.normal(batch, "time")
        low, high, t = (torch.sigmoid(mu + z) for z in (*torch.tensor(ENDS), normal))
        t = (t - low) / (high - low)
        t = torch.where(t < EARLIEST, 2 * EARLIEST - t, t).clamp(EARLIEST, 1)
        choice, uniform = noise.uniform((*batch, 2), "uniform time").unbind(1)
        return torch.where(choice < UNIFORM, EARLIEST + (1 - EARLIEST) * uniform, t)
