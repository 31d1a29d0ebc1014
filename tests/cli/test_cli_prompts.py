"""`kinema generate --prompts FILE`: many prompts, broken lines, going on after a stop."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kinema.cli.outputs import clip_name
from kinema.cli.prompts import read_prompts
from kinema.errors import InputError

LEFT = "0000-a-red-circle-moves-left-6fd0bbab.mp4"
UP = clip_name(1, "a blue square moves up", "", 0)
LINES = "# a comment\n\na red circle moves left\na blue square moves up\n"


def prompts(text: str | bytes, name: str = "prompts.txt") -> Path:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def clips(folder: str) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".mp4"))


def test_each_line_becomes_a_clip(kinema, model):
    answer = kinema("generate", "--prompts", prompts(LINES), "--model", model)
    assert answer.status == 0, answer.err
    assert clips("prompts-0") == [LEFT, UP]
    assert answer.out.splitlines() == [f"prompts-0/{name}" for name in clips("prompts-0")]
    assert kinema("generate", "a blue square moves up", "--model", model, "-o", "b.mp4").status == 0
    made = (Path("prompts-0") / UP).read_bytes()
    assert made == Path("b.mp4").read_bytes()


def test_lines_of_json_bring_seed_and_negative(kinema, model):
    lines = [{"prompt": "a red circle", "seed": 9, "negative": "blue"}, {"prompt": "a red circle"}]
    file = prompts("\n".join(map(json.dumps, lines)), "list.jsonl")
    options = ("--model", model, "--seed", 2, "--batch", 4)
    assert kinema("generate", "--prompts", file, "-o", "out", *options).status == 0
    one = ("generate", "a red circle", "--model", model)
    assert kinema(*one, "--seed", 9, "--negative", "blue", "-o", "a.mp4").status == 0
    assert kinema(*one, "--seed", 2, "-o", "b.mp4").status == 0
    for name, single in zip(clips("out"), ("a.mp4", "b.mp4")):
        assert (Path("out") / name).read_bytes() == Path(single).read_bytes()


def test_count_applies_to_each_line(kinema, model):
    answer = kinema("generate", "--prompts", prompts(LINES), "--model", model, "--count", 2)
    assert answer.status == 0
    assert [name[:9] for name in clips("prompts-0")] == [
        "0000-a-re",
        "0001-a-re",
        "0002-a-bl",
        "0003-a-bl",
    ]
    seeds = [json.loads(p.read_text())["seed"] for p in sorted(Path("prompts-0").glob("*.json"))]
    assert seeds == [0, 1, 0, 1]


def test_no_clip_takes_the_name_of_another(kinema, model):
    """Prompts with the same words; other seeds and negatives; in one folder, one after another."""
    arguments = ("generate", "--model", model, "-o", "out", "--prompts")
    lists = [("a red circle", "a.txt"), ("A red circle!", "b.txt")]
    for number, (seed, no) in enumerate(((0, "red"), (0, "blue"), (1, "red"), (1, "blue"))):
        line = {"prompt": "a red circle", "seed": seed, "negative": no}
        lists.append((json.dumps(line), f"{number}.jsonl"))
    made: dict[str, bytes] = {}
    for text, name in lists:
        answer = kinema(*arguments, prompts(text, name), "--overwrite")  # for the sheet
        assert answer.status == 0, answer.err
        own = answer.out.splitlines()
        assert not made.keys() & set(own)
        assert all(Path(path).read_bytes() == content for path, content in made.items())
        made |= {path: Path(path).read_bytes() for path in own}
    assert len(made) == 6
    assert all(path.startswith("out/0000-a-red-circle-") for path in made)


def test_broken_lines_are_named_and_the_others_run(kinema, model):
    long = " ".join(["red"] * 10_000)
    file = prompts(
        f"a red circle\n{long}\n".encode() + b"a gr\xfcn circle\nzzz qqq\na blue square\n"
    )
    answer = kinema("generate", "--prompts", file, "--model", model, "-o", "out")
    assert answer.status == 2
    assert answer.err.splitlines() == [
        "prompts.txt:3: the line is not UTF-8 text",
        "prompts.txt:2: the prompt has 10000 words; this model reads 64: shorten it",
        "prompts.txt:4: this model knows no word of the prompt 'zzz qqq'",
        "kinema: error: 3 of 5 prompts cannot be used; mend them and run the same command again",
    ]
    assert clips("out") == [
        clip_name(0, "a red circle", "", 0),
        clip_name(4, "a blue square", "", 0),
    ]


def test_a_rerun_makes_only_what_is_missing(kinema, model):
    arguments = ("generate", "--prompts", "prompts.txt", "--model", model, "-o", "out")
    prompts(b"a red circle\nzzz\n")
    assert kinema(*arguments).status == 2
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("0000*")}
    prompts(b"a red circle\na blue square\n")
    answer = kinema(*arguments)
    assert answer.status == 0
    assert answer.err == "1 of 2 clips in out are finished already\n"
    assert answer.out == f"out/{clip_name(1, 'a blue square', '', 0)}\n"
    assert before == {path: path.stat().st_mtime_ns for path in Path("out").glob("0000*")}
    answer = kinema(*arguments)
    assert (answer.status, answer.out) == (0, "")
    first = Path("out") / clip_name(0, "a red circle", "", 0)
    first.unlink()
    assert kinema(*arguments).out == f"{first}\n"


def test_a_rerun_with_other_settings_loses_nothing(kinema, model):
    arguments = ("generate", "--prompts", prompts(LINES), "--model", model, "-o", "out")
    assert kinema(*arguments).status == 0
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    error = kinema(*arguments, "--steps", 2).error
    assert f"{LEFT} was made with steps 3, not 2; pass --overwrite" in error
    assert before == {path: path.read_bytes() for path in Path("out").iterdir()}
    assert kinema(*arguments, "--steps", 2, "--overwrite").status == 0
    assert before != {path: path.read_bytes() for path in Path("out").iterdir()}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (LEFT, "nothing tells how it was made"),
        (LEFT.replace("mp4", "json"), "is no record of ours"),
        ("contact_sheet.png", "exists"),
    ],
)
def test_files_of_others_are_left_alone(kinema, model, name, said):
    Path("out").mkdir()
    (Path("out") / name).write_text("mine")
    error = kinema("generate", "--prompts", prompts(LINES), "--model", model, "-o", "out").error
    assert said in error
    assert "--overwrite" in error
    assert os.listdir("out") == [name]
    assert (Path("out") / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a red circle"', "the line is no JSON"),
        ('["a red circle"]', "must be a JSON object"),
        ('{"promt": "a red circle"}', "unknown field 'promt'; did you mean 'prompt'?"),
        ('{"prompt": 3}', "prompt must be text, not 3"),
        ('{"prompt": "a", "seed": -1}', "seed must be a whole number from 0, not -1"),
        ('{"prompt": "a", "seed": true}', "seed must be a whole number from 0, not True"),
        ('{"seed": 1}', "the prompt is empty"),
        ('{"prompt": "\\ud800"}', "the prompt is not UTF-8 text"),
        ('{"prompt": "a", "negative": "\\ud800"}', "negative is not UTF-8 text"),
        ("[" * 100_000, "the line is no JSON"),
    ],
)
def test_a_broken_line_of_json_says_why(line, said):
    file = prompts(f'{line}\n{{"prompt": "a red circle"}}\n', "list.jsonl")
    broken, good = read_prompts(file, negative="", seed=0)
    assert said in broken.broken
    assert broken.place == "list.jsonl:1"
    assert (good.prompt, good.broken) == ("a red circle", "")


def test_a_mark_of_byte_order_and_line_ends_of_windows_are_no_words():
    (request,) = read_prompts(prompts(b"\xef\xbb\xbfa red circle\r\n"), negative="x", seed=3)
    assert (request.prompt, request.negative, request.seed) == ("a red circle", "x", 3)


@pytest.mark.parametrize(("content", "said"), [("", "holds no prompt"), (None, "No such file")])
def test_a_file_without_prompts_is_an_error(content, said):
    if content is not None:
        prompts(content)
    with pytest.raises(InputError, match=said):
        read_prompts(Path("prompts.txt"), negative="", seed=0)


def test_only_broken_lines_load_no_model(kinema):
    answer = kinema("generate", "--prompts", prompts("[\n", "a.jsonl"), "--model", "no.safetensors")
    assert answer.status == 2
    assert answer.err.splitlines()[0].startswith("a.jsonl:1: the line is no JSON")
    assert "1 of 1 prompts" in answer.err
