"""Figures of long runs go on where they stopped, and are never those of another run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_inputs import FAILED, READ, REFUSED, Outcome, add, nothing
from long_runs import begun, keep

OUTCOMES = [
    Outcome(0, "a.gif", READ, "", 0.5),
    Outcome(1, "b.mp4", REFUSED, "it is cut", 0.25),
    Outcome(2, "a.gif", FAILED, "hang: ", 10.0),
    Outcome(3, "c.png", READ, "", 9.0),
]


def test_batches_add_up(tmp_path: Path) -> None:
    asked, file = {"kind": "media", "count": 4}, tmp_path / "new" / "a.json"
    assert begun(file, asked) == begun(None, asked) == {}
    figures = nothing(asked)
    add(figures, OUTCOMES[:1], 1.0)
    keep(file, figures)
    figures = begun(file, asked)
    add(figures, OUTCOMES[1:], 11.0)
    assert (figures["inputs"], figures[READ], figures[REFUSED], figures[FAILED]) == (4, 2, 1, 1)
    assert figures["seconds"] == 12.0
    assert figures["slowest"] == [10.0, 2, "a.gif"]
    assert figures["sources"] == {"a.gif": 2, "b.mp4": 1, "c.png": 1}
    assert [failure["index"] for failure in figures["failures"]] == [2]


def test_figures_of_another_run_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    keep(file, nothing({"kind": "media", "count": 4}))
    before = file.read_bytes()
    with pytest.raises(SystemExit, match="of a run with another count; remove it"):
        begun(file, {"kind": "media", "count": 5})
    assert file.read_bytes() == before
