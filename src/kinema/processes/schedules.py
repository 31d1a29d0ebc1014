"""Noise levels of a sampler: functions that return decreasing tensors; `with_zero` ends the table.

Times t and sigmas of a flow lie in [0, 1]; 1 is noise. Those of `karras` and `stable_diffusion` are
standard deviations of the noise on data. Sources: Stable Diffusion 3 (arXiv 2403.03206) eq. 23 for
the shift, Flux for its dependence on the number of tokens, Movie Gen (arXiv 2410.13720) for
linear-quadratic, Simple Diffusion (arXiv 2301.11093) for the resolution-dependent logarithmic SNR,
EDM (arXiv 2206.00364) eq. 5, latent diffusion (arXiv 2112.10752) for its betas.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kinema.config import config
from kinema.errors import InputError

THRESHOLD = 0.025  # how far the linear half of `linear_quadratic` falls
BETAS = (0.00085, 0.012)  # the first and the last of Stable Diffusion's
TRAINING_STEPS = 1000
LARGEST_SHIFT = 16.0  # beyond it all levels round to 1


def linear(num_steps: int) -> Tensor:
    """1, ..., 1/N in equal steps; shape (N,)."""
    return torch.linspace(1, 1 / num_steps, num_steps)


def linear_quadratic(num_steps: int) -> Tensor:
    """Half the steps fall linearly to 1 - 0.025, the rest quadratically towards 0; shape (N,)."""
    if num_steps == 1:
        return torch.tensor([1.0])
    num_linear = num_steps // 2
    num_quadratic = num_steps - num_linear
    i = torch.arange(num_steps, dtype=torch.float64)
    excess = num_linear - THRESHOLD * num_steps
    a = excess / (num_linear * num_quadratic**2)
    b = THRESHOLD / num_linear - 2 * excess / num_quadratic**2
    rising = torch.where(
        i < num_linear, i * THRESHOLD / num_linear, a * i**2 + b * i + a * num_linear**2
    )
    return (1 - rising).float()


def karras(num_steps: int, *, sigma_min: float, sigma_max: float, rho: float) -> Tensor:
    """From sigma_max to sigma_min, evenly in the rho-th root: EDM, eq. 5; shape (N,).

    One step is sigma_max alone.
    """
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    ramp = torch.linspace(0, 1, num_steps, dtype=torch.float64)
    return ((high + ramp * (low - high)) ** rho).float()


def stable_diffusion(num_steps: int) -> Tensor:
    """Of Stable Diffusion's 1000 levels those at N steps evenly down from the last; shape (N,).

    The square roots of its betas rise linearly; a level is sqrt((1 - abar) / abar).
    """
    first, last = (beta**0.5 for beta in BETAS)
    betas = torch.linspace(first, last, TRAINING_STEPS, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0)
    levels = torch.sqrt((1 - kept) / kept)
    index = [(TRAINING_STEPS - 1) * (num_steps - i) // num_steps for i in range(num_steps)]
    return levels[index].float()


def shift(t: Tensor, mu: float) -> Tensor:
    """SD3's shift towards noise: e^mu / (e^mu + 1/t - 1); 1 stays 1 to the last bit.

    Raises:
        InputError: mu is so large that nothing but noise is left.
    """
    if mu > LARGEST_SHIFT:
        raise InputError(
            "so many tokens need nothing but noise; choose a smaller size or fewer frames"
        )
    shifted = math.exp(mu) * t
    return shifted / (shifted + (1 - t))


@config
class TokenShift:
    """A shift that grows with the number of tokens, on a line: more tokens say the same thing more
    often, and need more noise to hide it (SD3, section 5.3.2; the line is Flux's).

    Args:
        tokens: two numbers of tokens.
        mu: the shifts there.
    """

    tokens: tuple[int, int]
    mu: tuple[float, float]

    def __post_init__(self) -> None:
        if self.tokens[0] == self.tokens[1]:
            raise InputError(f"a line needs two numbers of tokens, not {self.tokens[0]} twice")

    def at(self, num_tokens: int) -> float:
        """The shift mu for a state of `num_tokens`."""
        (n0, n1), (mu0, mu1) = self.tokens, self.mu
        return mu0 + (mu1 - mu0) / (n1 - n0) * (num_tokens - n0)


def stretch_to_terminal(sigmas: Tensor, terminal: float) -> Tensor:
    """Scales 1 - sigma so that the last sigma equals `terminal`; needs at least two steps."""
    return 1 - (1 - sigmas) * ((1 - terminal) / (1 - sigmas[-1]))


def simple_diffusion_shift(t: Tensor, num_tokens: int) -> Tensor:
    """Raises the logarithmic ratio of noise to signal by 2 log(tokens / 1024), as Simple Diffusion.

    There the resolution stands in the place of the tokens. Times lie in (0, 1).
    """
    noise_to_signal = 2 * torch.log(t / (1 - t)) + 2 * math.log(num_tokens / 1024)
    return torch.sigmoid(0.5 * noise_to_signal)


def with_zero(sigmas: Tensor) -> Tensor:
    """Appends the final 0."""
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def next_level(t: Tensor, sigmas: Tensor) -> Tensor:
    """For each time the level that follows it in a table; shape of t.

    In a falling table it is the largest below the time, 0 when there is none; in a rising one the
    smallest above, the last when there is none.
    """
    if sigmas[0] > sigmas[-1]:
        return torch.where(sigmas < t[..., None] - 1e-6, sigmas, 0.0).amax(-1)
    return torch.where(sigmas > t[..., None] + 1e-6, sigmas, sigmas[-1]).amin(-1)
