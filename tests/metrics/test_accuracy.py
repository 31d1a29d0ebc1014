"""Accuracies of recognizers: the right numbers, passports, clips that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kinema.data.annotations import Annotated
from kinema.errors import InputError
from kinema.metrics.accuracy import ACCURACIES, Judged, answers, by_class, hits, scores
from kinema.metrics.passport import compare

LABELS = tuple("abcdefgh")
CPU = {"kinema": "0.1", "device": "cpu"}  # what computed


def test_hits_take_the_lower_number_among_equals():
    x = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.5, 0.4]])
    assert hits(x, torch.tensor([0, 2]), 1).tolist() == [1, 0]
    assert hits(x, torch.tensor([1, 2]), 1).tolist() == [0, 0]
    assert hits(x, torch.tensor([1, 2]), 2).tolist() == [1, 1]
    assert hits(x, torch.tensor([2, 0]), 5).tolist() == [1, 1]


class Reading:
    """Says of a file the classes whose letters it holds, the first most of all."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, path: Path) -> Tensor:
        self.read.append(path.name)
        text = path.read_text()
        if not text:
            raise InputError(f"{path} is no video")
        chances = torch.zeros(len(LABELS))
        for rank, letter in enumerate(text):
            chances[LABELS.index(letter)] = 0.5**rank
        return chances / chances.sum()


def judged(reading: Reading, made_by: Mapping[str, str] = CPU) -> Judged:
    return Judged(
        name="reader",
        weights="0" * 16,
        views="whole files",
        num_frames=1,
        size=1,
        made_by=made_by,
        labels=LABELS,
        probabilities=reading,
    )


# Of class a two of three are right, of class b none; the last is right among five.
FILES = [("a", "abc"), ("a", "ah"), ("a", "ba"), ("b", "cadefgb"), ("b", "dcab")]


@pytest.fixture
def entries(tmp_path) -> list[Annotated]:
    found = []
    for number, (label, text) in enumerate(FILES):
        path = tmp_path / f"{number}.mp4"
        path.write_text(text)
        found.append(Annotated(path, label.upper(), f"list:{number}"))
    return found


def said(reading: Reading, entries: list[Annotated], cache: Path, *, strict: bool = False):
    done = []
    found = answers(judged(reading), entries, cache=cache, strict=strict, progress=done.append)
    assert sum(done) == len(entries)
    return found


def test_a_name_that_no_file_can_have_is_left_out(entries, tmp_path):
    entries.append(Annotated(tmp_path / ("x" * 300), "a", "list:5"))
    found = said(Reading(), entries, tmp_path / "cache")
    assert len(found.classes) == 5
    (line,) = found.skipped
    assert line.startswith("list:5: cannot read")
    assert line.endswith("File name too long")


def test_scores_have_the_shares_and_a_passport(entries, tmp_path):
    found = said(Reading(), entries, tmp_path / "cache")
    first, fifth = scores([*ACCURACIES], judged(Reading()), found, 0)
    assert (first.name, first.value) == ("top1", pytest.approx(0.4))
    assert (fifth.name, fifth.value) == ("top5", pytest.approx(0.8))
    assert 0 <= first.interval[0] < 0.4 < first.interval[1] <= 1
    assert first.passport.num_real == 5
    assert first.passport.extractor == "reader"
    assert first.passport.versions == CPU
    (pair,) = compare([first], scores(["top1"], judged(Reading()), found, 0))
    assert pair.overlap
    fewer = said(Reading(), entries[:4], tmp_path / "cache")
    with pytest.raises(InputError, match="not computed alike"):
        compare([first], scores(["top1"], judged(Reading()), fewer, 0))


def test_classes_come_with_what_they_are_mistaken_for(entries, tmp_path):
    table = by_class(LABELS, said(Reading(), entries, tmp_path / "cache"))
    assert table.columns == ("class", "clips", "top1", "top5", "mistaken for")
    worst, best = table.rows
    assert worst == ("b", 2, 0.0, 0.5, "c")
    assert best == ("a", 3, pytest.approx(2 / 3, abs=1e-6), 1.0, "b")


def test_answers_are_kept_by_content(entries, tmp_path):
    first, second = Reading(), Reading()
    a = said(first, entries, tmp_path / "cache")
    entries[0].path.rename(tmp_path / "renamed.mp4")
    moved = [Annotated(tmp_path / "renamed.mp4", "A", "list:0"), *entries[1:]]
    b = said(second, moved, tmp_path / "cache")
    assert len(first.read) == 5
    assert second.read == []
    assert torch.equal(a.probabilities, b.probabilities)


def test_answers_of_another_device_or_version_are_asked_again(entries, tmp_path):
    reading = Reading()
    for made_by, count in ((CPU, 5), (CPU, 5), ({**CPU, "device": "cuda"}, 10)):
        own = judged(reading, made_by)
        answers(own, entries, cache=tmp_path, strict=True, progress=lambda clips: None)
        assert len(reading.read) == count


def spoilt(entries: list[Annotated], tmp_path: Path) -> Iterator[Annotated]:
    yield from entries
    (tmp_path / "empty.mp4").touch()
    yield Annotated(tmp_path / "empty.mp4", "a", "list:8")
    yield Annotated(tmp_path / "gone.mp4", "a", "list:9")


def test_clips_that_cannot_be_used_are_listed_or_refused(entries, tmp_path):
    listed = [*spoilt(entries, tmp_path)]
    found = said(Reading(), listed, tmp_path / "cache")
    assert [line.split(": ")[0] for line in found.skipped] == ["list:8", "list:9"]
    assert len(found.classes) == 5
    (score,) = scores(["top1"], judged(Reading()), found, 0)
    assert score.passport.skipped_real == 2
    with pytest.raises(InputError, match=r"list:8: .*--strict"):
        said(Reading(), listed, tmp_path / "cache", strict=True)
    with pytest.raises(InputError, match="no clip of the list can be used; list:8"):
        said(Reading(), listed[5:], tmp_path / "cache")


def test_a_class_that_the_model_has_not_is_named(entries, tmp_path):
    strange = [*entries, Annotated(entries[0].path, "zebra", "list:7")]
    with pytest.raises(InputError, match="list:7: unknown class 'zebra'"):
        said(Reading(), strange, tmp_path / "cache")
