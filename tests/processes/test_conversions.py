"""Conversions: any prediction gives the two that the state is made of."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from kinema.noise import Noise
from kinema.processes import conversions as c

X0, EPS = (Noise(0, (0, 1)).normal((2, 3, 4), name).double() for name in ("x0", "eps"))
LEVELS = {
    "sigma": (1.0, 7.5),
    "flow": (0.7, 0.3),
    "variance kept": (math.cos(0.4), math.sin(0.4)),
    "a level per sample": (
        torch.tensor([[[0.2]], [[0.9]]]).double(),
        torch.tensor([[[0.8]], [[0.4]]]).double(),
    ),
}


@pytest.mark.parametrize("name", LEVELS)
def test_each_prediction_gives_noise_and_data(name: str) -> None:
    alpha, sigma = LEVELS[name]
    x = alpha * X0 + sigma * EPS
    v, velocity = c.v_of(X0, EPS, alpha, sigma), EPS - X0

    def same(got: Tensor, wanted: Tensor) -> None:
        torch.testing.assert_close(got, wanted)

    same(c.x0_from_eps(x, EPS, alpha, sigma), X0)
    same(c.eps_from_x0(x, X0, alpha, sigma), EPS)
    same(c.x0_from_v(x, v, alpha, sigma), X0)
    same(c.eps_from_v(x, v, alpha, sigma), EPS)
    same(c.x0_from_velocity(x, velocity, alpha, sigma), X0)
    same(c.eps_from_velocity(x, velocity, alpha, sigma), EPS)


def test_v_is_the_state_a_quarter_turn_on() -> None:
    for angle in (0.0, 0.3, 1.5):
        alpha, sigma = math.cos(angle), math.sin(angle)
        turned = math.cos(angle + math.pi / 2) * X0 + math.sin(angle + math.pi / 2) * EPS
        torch.testing.assert_close(c.v_of(X0, EPS, alpha, sigma), turned)
