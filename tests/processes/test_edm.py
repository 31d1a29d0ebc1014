"""EDM: scalings on paper, losses with a known expectation, and the way from noise to a sample."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kinema.condition import Conditions, Vector
from kinema.noise import Noise
from kinema.processes import conversions, guidance, samplers, schedules
from kinema.processes.edm import EDM, edm_scaling, eps_scaling, sd_scaling, v_scaling
from kinema.processes.process import Predict
from kinema.processes.steps import Report, watching

SPREAD = 0.5
PROCESS = EDM(
    sigma_data=SPREAD, sigma_max=80.0, P_mean=-1.2, P_std=1.2, preconditioning=edm_scaling
)
SCALINGS = (edm_scaling, v_scaling, eps_scaling)
NOTHING = Conditions({})
NOISE = Noise(0, tuple(range(8)))
X0 = SPREAD * NOISE.normal((8, 4, 20, 10, 10), "data")
SIGMAS = torch.tensor([0.002, 0.1, 0.5, 1.0, 3.0, 20.0, 80.0, 700.0])


def zero(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
    """The trivial network."""
    return torch.zeros_like(x)


def ideal(process: EDM) -> Predict:
    """The network F that makes D the best denoiser of normal data of deviation 0.5."""

    def predict(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        sigma = (4 * time.double()).exp().view(-1, *(1,) * (x.ndim - 1))
        skip, out, inner, _ = process.preconditioning(sigma, process.sigma_data)
        noisy = x / inner
        return ((SPREAD**2 / (SPREAD**2 + sigma**2) - skip) * noisy / out).to(x.dtype)

    return predict


# Scalings.


def test_the_network_is_told_steps_of_the_table() -> None:
    levels = schedules.stable_diffusion(1000)
    steps = sd_scaling(levels, 1.0).noise
    torch.testing.assert_close(steps, torch.arange(999.0, -1, -1), rtol=0, atol=0.01)
    beyond = sd_scaling(torch.tensor([1e-4, 500.0]), 1.0).noise
    assert beyond.tolist() == pytest.approx([0, 999], abs=0.01)
    scaling = sd_scaling(torch.tensor([2.0]), 1.0)
    x0, eps = 0.5, -1.5
    x = x0 + 2 * eps
    assert float(scaling.skip * x + scaling.out * eps) == pytest.approx(x0)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_inputs_and_targets_of_the_network_have_unit_variance(scaling: object) -> None:
    process = replace(PROCESS, preconditioning=scaling)
    sigma = SIGMAS.double()
    skip, out, inner, _ = process.preconditioning(sigma, SPREAD)
    data, noise = SPREAD**2, sigma**2
    torch.testing.assert_close(inner**2 * (data + noise), torch.ones(8).double())
    target = ((1 - skip) ** 2 * data + skip**2 * noise) / out**2
    if scaling is not eps_scaling:  # whose network knows the noise, of variance 1, exactly
        torch.testing.assert_close(target, torch.ones(8).double())


def test_the_network_is_told_a_quarter_of_the_logarithm() -> None:
    for scaling in SCALINGS:
        assert scaling(SIGMAS, 1.0).noise[3] == 0
        torch.testing.assert_close(scaling(SIGMAS, 1.0).noise, 0.25 * SIGMAS.log())


def test_v_scaling_is_v_prediction_and_eps_scaling_eps_prediction() -> None:
    x, output = 30 * X0, X0.flip(0)
    sigma = SIGMAS.view(-1, 1, 1, 1, 1)
    alpha = (1 + sigma**2) ** -0.5  # of x / sqrt(1 + sigma^2), which keeps its variance
    process = replace(PROCESS, sigma_data=1.0, preconditioning=v_scaling)
    network = lambda x, time, conditions: output  # noqa: E731
    got = process.denoiser(network)(x, SIGMAS, NOTHING)
    wanted = conversions.x0_from_v(alpha * x, output, alpha, sigma * alpha)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
    process = replace(process, preconditioning=eps_scaling)
    got = process.denoiser(network)(x, SIGMAS, NOTHING)
    torch.testing.assert_close(got, conversions.x0_from_eps(x, output, 1.0, sigma))


def test_the_network_sees_a_scaled_state() -> None:
    seen: list[Tensor] = []

    def watch(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        assert conditions is NOTHING
        seen.extend((x, time))
        return x

    x = PROCESS.noised(X0, SIGMAS, NOISE)
    PROCESS.denoiser(watch)(x, SIGMAS, NOTHING)
    torch.testing.assert_close(seen[0].flatten(1).std(1), torch.ones(8), atol=0.05, rtol=0)
    assert seen[1].shape == (8,)


# Losses.


@pytest.mark.parametrize("sigma", [0.01, 0.5, 10.0])
@pytest.mark.parametrize("scaling", [edm_scaling, v_scaling])
def test_the_trivial_network_errs_by_one(scaling: object, sigma: float) -> None:
    process = replace(PROCESS, preconditioning=scaling)
    loss, logs = process.loss_at(zero, X0, NOTHING, NOISE, torch.full((8,), sigma))
    assert loss.item() == pytest.approx(1, rel=0.02)
    assert torch.equal(loss, logs["loss"])
    assert torch.equal(loss, logs["trivial"])


@pytest.mark.parametrize("sigma", [0.01, 0.5, 10.0])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_best_network_errs_by_what_cannot_be_known(scaling: object, sigma: float) -> None:
    process = replace(PROCESS, preconditioning=scaling)
    loss, _ = process.loss_at(ideal(process), X0, NOTHING, NOISE, torch.full((8,), sigma))
    out = process.preconditioning(torch.tensor(sigma), SPREAD).out
    unknowable = SPREAD**2 * sigma**2 / (SPREAD**2 + sigma**2)
    assert loss.item() == pytest.approx(unknowable / out.item() ** 2, rel=0.03)


def test_the_loss_is_that_of_the_denoiser_weighted() -> None:
    network = lambda x, time, conditions: torch.tanh(x)  # noqa: E731
    loss, _ = PROCESS.loss_at(network, X0, NOTHING, NOISE, SIGMAS[1:7].repeat(2)[:8])
    sigma = SIGMAS[1:7].repeat(2)[:8]
    eps = NOISE.normal(X0.shape, "eps")
    x = X0 + sigma.view(-1, 1, 1, 1, 1) * eps
    error = (PROCESS.denoiser(network)(x, sigma, NOTHING) - X0).square().flatten(1).mean(1)
    weight = (sigma**2 + SPREAD**2) / (sigma * SPREAD) ** 2  # eq. 6 of the paper's table 1
    torch.testing.assert_close(loss, (weight * error).mean(), rtol=1e-4, atol=0)


def test_training_levels_are_log_normal_and_keyed() -> None:
    samples = tuple(range(4000))
    levels = PROCESS.times(torch.empty(4000, 3), Noise(0, samples)).log()
    assert levels.mean().item() == pytest.approx(-1.2, abs=0.06)
    assert levels.std().item() == pytest.approx(1.2, rel=0.04)
    alone = PROCESS.times(torch.empty(1, 3), Noise(0, (7,))).log()
    torch.testing.assert_close(alone, levels[7:8])


def test_a_sample_s_loss_does_not_depend_on_its_batch() -> None:
    alone = [
        PROCESS.loss(zero, X0[i : i + 1], NOTHING, Noise(0, (i,)))[0] for i in range(len(NOISE))
    ]
    loss, _ = PROCESS.loss(zero, X0, NOTHING, NOISE)
    torch.testing.assert_close(loss, torch.stack(alone).mean())


def test_the_loss_carries_a_gradient_and_its_logs_do_not() -> None:
    weight = torch.zeros((), requires_grad=True)
    loss, logs = PROCESS.loss(lambda x, time, given: weight * x, X0.bfloat16(), NOTHING, NOISE)
    assert loss.dtype == torch.float32
    loss.backward()
    assert weight.grad is not None
    assert not any(value.requires_grad for value in logs.values())


def test_levels_have_the_noise_of_a_flow_at_that_time() -> None:
    for u in (0.0, 0.1, 0.5, 0.9):
        sigma = PROCESS.level(u)
        assert sigma / (sigma + SPREAD) == pytest.approx(u)


# Sampling.


def test_noise_starts_with_the_spread_of_noisy_data() -> None:
    start = PROCESS.start(X0.shape, NOISE)
    assert start.std().item() == pytest.approx((80**2 + SPREAD**2) ** 0.5, rel=0.01)
    noised = PROCESS.noised(X0, torch.full((8,), 80.0), NOISE)
    assert (start - noised).abs().max() < 3  # the same noise; the data is what differs


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_ideal_network_makes_the_data(scaling: object) -> None:
    process = replace(PROCESS, preconditioning=scaling)
    start = process.start((4, 30, 30), Noise(3, (0, 1, 2, 3))).double()
    sigmas = schedules.with_zero(
        schedules.karras(200, sigma_min=0.002, sigma_max=80.0, rho=7.0)
    ).double()
    reports: list[Report] = []
    with watching(reports.append):
        end = process.sample(
            ideal(process), start, sigmas, conditions=NOTHING, guidance=guidance.plain
        )
    exact = SPREAD * start / (80**2 + SPREAD**2) ** 0.5  # the flow keeps every quantile
    torch.testing.assert_close(end, exact, atol=0.05, rtol=0)
    assert len(reports) == 200
    torch.testing.assert_close(reports[-1].x0, end)


def test_inversion_finds_the_noise() -> None:
    levels = schedules.karras(400, sigma_min=0.002, sigma_max=80.0, rho=7.0).double()
    data = X0[:2].double()
    velocity = PROCESS.velocity(ideal(PROCESS), NOTHING, guidance.plain)
    noise = samplers.euler(velocity, data, levels.flip(0))
    exact = data * (80**2 + SPREAD**2) ** 0.5 / SPREAD
    assert ((noise - exact).abs() / exact.abs().max()).max() < 0.03


def test_guidance_acts_on_the_denoiser() -> None:
    given = Vector(x=torch.ones(2, 1), null=Vector(x=torch.zeros(2, 1)))
    conditions = Conditions({"label": given})

    def network(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        return x * conditions.of(Vector, "label").x.view(-1, 1, 1, 1, 1)

    x, sigma = X0[:2], SIGMAS[2:4]
    scales = guidance.rising(20, 1.0, 3.0).view(-1, 1, 1)
    guide = guidance.linear([guidance.Term(weight=scales - 1, drop=("label",))])
    v = PROCESS.velocity(network, conditions, guide)(x, sigma, 0)
    denoise = PROCESS.denoiser(network)
    full, null = denoise(x, sigma, conditions), denoise(x, sigma, conditions.drop(["label"]))
    wanted = (x - (null + scales * (full - null))) / sigma.view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(v, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("sigma", [0.1, 2.0])
def test_distillation_pulls_a_state_towards_the_data(sigma: float) -> None:
    data = 3.0

    def known(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        skip, out, inner, _ = PROCESS.preconditioning(torch.tensor(sigma), SPREAD)
        return (data - skip * x / inner) / out  # all data is one number

    levels = torch.full((8,), sigma)
    gradient = PROCESS.distill(known, X0, NOTHING, NOISE, levels, guidance.plain)
    torch.testing.assert_close(gradient, (X0 - data) / sigma, atol=1e-4, rtol=1e-4)
