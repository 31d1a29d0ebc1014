"""Noise levels: fixed points, formulas, and which level comes next."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kinema.errors import InputError
from kinema.processes import schedules

SHIFT = schedules.TokenShift(tokens=(1024, 4096), mu=(0.95, 2.05))
STEPS = st.integers(2, 60)


def falls(sigmas: torch.Tensor) -> bool:
    """Whether each level is below the one before."""
    return bool((sigmas.diff() < 0).all())


@given(STEPS)
def test_linear_steps_are_equal_and_reach_zero_together_with_the_end(steps: int) -> None:
    sigmas = schedules.with_zero(schedules.linear(steps))
    assert sigmas.shape == (steps + 1,)
    torch.testing.assert_close(sigmas.diff(), torch.full((steps,), -1 / steps))
    assert (sigmas[0], sigmas[-1]) == (1, 0)


@given(st.floats(0.01, 0.99), st.floats(-3, 3))
def test_the_shift_multiplies_the_ratio_of_noise_to_signal(t: float, mu: float) -> None:
    time = torch.tensor([t], dtype=torch.float64)
    shifted = schedules.shift(time, mu)
    ratio = shifted / (1 - shifted) / (time / (1 - time))
    torch.testing.assert_close(ratio, torch.tensor([math.exp(mu)]).double())
    torch.testing.assert_close(schedules.shift(shifted, -mu), time)


def test_the_shift_keeps_pure_noise() -> None:
    assert schedules.shift(torch.ones(1), 1.7).item() == pytest.approx(1, abs=1e-7)


def test_a_shift_that_leaves_nothing_but_noise_is_refused() -> None:
    assert schedules.shift(torch.tensor([0.5]), schedules.LARGEST_SHIFT) < 1
    for mu in (16.1, 500.0, 1e6):
        with pytest.raises(InputError, match="choose a smaller size or fewer frames"):
            schedules.shift(torch.tensor([1.0, 0.5]), mu)


@pytest.mark.parametrize(
    ("num_tokens", "mu"), [(1024, 0.95), (4096, 2.05), (2560, 1.5), (6144, 2.05 + 2 * 1.1 / 3)]
)
def test_the_shift_grows_with_the_tokens(num_tokens: int, mu: float) -> None:
    assert SHIFT.at(num_tokens) == pytest.approx(mu)


@given(STEPS, st.floats(0.01, 0.3))
def test_stretching_moves_the_last_level_and_keeps_the_first(steps: int, terminal: float) -> None:
    shifted = schedules.shift(schedules.linear(steps), 2.0)
    sigmas = schedules.stretch_to_terminal(shifted, terminal)
    assert sigmas[0] == pytest.approx(1)
    assert sigmas[-1] == pytest.approx(terminal, abs=1e-5)
    assert falls(sigmas)
    distance = (1 - sigmas) * (1 - shifted[-1]) - (1 - shifted) * (1 - terminal)
    assert distance.abs().max() < 1e-5  # distances from 1 keep their proportions


@given(STEPS)
def test_the_linear_half_falls_a_fortieth_and_the_rest_falls_to_zero(steps: int) -> None:
    sigmas = schedules.linear_quadratic(steps).double()
    half = steps // 2
    assert sigmas.shape == (steps,)
    assert sigmas[0] == 1
    assert falls(sigmas)
    assert sigmas[half] == pytest.approx(1 - 0.025, abs=1e-6)
    slopes = sigmas[: half + 1].diff()
    torch.testing.assert_close(slopes, torch.full_like(slopes, -0.025 / half), atol=1e-6, rtol=0)
    quadratic = schedules.with_zero(sigmas)[half:]
    bends = quadratic.diff().diff()
    torch.testing.assert_close(bends, bends[:1].expand_as(bends), atol=1e-6, rtol=0)


def test_one_step_begins_at_noise() -> None:
    assert schedules.linear_quadratic(1).tolist() == [1.0]
    assert schedules.linear(1).tolist() == [1.0]
    assert schedules.karras(1, sigma_min=0.1, sigma_max=80.0, rho=7.0).tolist() == [80.0]


def test_more_tokens_mean_more_noise() -> None:
    t = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)
    torch.testing.assert_close(schedules.simple_diffusion_shift(t, 1024), t)
    shifted = schedules.simple_diffusion_shift(t, 3 * 1024)
    torch.testing.assert_close(shifted / (1 - shifted), 3 * t / (1 - t))


def test_the_next_level_of_a_falling_table_is_below_the_time() -> None:
    sigmas = torch.tensor([1.0, 0.7, 0.4, 0.0])
    times = torch.tensor([[1.0, 0.7, 0.5], [0.4, 0.2, 0.0]])
    expected = torch.tensor([[0.7, 0.4, 0.4], [0.0, 0.0, 0.0]])
    assert torch.equal(schedules.next_level(times, sigmas), expected)
    assert torch.equal(schedules.next_level(times[0], sigmas), expected[0])
    almost = torch.tensor([0.7 + 5e-7])  # rounding must not make a step of no length
    assert schedules.next_level(almost, sigmas).item() == pytest.approx(0.4)


def test_the_next_level_of_a_rising_table_is_above_the_time() -> None:
    sigmas = torch.tensor([0.0, 0.4, 0.7, 1.0])
    times = torch.tensor([0.0, 0.2, 0.4, 0.7 - 5e-7, 1.0])
    expected = torch.tensor([0.4, 0.4, 0.7, 1.0, 1.0])
    assert torch.equal(schedules.next_level(times, sigmas), expected)


@given(STEPS, st.floats(1e-3, 0.5), st.floats(1.0, 1000.0), st.floats(1.0, 10.0))
def test_roots_of_karras_levels_are_evenly_spaced(
    steps: int, low: float, high: float, rho: float
) -> None:
    sigmas = schedules.karras(steps, sigma_min=low, sigma_max=high, rho=rho).double()
    assert sigmas.shape == (steps,)
    assert sigmas[0] == pytest.approx(high, rel=1e-6)
    assert sigmas[-1] == pytest.approx(low, rel=1e-4)
    gaps = (sigmas ** (1 / rho)).diff()
    torch.testing.assert_close(gaps, gaps.mean().expand_as(gaps), atol=1e-6, rtol=1e-3)


def test_stable_diffusion_has_a_thousand_levels() -> None:
    every = schedules.stable_diffusion(1000)
    assert falls(every.double())
    assert every[0].item() == pytest.approx(14.6146, abs=1e-3)
    assert every[-1].item() == pytest.approx((0.00085 / (1 - 0.00085)) ** 0.5, rel=1e-4)
    # The last level first, and steps of 999 / 50 rounded towards the clean end.
    kept = [math.ceil(999 * i / 50) for i in range(50)]
    assert torch.equal(schedules.stable_diffusion(50), every[kept])
