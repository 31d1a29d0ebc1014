"""`kinema generate` and `kinema run`: prompts become clips that can be made again."""

from __future__ import annotations

import json
import os
import pty
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kills import killed_after

import kinema as library
from kinema.cli.outputs import clip_name
from kinema.clip import Clip
from kinema.systems.ltx_video import LTXVideo

PROMPT = "a small red circle moves left on a navy background"


def test_a_clip_a_sheet_and_a_record(kinema, model):
    answer = kinema("generate", PROMPT, "--model", model, "--output", "new/clip.mp4")
    assert answer.status == 0, answer.err
    assert answer.out == "new/clip.mp4\n"
    assert answer.err == ""
    assert sorted(os.listdir("new")) == ["clip.json", "clip.mp4", "clip.png"]
    clip = Clip.read("new/clip.mp4")
    assert (clip.num_frames, clip.size, clip.fps) == (9, (32, 32), 12.0)
    record = json.loads(Path("new/clip.json").read_text())
    assert record["prompt"] == PROMPT
    assert record["seed"] == 0
    assert record["sampling"]["steps"] == 3
    assert record["kinema"] == library.__version__


def test_the_recorded_command_makes_the_same_bytes(kinema, model):
    options = ("--seed", 5, "--steps", 2, "--guidance", 4.5, "--size", "32x48", "--fps", 10)
    more = ("--num-frames", 17, "--negative", "a large blue square", "--threads", 1)
    answer = kinema("generate", PROMPT, "--model", model, "-o", "a.mp4", *options, *more, "--json")
    assert answer.status == 0, answer.err
    clip = Clip.read("a.mp4")
    assert (clip.num_frames, clip.size, clip.fps) == (17, (32, 48), 10.0)
    assert answer.json["clip"] == "a.mp4"
    command = shlex.split(answer.json["command"])
    assert kinema(*command[1:], "-o", "b.mp4").status == 0
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()
    assert kinema("generate", PROMPT, "--model", model, "-o", "c.mp4", "--seed", 5).status == 0
    assert Path("c.mp4").read_bytes() != Path("a.mp4").read_bytes()


def test_a_negative_prompt_of_the_model_stands_until_another_is_given(kinema, model):
    said = "a large blue square"
    made = LTXVideo.from_pretrained(model)
    sampling = replace(made.config.sampling, negative=said)
    made.config = replace(made.config, sampling=sampling)
    made.save_pretrained("own.safetensors")
    arguments = ("generate", PROMPT, "--model", "own.safetensors", "--threads", 1, "--json")
    told = {}
    for name, options in {
        "own": (),
        "said": ("--negative", said),
        "none": ("--negative", ""),
    }.items():
        answer = kinema(*arguments, *options, "-o", f"{name}.mp4")
        assert answer.status == 0, answer.err
        told[name] = answer.json["negative"]
    assert told == {"own": said, "said": said, "none": ""}
    own, also, none = (Path(f"{name}.mp4").read_bytes() for name in told)
    assert own == also != none


def test_a_prompt_may_begin_with_a_hyphen(kinema, model):
    arguments = ("generate", "--model", model, "-o", "a.mp4", "--json", "--", "- red circle")
    command = shlex.split(kinema(*arguments).json["command"])
    assert command[-2:] == ["--", "- red circle"]
    assert kinema("generate", "-o", "b.mp4", *command[2:]).status == 0
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()


def test_count_makes_the_bytes_of_single_runs(kinema, model):
    arguments = ("generate", PROMPT, "--model", model)
    assert kinema(*arguments, "--count", 8, "--seed", 3, "-o", "many").status == 0
    clips = sorted(Path("many").glob("*.mp4"))
    assert [clip.name[:5] for clip in clips] == [f"{i:04d}-" for i in range(8)]
    assert len({clip.read_bytes() for clip in clips}) == 8
    for i, clip in enumerate(clips):
        assert kinema(*arguments, "--seed", 3 + i, "-o", f"{i}.mp4").status == 0
        assert Path(f"{i}.mp4").read_bytes() == clip.read_bytes()
    assert Path("many/contact_sheet.png").exists()
    assert len(list(Path("many").iterdir())) == 17


def test_the_library_makes_the_same_clip(kinema, model):
    assert kinema("generate", PROMPT, "--model", model, "--seed", 7, "-o", "a.mp4").status == 0
    LTXVideo.from_pretrained(model).generate(PROMPT, seed=7).write("b.mp4")
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()


def test_a_larger_batch_shows_the_same(kinema, model):
    arguments = ("generate", PROMPT, "--model", model, "--count", 3)
    assert kinema(*arguments, "-o", "one").status == 0
    assert kinema(*arguments, "-o", "two", "--batch", 2).status == 0
    for one in sorted(Path("one").glob("*.mp4")):
        first, second = (
            Clip.read(folder / one.name).frames for folder in (one.parent, Path("two"))
        )
        assert np.abs(first.astype(int) - second).mean() < 1
    assert json.loads(next(Path("two").glob("*.json")).read_text())["batch"] == 2


def test_half_the_precision_shows_nearly_the_same(kinema, model):
    assert kinema("generate", PROMPT, "--model", model, "-o", "a.mp4").status == 0
    half = kinema("generate", PROMPT, "--model", model, "-o", "b.mp4", "--dtype", "bfloat16")
    assert half.status == 0, half.err
    first, second = Clip.read("a.mp4").frames, Clip.read("b.mp4").frames
    assert 0 < np.abs(first.astype(int) - second).mean() < 10


