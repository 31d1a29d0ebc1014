"""Samplers: free functions of a velocity, a state and a table of noise levels.

The velocity is dx/dsigma, and x - sigma dx/dsigma the clean state predicted in x: so it is for
rectified flows (eps - x0) and for EDM ((x - D) / sigma). A falling table makes a sample of noise.
The same table reversed inverts that: it finds the noise that a sample comes from. A process whose
velocity has no value at 0 is inverted from its lowest positive level. `steps.watching` hears of
every step.

Sources: EDM (arXiv 2206.00364), algorithm 1, for `euler` and `heun`; DPM-Solver++ (arXiv
2211.01095), algorithm 2, for `dpmpp_2m`; Consistency Models (arXiv 2303.01469), algorithm 1, and
DDIM (arXiv 2010.02502), equation 12, for `renoised`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from torch import Tensor

from kinema.processes.conversions import per_sample
from kinema.processes.schedules import next_level
from kinema.processes.steps import Report, Step, StepHook, told

Velocity = Callable[[Tensor, Tensor, int], Tensor]
Renoise = Callable[[Tensor, Tensor, Step], Tensor]


def euler(
    velocity: Velocity, x: Tensor, sigmas: Tensor, *, hooks: Sequence[StepHook] = ()
) -> Tensor:
    """Integrates dx/dsigma = v from the first to the last noise level with Euler's rule.

    Args:
        velocity: ``(x, time, step) -> v`` like x; time is (B,), or (B, N) where a hook gives every
            token its own.
        x: the state (B, ...) at ``sigmas[0]``.
        sigmas: (S + 1,), falling, usually to 0, or rising.
        hooks: act on state and time around each step, first to last.

    Returns:
        The state at ``sigmas[-1]``, shape of x.
    """
    for step in _steps(sigmas):
        time = _time(sigmas, step.index, x)
        for hook in hooks:
            x, time = hook.before(x, step), hook.time(time, step)
        v = velocity(x, time, step.index)
        x_next = euler_step(x, v, time, sigmas)
        x0 = x - per_sample(time, x) * v
        for hook in hooks:
            x_next = hook.after(x, x_next, step)
        x = x_next
        told(Report(step, x, x0))
    return x


def euler_step(x: Tensor, v: Tensor, time: Tensor, sigmas: Tensor) -> Tensor:
    """Takes every token from its own time, (B,) or (B, N), to the next level of the table."""
    following = next_level(time, sigmas.to(time.device))
    return x - per_sample(time - following, x) * v


def heun(velocity: Velocity, x: Tensor, sigmas: Tensor) -> Tensor:
    """Heun's rule: as `euler`, with the mean of the velocities at both ends of each step.

    A step to 0 is Euler's, since the velocity may have no value there; so 2 S - 1 predictions.
    """
    for step in _steps(sigmas):
        here, there = (_time(sigmas, step.index + end, x) for end in (0, 1))
        v = mean = velocity(x, here, step.index)
        if step.sigma_next != 0:
            ahead = velocity(x - per_sample(here - there, x) * v, there, step.index)
            mean = (v + ahead) / 2
        x0 = x - per_sample(here, x) * v
        x = x - per_sample(here - there, x) * mean
        told(Report(step, x, x0))
    return x


def dpmpp_2m(velocity: Velocity, x: Tensor, sigmas: Tensor) -> Tensor:
    """DPM-Solver++(2M) for states x0 + sigma eps: second order with one prediction a step.

    The clean state is carried on along a line in log sigma; the first step and one to 0, which have
    no line, take it as it is. No level but the last may be 0.
    """
    before: tuple[Tensor, float] | None = None  # clean state and h = log(sigma / next) of a step
    for step in _steps(sigmas):
        time = _time(sigmas, step.index, x)
        x0 = target = x - per_sample(time, x) * velocity(x, time, step.index)
        ratio = step.sigma_next / step.sigma
        h = -math.log(ratio) if ratio > 0 else math.inf
        if before is not None and ratio > 0:
            target = x0 + (x0 - before[0]) * (h / (2 * before[1]))
        x, before = ratio * x + (1 - ratio) * target, (x0, h)
        told(Report(step, x, x0))
    return x


def renoised(
    velocity: Velocity,
    x: Tensor,
    sigmas: Tensor,
    *,
    renoise: Renoise,
    hooks: Sequence[StepHook],
) -> Tensor:
    """Goes to the clean state in every step, and from there back to the next level.

    What was wrong in a state is so forgotten by and by: the network sees states as in training.

    Args:
        velocity, x, sigmas, hooks: as `euler` takes them.
        renoise: ``(x0, v, step) -> x``, the clean state with noise of the level that the step leads
            to: fresh, or in part that which x0 and the velocity say was in the state.
    """
    for step in _steps(sigmas):
        time = _time(sigmas, step.index, x)
        for hook in hooks:
            x, time = hook.before(x, step), hook.time(time, step)
        v = velocity(x, time, step.index)
        x0 = x - per_sample(time, x) * v
        x_next = renoise(x0, v, step)
        for hook in hooks:
            x_next = hook.after(x, x_next, step)
        x = x_next
        told(Report(step, x, x0))
    return x


def _steps(sigmas: Tensor) -> Iterator[Step]:
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        yield Step(index, len(sigmas) - 1, sigma, sigma_next)


def _time(sigmas: Tensor, index: int, x: Tensor) -> Tensor:
    """One level of the table for every row of x."""
    return sigmas[index].to(x.device).expand(x.shape[0])
