"""`kinema generate` from pictures and clips: --image, --keyframe and --extend."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinema.clip import Clip
from kinema.systems.keyframes import Keyframe
from kinema.systems.ltx_video import LTXVideo
from kinema.worlds.shapes import Shapes

PROMPT = "a small red circle moves left on a navy background"
CLIP = Shapes(seed=0, split="train", num_frames=20, height=48, width=64, fps=12.0).sample(0).clip


@pytest.fixture(autouse=True)
def files(in_a_fresh_folder):
    """Pictures of several kinds and sizes, a clip, and what is neither."""
    for index, name in enumerate(("a.png", "b.jpg", "c.webp")):
        Image.fromarray(CLIP.frames[6 * index]).save(name, quality=95)
    CLIP.write("clip.mp4")
    Path("cut.png").write_bytes(Path("a.png").read_bytes()[:200])
    Path("words.png").write_text("a picture")


def sha(name):
    return hashlib.sha256(Path(name).read_bytes()).hexdigest()


def test_pictures_are_named_with_their_digests_and_the_command_repeats_the_bytes(kinema, model):
    options = ("--image", "a.png", "--keyframe", "b.jpg@0.5", "--keyframe", "c.webp@0.66:0.25")
    size = ("--num-frames", 17, "--threads", 1)
    answer = kinema("generate", PROMPT, "--model", model, "-o", "x.mp4", *options, *size, "--json")
    assert answer.status == 0, answer.err
    record = json.loads(Path("x.json").read_text())
    assert record["keyframes"] == [
        {"frame": 0, "sha256": sha("a.png")},
        {"frame": 6, "sha256": sha("b.jpg")},
        {"frame": 8, "sha256": sha("c.webp"), "strength": 0.25},
    ]
    assert record["keyframe_files"] == ["a.png", "b.jpg", "c.webp"]
    assert (record["extend_sha256"], record["extend_file"]) == ("", "")
    command = shlex.split(answer.json["command"])
    assert kinema(*command[1:], "-o", "y.mp4").status == 0
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes()
    plain = kinema("generate", PROMPT, "--model", model, "-o", "z.mp4", *size)
    assert plain.status == 0
    assert Path("x.mp4").read_bytes() != Path("z.mp4").read_bytes()
    assert json.loads(Path("z.json").read_text())["keyframes"] == []


def test_the_library_makes_the_same_clip(kinema, model):
    options = ("--image", "a.png", "--keyframe", "b.jpg@0.66:0.7")
    assert kinema("generate", PROMPT, "--model", model, "-o", "x.mp4", *options).status == 0
    last = Keyframe(clip=Clip.read("b.jpg"), frame=8, strength=0.7)
    made = LTXVideo.from_pretrained(model).generate(PROMPT, seed=0, image="a.png", keyframes=[last])
    made.write("y.mp4")
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes()


def test_an_image_is_a_keyframe_at_the_start(kinema, model):
    for name, options in (("x", ("--image", "a.png")), ("y", ("--keyframe", "a.png@0"))):
        arguments = ("generate", PROMPT, "--model", model, "-o", f"{name}.mp4")
        assert kinema(*arguments, *options).status == 0
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes()


def test_a_name_may_hold_the_sign_that_parts_it_from_the_time(kinema, model):
    Path("a.png").rename("a@1.png")
    arguments = ("generate", PROMPT, "--model", model, "-o", "x.mp4", "--keyframe", "a@1.png@0.5")
    assert kinema(*arguments).status == 0
    assert json.loads(Path("x.json").read_text())["keyframe_files"] == ["a@1.png"]


def test_a_clip_goes_on(kinema, model):
    options = ("--extend", "clip.mp4", "--num-frames", 25, "--keyframe", "b.jpg@2.2")
    answer = kinema("generate", PROMPT, "--model", model, "-o", "x.mp4", *options)
    assert answer.status == 0, answer.err
    made, given = Clip.read("x.mp4"), Clip.read("clip.mp4", size=(32, 32))
    # 17 of the 20 frames are held, so 8 of the 25 are new.
    assert (made.num_frames, made.size, made.fps) == (20 + 8, (32, 32), 12.0)
    assert np.abs(made.frames[:20].astype(int) - given.frames).mean() < 3
    record = json.loads(Path("x.json").read_text())
    assert (record["extend_file"], record["extend_sha256"]) == ("clip.mp4", sha("clip.mp4"))
    assert record["keyframes"] == [{"frame": 26 - 3, "sha256": sha("b.jpg")}]


def test_a_clip_is_brought_to_the_rate_of_the_model(kinema, model):
    fast = Clip(CLIP.frames, 24.0)
    fast.write("fast.mp4")
    arguments = ("generate", PROMPT, "--model", model, "-o", "x.mp4", "--extend", "fast.mp4")
    assert kinema(*arguments).status == 0
    made = Clip.read("x.mp4")
    assert (made.num_frames, made.fps) == (10 + 8, 12.0)  # one of the nine frames is held


def test_all_prompts_get_the_same_pictures(kinema, model):
    Path("prompts.txt").write_text(f"{PROMPT}\na large green star moves up\n")
    options = ("--image", "a.png", "--count", 2)
    arguments = ("generate", "--prompts", "prompts.txt", "--model", model, "-o", "many", *options)
    assert kinema(*arguments).status == 0
    records = [json.loads(path.read_text()) for path in sorted(Path("many").glob("*.json"))]
    assert len(records) == 4
    assert all(record["keyframes"] == [{"frame": 0, "sha256": sha("a.png")}] for record in records)
    alone = ("generate", PROMPT, "--model", model, "--seed", 1, "--image", "a.png", "-o", "x.mp4")
    assert kinema(*alone).status == 0
    second = sorted(Path("many").glob("*.mp4"))[1]
    assert second.read_bytes() == Path("x.mp4").read_bytes()
    again = kinema(*arguments)
    assert "4 of 4 clips in many are finished already" in again.err
    other = kinema(*arguments, "--image", "c.webp").error
    assert "was made with keyframes" in other


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--image", "no.png"), "no.png does not exist; check the name"),
        (("--image", "cut.png"), "cut.png"),
        (("--image", "words.png"), "words.png is damaged"),
        (("--image", "clip.mp4"), "clip.mp4 is a clip of 20 frames; give a picture, or go on"),
        (("--image", "."), ". is a folder"),
        (("--keyframe", "a.png"), "--keyframe 'a.png' is not of the form FILE@SECONDS"),
        (("--keyframe", "a.png@"), "is not of the form FILE@SECONDS"),
        (("--keyframe", "@1"), "is not of the form FILE@SECONDS"),
        (("--keyframe", "a.png@one"), "is not of the form FILE@SECONDS"),
        (("--keyframe", "a.png@-1"), "is not of the form FILE@SECONDS"),
        (("--keyframe", "a.png@nan"), "is not of the form FILE@SECONDS"),
        (("--keyframe", "a.png@inf"), "is not of the form FILE@SECONDS"),
        (("--keyframe", "a.png@0:0"), "a strength lies above 0 and at most at 1"),
        (("--keyframe", "a.png@0:1.1"), "a strength lies above 0 and at most at 1"),
        (("--keyframe", "a.png@0:"), "a strength lies above 0 and at most at 1"),
        (("--keyframe", "a.png@0:nan"), "a strength lies above 0 and at most at 1"),
        (
            ("--keyframe", "a.png@0.71"),
            "a.png cannot stand at 0.71 seconds: the last frame of the clip is at 0.67",
        ),
        (("--image", "a.png", "--keyframe", "b.jpg@0.02"), "two keyframes want frame 0"),
        (
            ("--image", "a.png", *("--keyframe", "b.jpg@0.4", "--keyframe", "c.webp@0.6")),
            "3 keyframes are too many for 9 frames; give at most 2",
        ),
        (("--extend", "no.mp4"), "no.mp4 does not exist; check the name"),
        (("--extend", "words.png"), "words.png is damaged"),
        (("--extend", "clip.mp4", "--image", "a.png"), "--image and --extend both say how"),
        (
            ("--extend", "clip.mp4", "--keyframe", "a.png@1"),
            "a keyframe at frame 12 lies within the clip that goes on, which has 20",
        ),
        (
            ("--extend", "clip.mp4", "--keyframe", "a.png@3"),
            "a.png cannot stand at 3 seconds: the last frame of the clip is at 2.25",
        ),
        (("--extend", "clip.mp4", "--num-frames", 1), "1 frames leave none after those"),
    ],
)
def test_one_line_says_what_does_not_fit(kinema, model, options, said):
    error = kinema("generate", PROMPT, "--model", model, "-o", "x.mp4", *options).error
    assert said in error
    assert not Path("x.mp4").exists()


@pytest.mark.parametrize("option", [("--image", "no.png"), ("--extend", "no.mp4")])
def test_missing_files_are_named_before_the_model_is_loaded(kinema, option):
    error = kinema("generate", PROMPT, "--model", "not read.safetensors", *option).error
    assert "does not exist" in error
    assert "not read" not in error


def test_run_animates_a_picture(kinema, model):
    arguments = ("run", f"ltx_video@{model}", "animate", PROMPT, "a.png", "-o", "x.mp4")
    answer = kinema(*arguments)
    assert answer.status == 0, answer.err
    assert Clip.read("x.mp4").num_frames == 9
    plain = ("run", f"ltx_video@{model}", PROMPT, "-o", "y.mp4")
    assert kinema(*plain).status == 0
    assert Path("x.mp4").read_bytes() != Path("y.mp4").read_bytes()