def test_unknown_words_are_named(kinema, model):
    answer = kinema("generate", "a sparkly red circle", "--model", model, "-o", "a.mp4")
    assert answer.status == 0
    assert answer.err == "not in this model's vocabulary, ignored: sparkly\n"
    assert json.loads(Path("a.json").read_text())["unknown_words"] == ["sparkly"]
    many = " ".join(["red", *(f"w{i}" for i in range(20))])
    answer = kinema("generate", many, "--model", model, "-o", "b.mp4")
    assert answer.err.endswith("w11 and 8 more\n")


def test_the_output_is_named_after_the_prompt(kinema, model):
    assert kinema("generate", "A RED circle!", "--model", model, "--seed", 4).status == 0
    assert Path("a-red-circle-4.mp4").exists()
    assert kinema("generate", "A RED circle!", "--model", model, "--count", 2).status == 0
    assert (Path("a-red-circle-0") / clip_name(1, "A RED circle!", "", 1)).exists()


def test_overwrite_replaces(kinema, model):
    Path("a.mp4").write_text("mine")
    Path("a.json").write_text("mine")
    answer = kinema("generate", PROMPT, "--model", model, "-o", "a.mp4", "--overwrite")
    assert answer.status == 0
    assert Clip.read("a.mp4").num_frames == 9


def test_killed_as_its_files_appear_the_same_command_makes_them_again(kinema, model):
    arguments = ("generate", PROMPT, "--model", model, "-o", "a.mp4", "--threads", 1)
    for renames, left in ((1, ["a.json"]), (2, ["a.json", "a.png"])):
        killed_after(renames, arguments)
        assert sorted(path.name for path in Path().glob("a.*")) == left
    error = kinema(*arguments, "--seed", 1).error
    assert error.startswith("a.mp4 was made with seed 0, not 1; pass --overwrite")
    answer = kinema(*arguments)
    assert answer.status == 0, answer.err
    assert kinema(*arguments, "-o", "b.mp4").status == 0
    for name in (".mp4", ".png"):
        assert Path(f"a{name}").read_bytes() == Path(f"b{name}").read_bytes()


def test_a_clip_never_stands_beside_the_record_of_another(kinema, model):
    arguments = ("generate", PROMPT, "--model", model, "-o", "a.mp4", "--threads", 1)
    assert kinema(*arguments).status == 0
    killed_after(1, (*arguments, "--seed", 1, "--overwrite"))
    assert json.loads(Path("a.json").read_text())["seed"] == 1
    assert not Path("a.mp4").exists()
    assert kinema(*arguments, "--seed", 1).status == 0
    assert Path("a.mp4").exists()


def test_a_gif_can_be_asked_for(kinema, model):
    assert kinema("generate", PROMPT, "--model", model, "-o", "a.gif").status == 0
    assert Path("a.gif").read_bytes().startswith(b"GIF")


def test_steps_are_shown_on_a_terminal_only(process, model):
    ours, theirs = pty.openpty()
    arguments = ("generate", PROMPT, "--model", model, "--steps", 30)
    shown = process(*arguments, "-o", "a.mp4", terminal=theirs)
    assert shown.popen.wait(60) == 0
    seen = []
    os.close(theirs)
    while True:
        try:
            seen.append(os.read(ours, 4096))
        except OSError:
            break
    os.close(ours)
    assert b"sampling" in b"".join(seen)
    assert b"30/30" in b"".join(seen)


def test_run_does_the_same_as_generate(kinema, model):
    assert kinema("generate", PROMPT, "--model", model, "--seed", 2, "-o", "a.mp4").status == 0
    answer = kinema("run", f"ltx_video@{model}", PROMPT, "--seed", 2, "-o", "b.mp4", "--json")
    assert answer.status == 0, answer.err
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()
    assert answer.json["inputs"] == {"prompt": PROMPT}
    assert Path("b.png").exists()
    assert json.loads(Path("b.run.json").read_text())["command"].startswith("kinema run ltx_video@")


def test_run_takes_settings_and_named_inputs(kinema, model):
    changed = ("--set", "sampling.num_frames=17", "--set", "sampling.fps=6.0")
    answer = kinema("run", model, f"prompt={PROMPT}", "-o", "a.mp4", *changed)
    assert answer.status == 0, answer.err
    assert Clip.read("a.mp4").num_frames == 17
    assert Clip.read("a.mp4").fps == 6.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((PROMPT, "more"), "generate takes prompt; 'more' is one too many"),
        ((f"prompt={PROMPT}", "prompt=again"), "prompt is given twice"),
        (("",), "the text is empty"),
        (("sparkly",), "knows no word of the prompt 'sparkly'"),
        ((PROMPT, "--set", "sampling.step=3"), "did you mean 'sampling.steps'"),
        ((PROMPT, "--set", "sampling.steps=many"), "steps must be int, not 'many'"),
        ((PROMPT, "--set", "codec.spatial_padding_mode=reflect"), "cannot change codec"),
    ],
)
def test_run_names_what_does_not_fit(kinema, model, arguments, said):
    assert said in kinema("run", model, *arguments, "-o", "a.mp4").error
    assert not Path("a.mp4").exists()
