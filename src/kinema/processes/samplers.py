"""Samplers: free functions of a velocity, a state and a table of noise levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from kinema.processes.process import Callback, Report, Step, StepHook
from kinema.processes.schedules import next_lower

Velocity = Callable[[Tensor, Tensor, int], Tensor]


def euler(
    velocity: Velocity,
    x: Tensor,
    sigmas: Tensor,
    *,
    hooks: Sequence[StepHook] = (),
    callback: Callback | None = None,
) -> Tensor:
    """Integrates dx/dsigma = v from the first to the last noise level with Euler's rule.

    Args:
        velocity: ``(x, time, step) -> v`` like x; time is (B,), or (B, N) where a hook gives every
            token its own.
        x: the state (B, ...) at ``sigmas[0]``.
        sigmas: (S + 1,), decreasing, usually ending in 0.
        hooks: act on state and time around each step, first to last.
        callback: called after each step; an exception it raises ends the sampling.

    Returns:
        The state at ``sigmas[-1]``, shape of x.
    """
    total = len(sigmas) - 1
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        step = Step(index, total, sigma, sigma_next)
        time = sigmas[index].to(x.device).expand(x.shape[0])
        for hook in hooks:
            x, time = hook.before(x, step), hook.time(time, step)
        v = velocity(x, time, index)
        x_next = euler_step(x, v, time, sigmas)
        x0 = x - _per_token(time, x) * v
        for hook in hooks:
            x_next = hook.after(x, x_next, step)
        x = x_next
        if callback is not None:
            callback(Report(step, x, x0))
    return x


def euler_step(x: Tensor, v: Tensor, time: Tensor, sigmas: Tensor) -> Tensor:
    """Takes every token from its own time, (B,) or (B, N), to the next lower level of the table."""
    lower = next_lower(time, sigmas.to(time.device))
    return x - _per_token(time - lower, x) * v


def _per_token(time: Tensor, x: Tensor) -> Tensor:
    return time.reshape(*time.shape, *(1,) * (x.ndim - time.ndim)).to(x.dtype)
