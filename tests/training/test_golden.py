"""The first losses of both stages are those that were recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from make_golden import GOLDEN, STEPS, first_losses


@pytest.mark.parametrize("stage", ["codec", "generator"])
def test_losses_are_the_recorded_ones(stage: str, tmp_path: Path) -> None:
    recorded = json.loads(GOLDEN.read_text())[stage]
    assert len(recorded) == STEPS
    for step, (now, then) in enumerate(zip(first_losses(stage, tmp_path), recorded)):
        # Not to the last bit: another processor adds up in another order.
        assert now == pytest.approx(then, rel=1e-6), (
            f"step {step} of {stage}; if this is intended: python tests/training/make_golden.py"
        )
