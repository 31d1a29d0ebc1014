"""Guidance: what several predictions become."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from kinema.condition import Conditions, Tokens
from kinema.noise import Noise
from kinema.processes.guidance import (
    Term,
    linear,
    plain,
    project,
    rescaled,
    rising,
    trapezoid,
    triangle,
)

X = Noise(0, (0, 1, 2)).normal((3, 5, 4), "x")
TIME = torch.full((3,), 0.5)
GIVEN, NULL = (Noise(0, (0, 1, 2)).normal((3, 1, 4), name) for name in ("text", "null"))
CONDITIONS = Conditions({"text": Tokens(x=GIVEN, null=Tokens(x=NULL))})


class Network:
    """Predicts from the text, counts its calls, and can be perturbed."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_perturbed = False

    def __call__(self, x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        text = conditions.of(Tokens, "text").x
        name = "text" if text is GIVEN else "null"
        self.calls.append(name + " perturbed" * self.is_perturbed)
        out = torch.tanh(x * text) + time[:, None, None]
        return out.flip(1) if self.is_perturbed else out

    @contextlib.contextmanager
    def perturbed(self) -> Iterator[None]:
        """Inside, predictions have their tokens in the wrong order."""
        self.is_perturbed = True
        yield
        self.is_perturbed = False


def predictions() -> tuple[Tensor, Tensor, Tensor]:
    """With the text, without it, and perturbed."""
    network = Network()
    with network.perturbed():
        wrong = network(X, TIME, CONDITIONS)
    return network(X, TIME, CONDITIONS), network(X, TIME, CONDITIONS.drop(["text"])), wrong


def test_weights_of_zero_are_no_guidance_and_cost_nothing() -> None:
    network = Network()
    terms = [Term(weight=0.0, drop=("text",)), Term(weight=0, within=network.perturbed)]
    got = linear(terms, rescale=0.0)(network, X, TIME, CONDITIONS, 0)
    assert network.calls == ["text"]
    assert torch.equal(got, plain(network, X, TIME, CONDITIONS, 0))
    assert torch.equal(linear([])(network, X, TIME, CONDITIONS, 0), got)


def test_classifier_free_guidance_extrapolates_from_the_null() -> None:
    text, null, _ = predictions()
    network = Network()
    for scale in (0.0, 0.5, 3.0):
        guide = linear([Term(weight=scale - 1, drop=("text",))])
        got = guide(network, X, TIME, CONDITIONS, 0)
        torch.testing.assert_close(got, null + scale * (text - null))
    assert network.calls == ["text", "null"] * 3


def test_the_perturbed_branch_keeps_the_text() -> None:
    text, null, wrong = predictions()
    network = Network()
    guide = linear([Term(weight=2.0, drop=("text",)), Term(weight=0.7, within=network.perturbed)])
    got = guide(network, X, TIME, CONDITIONS, 0)
    assert network.calls == ["text", "null", "text perturbed"]
    torch.testing.assert_close(got, text + 2 * (text - null) + 0.7 * (text - wrong))


def test_weights_and_rescaling_may_depend_on_the_step() -> None:
    text, null, _ = predictions()
    guide = linear([Term(weight=(4.0, 0.0), drop=("text",))], rescale=(0.0, 1.0))
    network = Network()
    torch.testing.assert_close(guide(network, X, TIME, CONDITIONS, 0), text + 4 * (text - null))
    assert network.calls == ["text", "null"]
    torch.testing.assert_close(guide(network, X, TIME, CONDITIONS, 1), text)
    assert network.calls == ["text", "null", "text"]
    with pytest.raises(IndexError):
        guide(network, X, TIME, CONDITIONS, 2)


def test_rescaling_restores_the_spread_of_each_sample() -> None:
    text, null, _ = predictions()
    plainly = text + 5 * (text - null)
    spread = text.flatten(1).std(1)
    for r in (0.3, 1.0):
        guide = linear([Term(weight=5.0, drop=("text",))], rescale=r)
        got = guide(Network(), X, TIME, CONDITIONS, 0)
        wanted = r * spread + (1 - r) * plainly.flatten(1).std(1)
        torch.testing.assert_close(got.flatten(1).std(1), wanted)
        ratio = got / plainly  # one factor for a whole sample
        torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio))
    torch.testing.assert_close(rescaled(7 * text, text, 1.0), text)


def test_a_projected_branch_is_the_nearest_multiple() -> None:
    text, null, _ = predictions()
    projected = project(null, text)
    rest = (text - projected) * null
    torch.testing.assert_close(rest.flatten(1).sum(1), torch.zeros(3), atol=1e-4, rtol=0)
    ratio = projected / null
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio))
    torch.testing.assert_close(project(-3 * null, text), projected)
    torch.testing.assert_close(project(2 * text, text), text)


def test_a_branch_is_adjusted_before_it_is_used() -> None:
    text, null, _ = predictions()
    guide = linear([Term(weight=3.0, drop=("text",), adjust=project)])
    got = guide(Network(), X, TIME, CONDITIONS, 0)
    torch.testing.assert_close(got, text + 3 * (text - project(null, text)))


def test_a_weight_may_be_spread_over_the_state() -> None:
    text, null, _ = predictions()
    scales = rising(5, 1.0, 3.0)[:, None]  # along the axis of 5
    network = Network()
    guide = linear([Term(weight=scales - 1, drop=("text",))])
    for step in (0, 7):
        got = guide(network, X, TIME, CONDITIONS, step)
        torch.testing.assert_close(got, null + scales * (text - null))
    torch.testing.assert_close(got[:, 0], text[:, 0])
    half = guide(lambda *given: Network()(*given).bfloat16(), X, TIME, CONDITIONS, 0)
    assert half.dtype == torch.bfloat16


def test_a_rising_scale_starts_low_and_ends_high() -> None:
    assert rising(4, 1.0, 2.5).tolist() == [1.0, 1.5, 2.0, 2.5]
    assert rising(1, 1.0, 2.5).tolist() == [1.0]


def test_a_triangle_is_the_same_from_both_ends() -> None:
    assert triangle(5, 1.0, 3.0).tolist() == [1.0, 2.0, 3.0, 2.0, 1.0]
    even = triangle(6, 1.0, 3.0)
    torch.testing.assert_close(even, even.flip(0))
    assert even.max() < 3


def test_a_trapezoid_has_slopes_of_a_tenth() -> None:
    scales = trapezoid(30, 1.0, 3.0, plateau=3.0)
    assert scales.tolist() == [1, 2, *[3] * 26, 2, 1]
    assert trapezoid(9, 1.0, 3.0, plateau=2.0).tolist() == [2] * 9  # too few for a slope
