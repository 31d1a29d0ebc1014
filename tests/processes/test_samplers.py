"""Samplers against solutions on paper."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from kinema.noise import Noise
from kinema.processes.samplers import dpmpp_2m, euler, euler_step, heun, renoised
from kinema.processes.steps import Report, Step, counted, watching

Sampler = Callable[..., Tensor]

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

    with watching(reports.append):
        end = euler(velocity, START, levels(4))
    torch.testing.assert_close(end, target)
    assert [r.step for r in reports] == [Step(i, 4, 1 - i / 4, 1 - (i + 1) / 4) for i in range(4)]
    assert [t.tolist() for t in times] == [[1 - i / 4] * 4 for i in range(4)]
    assert reports[-1].x is end
    for report in reports:
        torch.testing.assert_close(report.x0, target)


def test_who_watches_may_end_the_sampling() -> None:
    seen: list[int] = []

    def stop(report: Report) -> None:
        seen.append(report.step.index)
        if report.step.index == 2:
            raise KeyboardInterrupt

    with watching(stop), pytest.raises(KeyboardInterrupt):
        euler(rotating, START, levels(9))
    assert seen == [0, 1, 2]
    euler(rotating, START, levels(9))
    assert seen == [0, 1, 2], "nobody watches any more"


def test_all_who_watch_hear_of_a_step() -> None:
    outer: list[Report] = []
    inner: list[Report] = []
    with watching(outer.append):
        with watching(inner.append):
            euler(rotating, START, levels(2))
        euler(rotating, START, levels(3))
    assert (len(outer), len(inner)) == (5, 2)


def test_several_samplings_are_told_as_one() -> None:
    told: list[Report] = []
    with watching(told.append):
        for before, steps in ((0, 2), (2, 3)):
            with counted(before=before, total=5):
                euler(rotating, START, levels(steps))
        euler(rotating, START, levels(1))
    assert [(r.step.index, r.step.total) for r in told] == [*((i, 5) for i in range(5)), (0, 1)]
    assert [r.step.sigma for r in told[2:4]] == levels(3)[:2].tolist()


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


# Data of deviation 2 around 1.5, of which every sampler knows all there is to know.
MEAN, SPREAD = 1.5, 2.0
NOISE_LEVEL = 50.0


def gaussian(x: Tensor, sigma: Tensor, step: int) -> Tensor:
    """(x - D) / sigma for states x0 + sigma eps."""
    s = sigma[:, None, None]
    denoised = MEAN + SPREAD**2 / (SPREAD**2 + s**2) * (x - MEAN)
    return (x - denoised) / s


def noisy() -> Tensor:
    return MEAN + (SPREAD**2 + NOISE_LEVEL**2) ** 0.5 * START


def falling(steps: int) -> Tensor:
    """Levels from 50 to 0.05, evenly in the seventh root, without the final 0."""
    roots = torch.linspace(NOISE_LEVEL ** (1 / 7), 0.05 ** (1 / 7), steps + 1, dtype=torch.float64)
    return roots**7


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2), (dpmpp_2m, 2)])
def test_samplers_keep_quantiles_at_their_order(sampler: Sampler, order: int) -> None:
    exact = MEAN + (SPREAD**2 + 0.05**2) ** 0.5 * START
    errors = [
        (sampler(gaussian, noisy(), falling(n)) - exact).abs().max().item() for n in (40, 80, 160)
    ]
    assert errors[0] < 0.5**order
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2**order, rel=0.2)


@pytest.mark.parametrize("sampler", [euler, heun, dpmpp_2m])
def test_the_last_step_to_zero_gives_the_clean_state(sampler: Sampler) -> None:
    reports: list[Report] = []
    sigmas = torch.cat([falling(10), torch.zeros(1).double()])
    with watching(reports.append):
        end = sampler(gaussian, noisy(), sigmas)
    torch.testing.assert_close(end, reports[-1].x0)
    assert reports[-1].x is end
    assert [r.step for r in reports] == [
        Step(i, 11, *pair) for i, pair in enumerate(pairwise(sigmas.tolist()))
    ]
    first = noisy() - NOISE_LEVEL * gaussian(noisy(), sigmas[:1].expand(4), 0)
    torch.testing.assert_close(reports[0].x0, first)


def test_heun_asks_twice_a_step_but_for_the_last() -> None:
    asked: list[float] = []

    def velocity(x: Tensor, sigma: Tensor, step: int) -> Tensor:
        asked.append(sigma[0].item())
        return gaussian(x, sigma, step)

    heun(velocity, noisy(), torch.tensor([50.0, 10.0, 2.0, 0.0]))
    assert asked == [50, 10, 10, 2, 2]


@pytest.mark.parametrize("sampler", [euler, heun, dpmpp_2m])
def test_a_clean_state_that_is_known_is_met_whatever_the_steps(sampler: Sampler) -> None:
    target = torch.full_like(START, 0.3)

    def velocity(x: Tensor, sigma: Tensor, step: int) -> Tensor:
        return (x - target) / sigma[:, None, None]

    sigmas = torch.tensor([3.0, 2.8, 1.1, 0.7]).double()
    end = sampler(velocity, START, sigmas)
    torch.testing.assert_close(end, target + (START - target) * sigmas[-1] / sigmas[0])


@pytest.mark.parametrize("sampler", [euler, heun, dpmpp_2m])
def test_the_reversed_table_inverts(sampler: Sampler) -> None:
    sigmas = falling(400)
    clean = sampler(gaussian, noisy(), sigmas)
    again = sampler(gaussian, clean, sigmas.flip(0))
    assert ((again - noisy()).abs() / NOISE_LEVEL).max() < 0.05
    flow = euler(rotating, euler(rotating, START, levels(400)), levels(400).flip(0))
    torch.testing.assert_close(flow, START, atol=0.02, rtol=0)


def test_renoised_steps_go_by_the_clean_state() -> None:
    """With the right velocity every step is at the clean state, and leaves it as it is told."""
    target, noise = torch.full_like(START, 0.3), Noise(0, tuple(range(4)))
    reports: list[Report] = []

    def velocity(x: Tensor, sigma: Tensor, step: int) -> Tensor:
        return (x - target) / sigma[:, None, None]

    def renoise(x0: Tensor, v: Tensor, step: Step) -> Tensor:
        fresh = noise.normal(x0.shape, f"step {step.index}").to(x0)
        return (1 - step.sigma_next) * x0 + step.sigma_next * (fresh + v / 8)

    class Half:
        """Shows half the state, and notes what came of each step."""

        states: ClassVar[list[Tensor]] = []

        def before(self, x: Tensor, step: Step) -> Tensor:
            return x / 2

        def time(self, time: Tensor, step: Step) -> Tensor:
            return time

        def after(self, x: Tensor, x_next: Tensor, step: Step) -> Tensor:
            self.states.append(x_next)
            return x_next + 1

    hooks = [Half()]
    with watching(reports.append):
        end = renoised(velocity, START, levels(4), renoise=renoise, hooks=hooks)
    assert [report.step.sigma_next for report in reports] == [0.75, 0.5, 0.25, 0.0]
    shown = START / 2
    for report, state in zip(reports, Half.states):
        v = (shown - target) / report.step.sigma
        torch.testing.assert_close(report.x0, target)
        torch.testing.assert_close(state, renoise(target, v, report.step))
        torch.testing.assert_close(report.x, state + 1)
        shown = report.x / 2
    torch.testing.assert_close(end, target + 1)
