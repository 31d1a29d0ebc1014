"""Rectified flow: losses with a known expectation, times, and the way from noise to a sample."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kinema.condition import Conditions
from kinema.noise import Noise
from kinema.processes import guidance, schedules
from kinema.processes.flow import Flow, LogitNormal
from kinema.processes.process import Predict
from kinema.processes.steps import Report, watching

SHIFT = schedules.TokenShift(tokens=(1024, 4096), mu=(0.95, 2.05))
FLOW = Flow(times=LogitNormal(shift=SHIFT))
NOTHING = Conditions({})
NOISE = Noise(0, tuple(range(8)))
SPREAD = 0.5
X0 = SPREAD * NOISE.normal((8, 500, 16), "data")


def zero(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
    """The trivial predictor."""
    return torch.zeros_like(x)


def test_noise_is_mixed_in_linearly() -> None:
    eps = FLOW.start(X0.shape, NOISE)
    t = torch.tensor([0.0, 1.0, 0.25, 0.5, 0.0, 1.0, 0.1, 0.9])
    mixed = FLOW.noised(X0, t, NOISE)
    assert torch.equal(mixed[0], X0[0])
    assert torch.equal(mixed[1], eps[1])
    torch.testing.assert_close(mixed[2], 0.75 * X0[2] + 0.25 * eps[2])
    per_token = FLOW.noised(X0, t[:, None].expand(8, 500), NOISE)
    assert torch.equal(per_token, mixed)


def test_every_token_may_have_its_own_time() -> None:
    t = torch.rand(8, 500, generator=torch.Generator().manual_seed(0))
    eps = FLOW.start(X0.shape, NOISE)
    torch.testing.assert_close(FLOW.noised(X0, t, NOISE), torch.lerp(X0, eps, t[..., None]))


@pytest.mark.parametrize("t", [0.1, 0.9])
def test_the_trivial_predictor_errs_by_the_power_of_the_velocity(t: float) -> None:
    loss, logs = FLOW.loss_at(zero, X0, NOTHING, NOISE, torch.full((8,), t))
    assert loss.item() == pytest.approx(1 + SPREAD**2, rel=0.02)  # E (eps - x0)^2
    assert torch.equal(loss, logs["loss"])
    assert torch.equal(loss, logs["trivial"])


@pytest.mark.parametrize("t", [0.3, 0.5, 0.8])
def test_the_best_predictor_of_gaussian_data_errs_by_what_cannot_be_known(t: float) -> None:
    variance = (1 - t) ** 2 * SPREAD**2 + t**2
    slope = (t - (1 - t) * SPREAD**2) / variance

    def best(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        return slope * x

    loss, logs = FLOW.loss_at(best, X0, NOTHING, NOISE, torch.full((8,), t))
    expected = 1 + SPREAD**2 - slope**2 * variance
    assert loss.item() == pytest.approx(expected, rel=0.03)
    assert logs["trivial"] > loss


def test_who_knows_the_data_has_no_loss() -> None:
    def cheat(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        assert conditions is NOTHING
        return (x - X0) / time[:, None, None]

    loss, logs = FLOW.loss(cheat, X0, NOTHING, NOISE)
    assert loss < 1e-8
    assert logs["trivial"] > 1


def test_the_loss_carries_a_gradient_and_its_logs_do_not() -> None:
    weight = torch.zeros((), requires_grad=True)
    loss, logs = FLOW.loss(lambda x, time, conditions: weight * x, X0, NOTHING, NOISE)
    loss.backward()
    assert weight.grad is not None
    assert weight.grad < 0  # noise prevails at these times: the velocity points along x
    assert not any(value.requires_grad for value in logs.values())


def test_a_sample_s_loss_does_not_depend_on_its_batch() -> None:
    alone = [FLOW.loss(zero, X0[i : i + 1], NOTHING, Noise(0, (i,)))[0] for i in range(len(NOISE))]
    loss, _ = FLOW.loss(zero, X0, NOTHING, NOISE)
    torch.testing.assert_close(loss, torch.stack(alone).mean())
    seen: list[Tensor] = []

    def watch(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        seen.extend((x, time))
        return x

    FLOW.loss(watch, X0, NOTHING, NOISE)
    FLOW.loss(watch, X0[5:6], NOTHING, Noise(0, (5,)))
    assert torch.equal(seen[0][5], seen[2][0])
    assert torch.equal(seen[1][5:6], seen[3])


def test_half_precision_has_a_loss_in_float32() -> None:
    loss, _ = FLOW.loss(zero, X0.bfloat16(), NOTHING, NOISE)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1 + SPREAD**2, rel=0.03)


@pytest.mark.parametrize("num_tokens", [256, 4096])
def test_times_reach_both_ends_and_move_towards_noise_with_the_tokens(num_tokens: int) -> None:
    samples = 8000
    times = FLOW.times(torch.empty(samples, num_tokens, 0), Noise(0, tuple(range(samples))))
    assert times.shape == (samples,)
    assert times.min() >= 1e-3
    assert times.max() == 1
    # What the published distribution gives at its quantiles, next to a tenth of uniform times.
    mu = SHIFT.at(num_tokens)
    low, high = (torch.sigmoid(torch.tensor(mu + z)) for z in (-2.5758, 3.0902))
    for z, below in ((-1.0, 0.1587), (0.0, 0.5), (1.0, 0.8413)):
        level = (torch.sigmoid(torch.tensor(mu + z)) - low) / (high - low)
        share = (times < level).double().mean().item()
        assert share == pytest.approx(0.9 * below + 0.1 * level.item(), abs=4 * 0.5 / samples**0.5)


def test_a_time_does_not_depend_on_its_batch() -> None:
    together = FLOW.times(torch.empty(4, 256, 0), Noise(3, (0, 1, 2, 3)))
    assert torch.equal(FLOW.times(torch.empty(1, 256, 0), Noise(3, (2,))), together[2:3])


def test_sampling_asks_the_guidance_at_every_step() -> None:
    data = X0[:2, :3]
    steps: list[int] = []
    reports: list[Report] = []

    def known(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        return (x - data) / time[:, None, None]

    def guide(predict: object, x: Tensor, time: Tensor, given: Conditions, step: int) -> Tensor:
        assert predict is known
        steps.append(step)
        return guidance.plain(known, x, time, given, step)

    start = FLOW.start(data.shape, Noise(3, (0, 1)))
    sigmas = schedules.with_zero(schedules.linear(5))
    with watching(reports.append):
        end = FLOW.sample(known, start, sigmas, conditions=NOTHING, guidance=guide)
    torch.testing.assert_close(end, data)
    assert steps == [0, 1, 2, 3, 4]
    assert [report.step.index for report in reports] == steps


def test_levels_are_shares_of_noise() -> None:
    assert [FLOW.level(u) for u in (0.0, 0.3, 0.9)] == [0.0, 0.3, 0.9]


@pytest.mark.parametrize("t", [0.2, 0.9])
def test_distillation_pulls_a_state_towards_the_data(t: float) -> None:
    data, weight = 3.0, torch.ones((), requires_grad=True)

    def best(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        assert conditions is NOTHING
        return weight * (x - data) / time[:, None, None]  # all data is one number

    times = torch.full((8,), t)
    gradient = FLOW.distill(best, X0, NOTHING, NOISE, times, guidance.plain)
    assert not gradient.requires_grad
    # With x0 = data the noise that is found is the noise that was added.
    torch.testing.assert_close(gradient, (1 - t) / t * (X0 - data), atol=1e-4, rtol=1e-4)


def test_distillation_is_guided() -> None:
    def doubled(predict: Predict, x: Tensor, time: Tensor, given: Conditions, step: int) -> Tensor:
        return 2 * predict(x, time, given)

    times = torch.full((8,), 0.5)
    once, twice, never = (
        FLOW.distill(predict, X0, NOTHING, NOISE, times, guide)
        for predict, guide in (
            (identity, guidance.plain),
            (identity, doubled),
            (zero, guidance.plain),
        )
    )
    torch.testing.assert_close(twice - once, once - never)
    assert (twice - once).abs().max() > 0.1


def identity(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
    """A network that gives its input."""
    return x
