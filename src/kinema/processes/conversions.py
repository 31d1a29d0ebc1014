"""Conversions between what networks predict: noise eps, clean state x0, v and velocity.

The state is x = alpha x0 + sigma eps. Then v = alpha eps - sigma x0 (arXiv 2202.00512, appendix D)
and the velocity of a rectified flow is u = eps - x0. With x, one of x0, eps, v and u gives the
others. alpha and sigma broadcast to x; the process says what they are: 1 and sigma for `EDM`, 1 - t
and t for `Flow`, sqrt(abar) and sqrt(1 - abar) for DDPM. `per_sample` makes them broadcast.
"""

from __future__ import annotations

from torch import Tensor

Level = Tensor | float


def x0_from_eps(x: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """(x - sigma eps) / alpha."""
    return (x - sigma * eps) / alpha


def eps_from_x0(x: Tensor, x0: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """(x - alpha x0) / sigma."""
    return (x - alpha * x0) / sigma


def x0_from_v(x: Tensor, v: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """(alpha x - sigma v) / (alpha^2 + sigma^2)."""
    return (alpha * x - sigma * v) / (alpha**2 + sigma**2)


def eps_from_v(x: Tensor, v: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """(sigma x + alpha v) / (alpha^2 + sigma^2)."""
    return (sigma * x + alpha * v) / (alpha**2 + sigma**2)


def x0_from_velocity(x: Tensor, velocity: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """(x - sigma u) / (alpha + sigma)."""
    return (x - sigma * velocity) / (alpha + sigma)


def eps_from_velocity(x: Tensor, velocity: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """(x + alpha u) / (alpha + sigma)."""
    return (x + alpha * velocity) / (alpha + sigma)


def v_of(x0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """alpha eps - sigma x0."""
    return alpha * eps - sigma * x0


def per_sample(time: Tensor, x: Tensor) -> Tensor:
    """Numbers (B,) or (B, N), ready to be multiplied with x (B, ...) or (B, N, ...)."""
    return time.reshape(*time.shape, *(1,) * (x.ndim - time.ndim)).to(x.dtype)
