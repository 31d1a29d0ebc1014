"""JSON nested thousands of times, wherever a file of it is read: one line, no RecursionError."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kinema.claims.record import read_record
from kinema.claims.runner import read_result
from kinema.cli.outputs import is_finished
from kinema.cli.runs import read_run
from kinema.errors import InputError
from kinema.metrics.clip_sets import caption_of
from kinema.metrics.passport import read_scores
from kinema.parity.case import read_case
from kinema.systems.vivit_frozen_features import classes_of
from kinema.training import shards

READS: dict[str, Callable[[Path], object]] = {
    "a.json": lambda folder: is_finished(folder / "a.mp4", {"seed": 1}),
    "run.json": read_run,
    "values.json": shards.check,
    "b.json": lambda folder: caption_of(folder / "b.mp4"),
    "scores.json": lambda folder: read_scores(folder / "scores.json"),
    "record.json": lambda folder: read_record(folder / "record.json"),
    "one-0.json": lambda folder: read_result(folder / "one-0.json", {}),
    "case.json": read_case,
    "classes.json": classes_of,
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 900 + "]" * 900, '{"prompt":' * 900, "{"])
def test_it_is_refused_in_one_line(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as said:
        READS[name](tmp_path)
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 500


@pytest.mark.parametrize("text", ['{"a": 1}', "[1]", "3", "null"])
def test_a_list_of_classes_is_a_list_of_names(text: str, tmp_path: Path) -> None:
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(InputError, match=r"classes\.json must hold a list of names"):
        classes_of(tmp_path)
    (tmp_path / "classes.json").write_text('["a", "b"]')
    assert classes_of(tmp_path) == ("a", "b")
