"""Lists of clips as data sets publish them; what is wrong is named with its line."""

from __future__ import annotations

import json

import pytest

from kinema.data.annotations import class_numbers, plain, read_annotations, read_labels
from kinema.errors import InputError

KINETICS = """label,youtube_id,time_start,time_end,split
testifying,---QUuC4vJs,84,94,validate
"eating, spaghetti",--3ouPhoy2A,20,30,validate
"""


def found(path, root):
    return [(str(e.path.relative_to(root)), e.label) for e in read_annotations(path, root)]


def test_kinetics(tmp_path):
    (tmp_path / "val.csv").write_text(KINETICS)
    (tmp_path / "testifying").mkdir()
    (tmp_path / "testifying" / "---QUuC4vJs_000084_000094.mkv").touch()
    assert found(tmp_path / "val.csv", tmp_path) == [
        ("testifying/---QUuC4vJs_000084_000094.mkv", "testifying"),
        ("eating, spaghetti/--3ouPhoy2A_000020_000030.mp4", "eating, spaghetti"),
    ]
    (first, _) = read_annotations(tmp_path / "val.csv", tmp_path)
    assert first.place == f"{tmp_path / 'val.csv'}:2"
    (tmp_path / "testifying" / "---QUuC4vJs_000084_000094.mkv").unlink()
    (tmp_path / "---QUuC4vJs_000084_000094.mp4").touch()
    assert found(tmp_path / "val.csv", tmp_path)[0][0] == "---QUuC4vJs_000084_000094.mp4"
    (tmp_path / "eating,_spaghetti").mkdir()
    clip = "eating,_spaghetti/--3ouPhoy2A_000020_000030.mp4"
    (tmp_path / clip).touch()
    assert found(tmp_path / "val.csv", tmp_path)[1] == (clip, "eating, spaghetti")


def test_a_name_that_no_file_can_have_is_that_of_a_missing_one(tmp_path):
    (tmp_path / "a.csv").write_text(KINETICS + f"x,{'y' * 300},1,2,z\n")
    *_, last = read_annotations(tmp_path / "a.csv", tmp_path)
    assert last.path.name == f"{'y' * 300}_000001_000002.mp4"


def test_something_something(tmp_path):
    entry = {"id": "74225", "label": "spinning cube", "template": "Spinning [something]"}
    (tmp_path / "validation.json").write_text(json.dumps([entry]))
    (tmp_path / "74225.webm").touch()
    assert found(tmp_path / "validation.json", tmp_path) == [("74225.webm", "Spinning something")]


def test_ucf101(tmp_path):
    line = "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"
    for name, text in (("trainlist01.txt", f"{line} 1\n"), ("testlist01.txt", f"{line}\r\n")):
        (tmp_path / name).write_text(text)
        assert found(tmp_path / name, tmp_path) == [(line, "ApplyEyeMakeup")]


def test_moments_in_time(tmp_path):
    (tmp_path / "validationSet.csv").write_text("clapping/a.mp4,clapping,3,1\n")
    assert found(tmp_path / "validationSet.csv", tmp_path) == [("clapping/a.mp4", "clapping")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "label,youtube_id\nx,y\n", r"a\.csv:1: the header lacks time_start, time_end"),
        ("a.csv", KINETICS + "\nx,y,soon,later,z\n", r"a\.csv:5: needs label"),
        ("a.csv", KINETICS + "x,y,inf,3,z\n", r"a\.csv:4: needs label"),
        pytest.param(
            "a.csv", KINETICS + "x" * 140_000, r"a\.csv:4: field larger than", id="long field"
        ),
        ("a.csv", "only\n", r"a\.csv:1: needs a clip and its class"),
        ("a.json", "[", r"a\.json is no JSON"),
        ("a.json", "{}", "must hold a list"),
        ("a.json", '[{"id": "3"}]', r"a\.json\[0\]: needs id and template"),
        ("a.txt", "clip.avi\n", r"a\.txt:1: needs <class>/<clip>"),
        ("a.xml", "", "is no list of clips"),
    ],
)
def test_what_is_malformed_is_named(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        list(read_annotations(tmp_path / name, tmp_path))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*a\.csv"):
        read_annotations(tmp_path / "a.csv", tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        read_annotations(tmp_path / "a.csv", tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("classInd.txt", "1 ApplyEyeMakeup\n2 Archery\n", ("ApplyEyeMakeup", "Archery")),
        ("kinetics.csv", 'id,name\n1,"b, c"\n0,a\n', ("a", "b, c")),
        ("moments_categories.txt", "clapping,0\npraying,1\n", ("clapping", "praying")),
        ("labels.json", '{"Spinning it": "1", "Closing": "0"}', ("Closing", "Spinning it")),
        ("names.txt", "abseiling\nair drumming\n", ("abseiling", "air drumming")),
    ],
)  # fmt: skip
def test_names_of_classes(tmp_path, name, text, labels):
    (tmp_path / name).write_text(text)
    assert read_labels(tmp_path / name) == labels


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", f"{'9' * 5000} a\n1 b\n"),
        ("names.txt", f"a\nb,{'9' * 5000}\n"),
        ("names.json", json.dumps({"a": "9" * 5000})),
        ("names.json", json.dumps({"a": "first"})),
    ],
    ids=["before", "behind", "json", "word"],
)
def test_numbers_that_are_none_are_refused_with_their_place(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"names.*: a class needs a number of up to nine digits"):
        read_labels(tmp_path / name)


@pytest.mark.parametrize("text", ["1 a\n3 b\n", "2 a\n3 b\n", "1 a\n1 b\n"])
def test_numbers_that_leave_some_out_are_refused(tmp_path, text):
    (tmp_path / "classInd.txt").write_text(text)
    with pytest.raises(InputError, match="must run from 0 or 1"):
        read_labels(tmp_path / "classInd.txt")


def test_classes_are_matched_however_they_are_written(tmp_path):
    assert plain("ApplyEyeMakeup") == plain("apply eye_makeup") == "apply eye makeup"
    (tmp_path / "list.txt").write_text("YoYo/a.avi\nYooYo/b.avi\n")
    first, second = read_annotations(tmp_path / "list.txt", tmp_path)
    number = class_numbers(("archery", "yo-yo"))
    assert number(first) == 1
    with pytest.raises(InputError, match=r"list\.txt:2: unknown class 'YooYo'"):
        number(second)


def test_labels_that_count_as_one_name_are_refused():
    with pytest.raises(InputError, match="classes 'left hand' and 'Left-Hand' count as one"):
        class_numbers(("up", "left hand", "Left-Hand"))
