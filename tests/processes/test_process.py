"""What all processes share: losses at times they draw, samples by Euler's rule."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kinema.condition import Conditions
from kinema.noise import Noise
from kinema.processes import guidance, samplers
from kinema.processes.edm import EDM, edm_scaling
from kinema.processes.flow import Flow, LogitNormal
from kinema.processes.process import Process
from kinema.processes.schedules import TokenShift
from kinema.processes.steps import Report, watching

SHIFT = TokenShift(tokens=(4, 16), mu=(0.5, 1.0))
PROCESSES = (
    Flow(times=LogitNormal(shift=SHIFT)),
    EDM(sigma_data=0.5, sigma_max=3.0, P_mean=-1.2, P_std=1.2, preconditioning=edm_scaling),
)
NOTHING = Conditions({})
NOISE = Noise(0, (3, 4))
X0 = NOISE.normal((2, 8, 4), "data")


def network(x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
    return 0.3 * x + 0.1 * time.view(-1, 1, 1)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: type(process).__name__)
def test_the_loss_is_that_at_the_times_that_the_process_draws(process: Process) -> None:
    times = process.times(X0, NOISE)
    assert times[0] != times[1]
    loss, logs = process.loss(network, X0, NOTHING, NOISE)
    expected, expected_logs = process.loss_at(network, X0, NOTHING, NOISE, times)
    assert torch.equal(loss, expected)
    assert logs == expected_logs


@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: type(process).__name__)
def test_a_sample_is_eulers_rule_over_the_guided_velocity(process: Process) -> None:
    start = process.start(X0.shape, NOISE)
    sigmas = torch.tensor([0.9, 0.5, 0.2, 0.0])
    reports: list[Report] = []
    with watching(reports.append):
        found = process.sample(network, start, sigmas, conditions=NOTHING, guidance=guidance.plain)
    velocity = process.velocity(network, NOTHING, guidance.plain)
    assert torch.equal(found, samplers.euler(velocity, start, sigmas))
    assert [report.step.sigma for report in reports] == pytest.approx([0.9, 0.5, 0.2])
    assert torch.equal(reports[-1].x, found)
