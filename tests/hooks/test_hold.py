"""Held tokens: when they move, what the network is told and shown."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kinema.hooks.hold import Hold
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.samplers import euler
from kinema.processes.steps import Report, Step, watching

NOISE = Noise(0, (0, 1))
START, GIVEN = (NOISE.normal((2, 4, 3), name) for name in ("start", "given"))
SIGMAS = schedules.with_zero(schedules.linear(8))


class Run:
    """A sampling that keeps what the network saw and every state."""

    def __init__(self, *hooks: Hold, start: Tensor) -> None:
        self.shown: list[Tensor] = []
        self.times: list[Tensor] = []
        self.states: list[Tensor] = [start]
        with watching(self.report):
            euler(self.velocity, start, SIGMAS, hooks=hooks)

    def velocity(self, x: Tensor, time: Tensor, step: int) -> Tensor:
        """Depends on state and time."""
        self.shown.append(x)
        self.times.append(time)
        return torch.sin(x) + time.reshape(*time.shape, *(1,) * (x.ndim - time.ndim))

    def report(self, report: Report) -> None:
        """Keeps the state."""
        self.states.append(report.x)


def hold(strength: Tensor, *, noise_scale: float = 0.0) -> Hold:
    """A hook that holds tokens of `GIVEN`."""
    return Hold(given=GIVEN, strength=strength, noise=NOISE, noise_scale=noise_scale)


def test_strength_zero_is_no_hook() -> None:
    free = Run(start=START)
    for scale in (0.0, 0.15):
        held = Run(hold(torch.zeros(2, 4), noise_scale=scale), start=START)
        assert all(torch.equal(x, y) for x, y in zip(held.states, free.states))
        assert all(torch.equal(t, s[:, None].expand(2, 4)) for t, s in zip(held.times, free.times))


def test_a_token_of_strength_one_never_changes() -> None:
    strength = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    start = torch.where(strength[..., None] == 1, GIVEN, START)
    run, free = Run(hold(strength), start=start), Run(start=start)
    held = strength == 1
    for state, other in zip(run.states, free.states):
        assert torch.equal(state[held], GIVEN[held])
        assert torch.equal(state[~held], other[~held])
    assert all(not time[held].any() for time in run.times)


def test_a_half_held_token_waits_for_its_noise_level() -> None:
    strength = torch.full((2, 4), 0.5)
    run = Run(hold(strength), start=START)
    for index, time in enumerate(run.times):
        assert torch.equal(time, torch.full((2, 4), min(SIGMAS[index].item(), 0.5)))
        moved = not torch.equal(run.states[index + 1], run.states[index])
        assert moved == (SIGMAS[index] <= 0.5)
    below = euler(run.velocity, START, SIGMAS[4:])  # from 0.5 down
    assert torch.equal(run.states[-1], below)


def test_the_network_is_shown_held_tokens_with_noise_that_fades() -> None:
    strength = torch.tensor([[1.0, 0.0, 0.3, 1.0]]).expand(2, 4)
    run = Run(hold(strength, noise_scale=0.15), start=START)
    held = strength == 1
    fresh = []
    for index, shown in enumerate(run.shown):
        fresh.append((shown - GIVEN)[held] / (0.15 * SIGMAS[index] ** 2))
        assert torch.equal(shown[~held], run.states[index][~held])
    drawn = torch.stack(fresh)
    assert drawn.std().item() == pytest.approx(1, abs=0.2)
    assert not torch.isclose(drawn[0], drawn[1]).any()
    # What is left in the end is the noise of the last level: 0.15 (1/8)^2.
    assert (run.states[-1] - GIVEN)[held].abs().max() < 4 * 0.15 / 64


def test_the_noise_of_a_sample_does_not_depend_on_its_batch() -> None:
    step = Step(2, 8, 0.75, 0.625)
    both = hold(torch.ones(2, 4), noise_scale=0.15).before(START, step)
    second = Hold(
        given=GIVEN[1:], strength=torch.ones(1, 4), noise=Noise(0, (1,)), noise_scale=0.15
    )
    assert torch.equal(second.before(START[1:], step), both[1:])


def test_two_holds_act_together() -> None:
    first, last = torch.zeros(2, 4), torch.zeros(2, 4)
    first[:, 0], last[:, 3] = 1, 0.5
    together = Run(hold(first), hold(last), start=GIVEN)
    once = Run(hold(first + last), start=GIVEN)
    assert all(torch.equal(x, y) for x, y in zip(together.states, once.states))
    assert all(torch.equal(x, y) for x, y in zip(together.times, once.times))
