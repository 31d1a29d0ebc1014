"""The curves of `bench/score_corruptions.py`: `fvd-tiny` under damage, as docs/metrics.md tells."""

from __future__ import annotations

import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANSWERED = {"blur", "noise", "drift of color"}


def test_fvd_tiny_grows_with_damage():
    bench = ROOT / "bench" / "score_corruptions.py"
    spec = importlib.util.spec_from_file_location(bench.stem, bench)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.answers(module.clips(0), module.clips(1), ("fvd-tiny",), ())["fvd-tiny"]
    drawn = json.loads((ROOT / "docs" / "metrics" / "corruptions.json").read_text())["fvd-tiny"]
    growing = {
        damage for damage, values in found.items() if all(a < b for a, b in pairwise(values))
    }
    assert growing == ANSWERED
    for damage, values in found.items():
        assert values == pytest.approx(drawn[damage], rel=1e-3)
