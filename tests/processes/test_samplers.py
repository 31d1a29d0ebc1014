"""Euler's rule against solutions on paper."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from kinema.noise import Noise
from kinema.processes.process import Report, Step
from kinema.processes.samplers import euler, euler_step

START = Noise(0, tuple(range(4))).normal((4, 3, 2), "x").double()
MATRIX = torch.tensor([[0.5, -1.0], [1.0, 0.3]]).double()


def levels(steps: int) -> Tensor:
    """Equal steps from 1 to 0."""
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


def rotating(x: Tensor, time: Tensor, step: int) -> Tensor:
    """The linear field dx/dsigma = x A."""
    return x @ MATRIX


def test_a_constant_velocity_is_integrated_exactly() -> None:
    v = torch.full_like(START, 0.75)
    for steps in (1, 3, 10):
        end = euler(lambda x, time, step: v, START, levels(steps))
        torch.testing.assert_close(end, START - v)


def test_a_linear_field_is_met_at_first_order() -> None:
    exact = START @ torch.linalg.matrix_exp(-MATRIX)
    errors = [
        (euler(rotating, START, levels(n)) - exact).abs().max().item() for n in (50, 100, 200)
    ]
    assert errors[0] < 0.05
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2, rel=0.03)


def test_the_flow_between_two_gaussians_gives_mean_and_spread() -> None:
    mean, spread = 1.5, 0.4
    x = Noise(0, (0,)).normal((1, 20_000), "x").double()

    def velocity(x: Tensor, time: Tensor, step: int) -> Tensor:
        # E[eps - x0 | x_t] for x0 ~ N(mean, spread^2), x_t = (1 - t) x0 + t eps.
        t = time[:, None]
        variance = (1 - t) ** 2 * spread**2 + t**2
        return (t - (1 - t) * spread**2) / variance * (x - (1 - t) * mean) - mean

    end = euler(velocity, x, levels(400))
    # The probability flow keeps every sample at its quantile.
    torch.testing.assert_close(end, mean + spread * x, atol=0.02, rtol=0)
    assert end.mean().item() == pytest.approx(mean, abs=0.01)
    assert end.var().item() == pytest.approx(spread**2, rel=0.03)


def test_every_token_takes_the_step_from_its_own_time() -> None:
    sigmas = torch.tensor([1.0, 0.6, 0.3, 0.0]).double()
    times = torch.tensor([[1.0, 0.6, 0.0], [0.5, 0.3, 0.1], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    v = torch.ones_like(START)
    moved = (START - euler_step(START, v, times.double(), sigmas))[..., 0]
    expected = torch.tensor([[0.4, 0.3, 0.0], [0.2, 0.3, 0.1], [0.4, 0.4, 0.4], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(moved, expected.double())
    assert torch.equal(
        euler_step(START, v, times[:, 0].double(), sigmas)[:, 0],
        euler_step(START, v, times.double(), sigmas)[:, 0],
    )


def test_reports_hold_the_step_and_the_clean_state() -> None:
    target = torch.full_like(START, 2.0)
    reports: list[Report] = []
    times: list[Tensor] = []

    def velocity(x: Tensor, time: Tensor, step: int) -> Tensor:
        times.append(time)
        assert step == len(reports)
        return (x - target) / time[:, None, None]  # points away from the target

    end = euler(velocity, START, levels(4), callback=reports.append)
    torch.testing.assert_close(end, target)
    assert [r.step for r in reports] == [Step(i, 4, 1 - i / 4, 1 - (i + 1) / 4) for i in range(4)]
    assert [t.tolist() for t in times] == [[1 - i / 4] * 4 for i in range(4)]
    assert reports[-1].x is end
    for report in reports:
        torch.testing.assert_close(report.x0, target)


def test_a_callback_may_end_the_sampling() -> None:
    seen: list[int] = []

    def stop(report: Report) -> None:
        seen.append(report.step.index)
        if report.step.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        euler(rotating, START, levels(9), callback=stop)
    assert seen == [0, 1, 2]


class Adds:
    """A hook that multiplies by and adds its number, so that order shows."""

    def __init__(self, number: float) -> None:
        self.number = number

    def before(self, x: Tensor, step: Step) -> Tensor:
        """x * number + 1."""
        return x * self.number + 1

    def time(self, time: Tensor, step: Step) -> Tensor:
        """Half the time."""
        return time / 2

    def after(self, x: Tensor, x_next: Tensor, step: Step) -> Tensor:
        """What the step started from, and where it led."""
        return self.number * x_next + x


def test_hooks_act_in_turn_on_state_time_and_result() -> None:
    seen: list[Tensor] = []

    def velocity(x: Tensor, time: Tensor, step: int) -> Tensor:
        seen.append(time)
        return torch.zeros_like(x)

    end = euler(velocity, START, levels(1), hooks=[Adds(2), Adds(3)])
    assert seen[0].tolist() == [0.25] * 4
    shown = (START * 2 + 1) * 3 + 1
    torch.testing.assert_close(end, 3 * (2 * shown + shown) + shown)


def test_the_state_keeps_its_type_under_float32_levels() -> None:
    x = START.bfloat16()
    end = euler(lambda x, time, step: torch.ones_like(x), x, torch.linspace(1, 0, 5))
    assert end.dtype == torch.bfloat16
