"""EDM: diffusion as x = x0 + sigma eps, with a preconditioned network (arXiv 2206.00364).

D(x; sigma) = c_skip x + c_out F(c_in x; c_noise) is the clean state predicted in x, and F the
network. The loss is weighted by 1 / c_out^2, so that F learns a target of about unit variance at
every level (table 1). Stable Video Diffusion (arXiv 2311.15127) has sigma_data = 1 and the scaling
of v-prediction, Stable Diffusion (arXiv 2112.10752) that of eps-prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from kinema.condition import Conditions
from kinema.noise import Noise
from kinema.processes import conversions, samplers, schedules
from kinema.processes.conversions import per_sample
from kinema.processes.process import Errors, Fraction, Guidance, Predict, Process

STABLE_DIFFUSION = schedules.stable_diffusion(schedules.TRAINING_STEPS).flip(0)  # rising


class Scaling(NamedTuple):
    """c_skip, c_out, c_in and c_noise, each of the shape of sigma."""

    skip: Tensor
    out: Tensor
    inner: Tensor
    noise: Tensor


Preconditioning = Callable[[Tensor, float], Scaling]


def edm_scaling(sigma: Tensor, sigma_data: float) -> Scaling:
    """EDM, table 1: the network learns the clean state at high levels, the noise at low ones."""
    inner = (sigma**2 + sigma_data**2).rsqrt()
    skip, out = (sigma_data * inner) ** 2, sigma * sigma_data * inner
    return Scaling(skip, out, inner, sigma.log() / 4)


def v_scaling(sigma: Tensor, sigma_data: float) -> Scaling:
    """Of v-prediction (arXiv 2202.00512): EDM's, with a network of the other sign."""
    scaling = edm_scaling(sigma, sigma_data)
    return scaling._replace(out=-scaling.out)


def eps_scaling(sigma: Tensor, sigma_data: float) -> Scaling:
    """Of eps-prediction: D = x - sigma F."""
    scaling = edm_scaling(sigma, sigma_data)
    return scaling._replace(skip=torch.ones_like(sigma), out=-sigma)


def sd_scaling(sigma: Tensor, sigma_data: float) -> Scaling:
    """Of eps-prediction by a network that is told steps of Stable Diffusion's table, 0 to 999.

    Between two levels the step is on a line over their logarithms; beyond the table it is the last.
    """
    levels = STABLE_DIFFUSION.to(sigma).log()
    log = sigma.log().clamp(levels[0], levels[-1])
    above = torch.searchsorted(levels, log).clamp(min=1)
    below = levels[above - 1]
    step = above - 1 + (log - below) / (levels[above] - below)
    return eps_scaling(sigma, sigma_data)._replace(noise=step)


@dataclass(frozen=True, kw_only=True)
class EDM(Process):
    """The process over states (B, ...); its time is sigma, (B,).

    Predictors are the raw network F, called with c_in x and c_noise = ln(sigma) / 4. Guidance acts
    on the denoiser D.

    Args:
        sigma_data: standard deviation of the data.
        sigma_max: where sampling starts; the first of its noise levels.
        P_mean, P_std: of ln(sigma) in training.
        preconditioning: `edm_scaling`, `v_scaling`, `eps_scaling` or `sd_scaling`.
    """

    sigma_data: float
    sigma_max: float
    P_mean: float
    P_std: float
    preconditioning: Preconditioning

    def start(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """Normal noise of the deviation that data has at sigma_max; shape (B, ...)."""
        spread = (self.sigma_max**2 + self.sigma_data**2) ** 0.5
        return spread * noise.normal(shape, "x_T")

    def noised(self, x0: Tensor, sigma: Tensor, noise: Noise) -> Tensor:
        """x0 (B, ...) with noise of deviations sigma (B,)."""
        return x0 + per_sample(sigma, x0) * noise.normal(x0.shape, "x_T").to(x0)

    def times(self, x0: Tensor, noise: Noise) -> Tensor:
        """Levels (B,) to train at: ln(sigma) is normal."""
        return torch.exp(self.P_mean + self.P_std * noise.normal((len(x0),), "time"))

    def level(self, fraction: Fraction) -> Fraction:
        """The level with the ratio of noise to signal that a flow has at this time, in [0, 1).

        It does not depend on where a stage trains, so that stages can be compared.
        """
        return self.sigma_data * fraction / (1 - fraction)

    def denoiser(self, predict: Predict) -> Predict:
        """D(x, sigma, conditions) for the network F."""

        def denoise(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
            skip, out, inner, c_noise = self._scaling(time, x)
            return skip * x + out * predict(inner * x, c_noise, conditions)

        return denoise

    def errors(
        self, predict: Predict, x0: Tensor, conditions: Conditions, noise: Noise, sigma: Tensor
    ) -> Errors:
        """(D - x0)^2 / c_out^2 at levels sigma (B,) or (B, N) above 0 (eq. 8)."""
        x0 = x0.float()
        x = x0 + per_sample(sigma, x0) * noise.normal(x0.shape, "eps").to(x0)
        skip, out, inner, c_noise = self._scaling(sigma, x)
        target = (x0 - skip * x) / out
        prediction = predict(inner * x, c_noise, conditions).float()
        return Errors((prediction - target).square(), target.square())

    def velocity(
        self, predict: Predict, conditions: Conditions, guidance: Guidance
    ) -> samplers.Velocity:
        """dx/dsigma = (x - D) / sigma under guidance, as samplers take it (eq. 3)."""
        denoise = self.denoiser(predict)

        def velocity(x: Tensor, sigma: Tensor, step: int) -> Tensor:
            x0 = guidance(denoise, x, sigma, conditions, step)
            return conversions.eps_from_x0(x, x0, 1.0, per_sample(sigma, x))

        return velocity

    @torch.no_grad()
    def distill(
        self,
        predict: Predict,
        x0: Tensor,
        conditions: Conditions,
        noise: Noise,
        sigma: Tensor,
        guidance: Guidance,
    ) -> Tensor:
        """The gradient of score distillation at levels sigma (B,); see `Process`."""
        eps = noise.normal(x0.shape, "eps").to(x0)
        x = x0 + per_sample(sigma, x0) * eps
        return self.velocity(predict, conditions, guidance)(x, sigma, 0) - eps

    def _scaling(self, sigma: Tensor, x: Tensor) -> Scaling:
        """The scaling of each sample of x; c_noise stays (B,)."""
        skip, out, inner, c_noise = self.preconditioning(sigma, self.sigma_data)
        return Scaling(per_sample(skip, x), per_sample(out, x), per_sample(inner, x), c_noise)
