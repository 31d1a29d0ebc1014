"""Splatting: pictures that are known, gradients, and the order of compositing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kinema.noise import Noise
from kinema.scenes import splatting
from kinema.scenes.cameras import look_at
from kinema.scenes.gaussians import Gaussians
from kinema.scenes.splatting import alphas, composite, project, splat

CAMERA = look_at((0.0, 0.0, 4.0), (0.0, 0.0, 0.0), 1.2)
SIZE = {"height": 24, "width": 32}


def ball(place: tuple[float, float, float], radius: float, logit: float = 1.0) -> Gaussians:
    return Gaussians(
        torch.tensor([place]),
        torch.full((1, 3), math.log(radius)),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.tensor([logit]),
        torch.tensor([[0.9, 0.4, 0.1]]),
    )


def cloud(count: int = 12) -> Gaussians:
    noise = Noise(3, (0,))

    def draw(name: str, *shape: int) -> Tensor:
        return noise.normal((1, count, *shape), name)[0]

    return Gaussians(
        0.6 * draw("means", 3),
        0.2 * draw("scales", 3) - 1.2,
        draw("quaternions", 4),
        draw("logits"),
        draw("colors", 3).sigmoid(),
    )


def test_an_isotropic_gaussian_is_the_analytic_blob() -> None:
    drawn = splat(ball((0.0, 0.0, 0.0), 0.3), CAMERA, **SIZE)
    variance = (1.2 * 24 * 0.3 / 4) ** 2 + 0.3
    x = torch.arange(32) + 0.5 - 16
    y = (torch.arange(24) + 0.5 - 12)[:, None]
    blob = torch.tensor(1.0).sigmoid() * torch.exp(-(x**2 + y**2) / (2 * variance))
    blob = blob.where(blob >= 1 / 255, 0.0)
    assert blob.max() > 0.65
    assert torch.allclose(drawn.opacity, blob, atol=1e-6)
    assert torch.allclose(drawn.depth, 4 * blob, atol=1e-5)
    color = torch.tensor([0.9, 0.4, 0.1])[:, None, None]
    assert torch.allclose(drawn.color, color * blob, atol=1e-6)
    background = torch.tensor([0.2, 0.3, 0.4])
    mixed = color * blob + (1 - blob) * background[:, None, None]
    assert torch.allclose(drawn.over(background), mixed, atol=1e-6)


def test_a_turned_gaussian_has_the_projected_covariance() -> None:
    one = replace(ball((0.3, -0.2, 0.5), 0.3), log_scales=torch.tensor([[-1.0, -2.0, -3.0]]))
    one = replace(one, quaternions=torch.tensor([[0.9, 0.1, 0.3, 0.5]]))
    splats = project(one, CAMERA, 24, 32)
    # By differences of the projection itself.
    mean = one.means[0].double().requires_grad_()
    camera = look_at((0.0, 0.0, 4.0), (0.0, 0.0, 0.0), 1.2)
    exact = replace(camera, rotation=camera.rotation.double(), eye=camera.eye.double())
    jacobian = torch.autograd.functional.jacobian(lambda m: exact.project(m, 24, 32)[0], mean)
    flat = jacobian @ one.covariances()[0].double() @ jacobian.T + 0.3 * torch.eye(2)
    inverse = torch.linalg.inv(flat)
    expected = torch.stack([inverse[0, 0], inverse[0, 1], inverse[1, 1]])
    assert torch.allclose(splats.shapes[0, 2:5].double(), expected, rtol=1e-4)


@pytest.mark.parametrize("field", ["means", "log_scales", "quaternions", "logits", "colors"])
def test_gradients_are_those_of_finite_differences(field: str) -> None:
    """In double precision; alphas below 1/255 would make steps, so they are far from it."""
    exact = Gaussians(*(x.double() for x in cloud(3).fields))
    exact = replace(exact, log_scales=exact.log_scales + 1.0)
    camera = replace(CAMERA, rotation=CAMERA.rotation.double(), eye=CAMERA.eye.double())
    weights = Noise(0, (0,)).normal((1, 5, 6, 8), "weights")[0].double()

    def value(x: Tensor) -> Tensor:
        drawn = splat(replace(exact, **{field: x}), camera, height=6, width=8)
        return (weights * torch.cat([drawn.color, drawn.depth[None], drawn.opacity[None]])).sum()

    x = getattr(exact, field).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(x), x)
    assert gradient.any()
    assert torch.allclose(gradient, differences(value, x.detach()), rtol=1e-4, atol=1e-6)


def differences(value: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5) -> Tensor:
    found = torch.zeros_like(x)
    for i in range(x.numel()):
        off = torch.zeros_like(x).reshape(-1)
        off[i] = step
        off = off.reshape(x.shape)
        found.view(-1)[i] = (value(x + off) - value(x - off)) / (2 * step)
    return found


def test_front_to_back_equals_back_to_front() -> None:
    splats = project(cloud(), CAMERA, 24, 32)
    assert (splats.values[:, 3].diff() >= 0).all()  # the nearest first
    alpha = alphas(splats.shapes, torch.arange(32) + 0.5, 12.5)
    assert (alpha > 0.05).sum() > 30
    behind = torch.zeros(5, 32)
    for one, value in zip(alpha.flip(0), splats.values.flip(0)):
        behind = one * value[:, None] + (1 - one) * behind
    assert torch.allclose(composite(alpha, splats.values), behind, atol=1e-5)


def test_the_order_of_the_set_does_not_matter() -> None:
    first, turned = cloud(), cloud()[torch.arange(11, -1, -1)]
    a, b = (splat(x, CAMERA, **SIZE) for x in (first, turned))
    assert torch.allclose(a.color, b.color, atol=1e-6)


def test_a_row_misses_none_that_touch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    some = splat(cloud(), CAMERA, **SIZE)
    monkeypatch.setattr(splatting, "SLACK", 1000.0)  # every row looks at all
    every = splat(cloud(), CAMERA, **SIZE)
    assert torch.equal(some.color, every.color)
    assert torch.equal(some.opacity, every.opacity)


def test_what_is_behind_the_camera_is_not_drawn() -> None:
    drawn = splat(ball((0.0, 0.0, 5.0), 0.5), CAMERA, **SIZE)
    assert not drawn.opacity.any()
    assert not drawn.distance().any()
    beside = Gaussians.union([ball((0.0, 0.0, 5.0), 0.5), ball((0.0, 0.0, 0.0), 0.3)])
    alone = splat(ball((0.0, 0.0, 0.0), 0.3), CAMERA, **SIZE)
    assert torch.equal(splat(beside, CAMERA, **SIZE).color, alone.color)


def test_what_is_behind_a_wall_is_hidden() -> None:
    x, y = torch.meshgrid(torch.linspace(-2, 2, 17), torch.linspace(-2, 2, 17), indexing="ij")
    count = x.numel()
    wall = Gaussians(
        torch.stack([x.flatten(), y.flatten(), torch.zeros(count)], 1),
        torch.full((count, 3), math.log(0.2)),
        torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        torch.full((count,), 8.0),
        torch.full((count, 3), 0.5),
    )
    empty = splat(wall, CAMERA, **SIZE).color
    for z, seen in ((1.5, True), (-1.5, False)):
        thing = ball((0.2, 0.1, z), 0.2, logit=6.0)
        drawn = splat(Gaussians.union([thing, wall]), CAMERA, **SIZE).color
        change = float((drawn - empty).abs().max())
        assert (change > 0.2) if seen else (change < 1e-3), z
