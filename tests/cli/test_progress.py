"""Bars: they follow what samples inside, and stay silent where nobody looks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kinema.cli.progress import sampling
from kinema.processes import schedules
from kinema.processes.samplers import euler


def still(x: Tensor, time: Tensor, step: int) -> Tensor:
    """A velocity of 0."""
    return torch.zeros_like(x)


def sample(steps: int) -> None:
    """Runs a sampler."""
    euler(still, torch.zeros(1, 2), schedules.with_zero(schedules.linear(steps)))


@pytest.mark.parametrize(
    ("passes", "runs", "ends"),
    [(1, [4], ["4/4"]), (2, [4, 3], ["0/8", "7/7"]), (1, [4, 3], ["4/4", "7/7"])],
)
def test_the_bar_learns_its_length_from_the_samplers(
    passes: int,
    runs: list[int],
    ends: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with sampling(passes=passes):
        for steps in runs:
            sample(steps)
    shown = capsys.readouterr()
    assert shown.out == ""
    for end in ends:
        assert end in shown.err


def test_nothing_is_shown_where_nothing_samples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with sampling(passes=1):
        pass
    assert "sampling" not in capsys.readouterr().err


def test_nothing_is_shown_to_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with sampling(passes=1):
        sample(2)
    assert capsys.readouterr().err == ""
