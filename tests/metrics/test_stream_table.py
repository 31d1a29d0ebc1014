"""The table of `bench/stream_corruptions.py`: STREAM under corruptions."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "stream_corruptions.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("stream_corruptions", BENCH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("frames", [16, 64])
def test_the_table_is_reproduced(bench, frames):
    rows = {row.name: row for row in bench.rows(frames)}
    for row in rows.values():
        assert row.agrees.all(), (row.name, row.scores.mean(0), row.reference)
        drawn = len(row.scores) > 1
        assert drawn == (row.name in bench.DRAWN)
        if not drawn:
            assert abs(row.scores[0] - row.reference).max() <= bench.DIGITS
