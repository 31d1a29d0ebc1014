"""`kinema catalog`: what it prints, its JSON, its counts, its picture; and that it answers fast."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from kinema.catalog import catalog
from kinema.catalog.methods import DATA, Row, by_category, rows

COMMAND = str(Path(sys.executable).with_name("kinema"))


def test_a_method_is_shown_with_its_links(kinema):
    answer = kinema("catalog", "AnimateDiff", "--limit", 1)
    assert answer.status == 0
    title, facts = answer.out.splitlines()
    assert title.startswith("2023  AnimateDiff: Animate Your Personalized")
    assert "text-to-video | text | " in facts
    assert "https://arxiv.org/abs/2307.04725 | https://github.com/guoyww/AnimateDiff" in facts


def test_words_need_no_quotes(kinema):
    assert kinema("catalog", "pose", "dance").out == kinema("catalog", "pose dance").out


def test_what_is_left_out_is_told(kinema):
    answer = kinema("catalog", "--task", "editing", "--limit", 5)
    assert len(answer.out.splitlines()) == 10
    assert answer.err == "5 of 93; --limit 93 lists all\n"
    assert len(kinema("catalog", "--task", "editing", "--limit", 93).out.splitlines()) == 186


def test_everything_as_json_is_the_list(kinema):
    answer = kinema("catalog", "--limit", 1000, "--json").json
    assert answer["found"] == len(answer["methods"]) == len(catalog())
    back = {Row(**row) for method in answer["methods"] for row in method["rows"]}
    assert back == set(rows(DATA.read_text(encoding="utf-8")))


def test_facets_select(kinema):
    options = ("--task", "editing", "--year", "2023..2024", "--conditioning", "motion", "--code")
    answer = kinema("catalog", "video", *options, "--json").json
    assert answer["query"] == "video"
    assert answer["found"] == len(answer["methods"]) > 0
    for method in answer["methods"]:
        assert "editing" in method["tasks"]
        assert method["year"] in (2023, 2024)
        assert "motion" in method["conditioning"]
        assert method["github"]
    without = kinema("catalog", "--no-code", "--json").json
    assert not any(method["github"] for method in without["methods"])
    linked = kinema("catalog", "--system", "--json", "--limit", 62).json
    assert {m["system"] for m in linked["methods"]} == {m.system for m in catalog() if m.system}


def test_a_misspelled_name_is_told(kinema):
    answer = kinema("catalog", "AnimatDiff")
    assert answer.out.startswith("2023  AnimateDiff")
    assert answer.err == "no method has a word of 'AnimatDiff'; nearest name: 'AnimateDiff'\n"
    assert kinema("catalog", "AnimatDiff", "--json").json["read_as"] == "AnimateDiff"


def test_words_that_no_method_has_are_told(kinema):
    answer = kinema("catalog", "pose", "zqxwv", "--limit", 100)
    assert answer.err == "no method has 'zqxwv'\n"
    assert answer.out == kinema("catalog", "pose", "--limit", 100).out


def test_counts(kinema):
    answer = kinema("catalog", "--stats", "--json").json
    assert (answer["found"], answer["rows"]) == (388, 410)
    assert answer["by_category"] == by_category(catalog())
    assert answer["by_year"]["2023"] == 231
    assert answer["by_year"]["unknown"] == 20
    assert "methods" not in answer
    shown = kinema("catalog", "--stats").out
    assert shown.startswith("388 methods, listed in 410 places\n")
    for line in (
        "   231  2023",
        "    68  Video Generation > Text-to-Video Generation > Training-b",
    ):
        assert line in shown
    part = kinema("catalog", "--stats", "--task", "editing", "--year", "2023", "--json").json
    assert part["found"] == part["by_year"]["2023"] == part["by_task"]["editing"] == 73


def test_nothing_that_fits_is_no_error(kinema):
    answer = kinema("catalog", "pose", "--year", "2012")
    assert (answer.status, answer.out) == (0, "")
    assert answer.err == "nothing fits; leave an option out\n"
    assert kinema("catalog", "pose", "--year", "2012", "--json").json["methods"] == []


def test_a_picture_is_drawn(kinema):
    answer = kinema("catalog", "--picture", "field.png")
    assert (answer.status, answer.out) == (0, "field.png\n")
    with Image.open("field.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 500
    before = Path("field.png").read_bytes()
    assert "field.png exists" in kinema("catalog", "--picture", "field.png").error
    assert Path("field.png").read_bytes() == before
    again = kinema("catalog", "pose", "--picture", "field.png", "--overwrite", "--json").json
    assert again["picture"] == "field.png"
    assert again["methods"]
    assert Path("field.png").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "editng"), "unknown task 'editng'; did you mean 'editing'?"),
        (("--conditioning", "poses"), "unknown conditioning 'poses'; did you mean 'pose'?"),
        (("--year", "23"), "'23' is no year; give 2023, 2023..2024, 2023.. or ..2022"),
        (("--year", "2024..2023"), "'2024..2023' ends before it begins"),
        (("--limit", 0), "'--limit'"),
        (("--limits", 3), "unknown option '--limits'; did you mean '--limit'?"),
        (("",), "the query '' has no word"),
        (("qqqq",), "nothing in the catalog is like 'qqqq'"),
        (("--picture", "field.jpg"), "end the name in .png"),
        (("pose", "--year", "2012", "--picture", "field.png"), "no method is left to be drawn"),
    ],
)
def test_what_cannot_be_used_gets_one_line(kinema, arguments, said):
    assert said in kinema("catalog", *arguments).error
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("arguments", [("pose", "dance"), ("--stats",), ("animatdiff",)])
def test_it_answers_at_once_without_torch(arguments):
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([COMMAND, "catalog", *arguments], capture_output=True, check=True)
        after = os.times()
        # Of the processor: what else the machine was doing is not in it.
        seconds.append(sum(after[2:4]) - sum(before[2:4]))
    assert min(seconds) < 0.5
    code = (
        "import sys\nfrom kinema.cli.main import main\n"
        f"main(['catalog', *{arguments!r}])\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
