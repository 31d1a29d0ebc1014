"""`kinema generate` with --before, --video, --upsampler and --tile."""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from ltx_files import write_two_passes, write_upsampler
from PIL import Image

from kinema.cli.equipment import work_in_parts
from kinema.clip import Clip
from kinema.systems.ltx_video import LTXVideo
from kinema.worlds.shapes import Shapes

PROMPT = "a small red circle moves left on a navy background"
CLIP = Shapes(seed=0, split="train", num_frames=20, height=48, width=64, fps=12.0).sample(0).clip


@pytest.fixture(autouse=True)
def files(in_a_fresh_folder):
    """A picture and a clip."""
    Image.fromarray(CLIP.frames[0]).save("a.png")
    CLIP.write("clip.mp4")


def sha(name):
    return hashlib.sha256(Path(name).read_bytes()).hexdigest()


def test_new_frames_lead_up_to_a_clip(kinema, model):
    options = ("--extend", "clip.mp4", "--before", "--num-frames", 25, "--image", "a.png")
    arguments = ("generate", PROMPT, "--model", model, "-o", "x.mp4", *options, "--threads", 1)
    answer = kinema(*arguments, "--json")
    assert answer.status == 0, answer.err
    made, given = Clip.read("x.mp4"), Clip.read("clip.mp4", size=(32, 32))
    # 17 of the 20 frames are held, so 8 of the 25 are new.
    assert (made.num_frames, made.fps) == (8 + 20, 12.0)
    assert np.abs(made.frames[8:].astype(int) - given.frames).mean() < 3
    assert (answer.json["before"], answer.json["extend_sha256"]) == (True, sha("clip.mp4"))
    assert answer.json["keyframes"] == [{"frame": 0, "sha256": sha("a.png")}]
    command = shlex.split(answer.json["command"])
    assert kinema(*command[1:], "-o", "y.mp4").status == 0
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes()


def test_a_clip_is_made_anew(kinema, model):
    options = ("--video", "clip.mp4", "--strength", "0.4", "--threads", 1)
    answer = kinema("generate", PROMPT, "--model", model, "-o", "x.mp4", *options, "--json")
    assert answer.status == 0, answer.err
    assert (answer.json["video_file"], answer.json["video_sha256"]) == ("clip.mp4", sha("clip.mp4"))
    assert answer.json["strength"] == 0.4
    video = Clip.read("clip.mp4", size=(32, 32))
    made = LTXVideo.from_pretrained(model).generate(PROMPT, seed=0, video=video, strength=0.4)
    made.write("y.mp4")
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes()
    command = shlex.split(answer.json["command"])
    assert kinema(*command[1:], "-o", "z.mp4").status == 0
    assert Path("x.mp4").read_bytes() == Path("z.mp4").read_bytes()


def test_a_codec_that_saves_memory_makes_the_same_clip(kinema, model):
    arguments = ("generate", PROMPT, "--model", model, "--threads", 1)
    plain = kinema(*arguments, "-o", "x.mp4", "--json")
    parts = kinema(*arguments, "-o", "y.mp4", "--tile", 0, "--json")
    assert (plain.status, parts.status) == (0, 0)
    # Compared before they are written: a video file makes one level of a pixel many.
    made = LTXVideo.from_pretrained(model)
    whole = made.generate(PROMPT, seed=0)
    work_in_parts(made.codec, "the model", 0)
    in_parts = made.generate(PROMPT, seed=0)
    assert np.abs(whole.frames.astype(int) - in_parts.frames).max() <= 1
    for name, clip in (("x.mp4", whole), ("y.mp4", in_parts)):
        clip.write("made.mp4", overwrite=True)
        assert Path("made.mp4").read_bytes() == Path(name).read_bytes()
    assert "tile" not in plain.json
    assert parts.json["tile"] == 0
    command = shlex.split(parts.json["command"])
    assert command[command.index("--tile") + 1] == "0"


def test_two_passes(kinema):
    write_two_passes("two.safetensors")
    write_upsampler("up.safetensors", "space")
    arguments = ("generate", PROMPT, "--model", "two.safetensors", "-o", "x.mp4", "--threads", 1)
    answer = kinema(*arguments, "--upsampler", "up.safetensors", "--json")
    assert answer.status == 0, answer.err
    assert Clip.read("x.mp4").size == (48, 48)
    assert answer.json["upsampler_sha256"] == [sha("up.safetensors")]
    command = shlex.split(answer.json["command"])
    assert "--guidance" not in command  # a table, which the model has
    assert kinema(*command[1:], "-o", "y.mp4").status == 0
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes()


def test_two_passes_without_an_upsampler_are_refused_before_any_work(kinema, monkeypatch):
    write_two_passes("two.safetensors")
    monkeypatch.setattr("kinema.cli.clips.digest", None)  # of 13B parameters it takes long
    answer = kinema("generate", PROMPT, "--model", "two.safetensors", "-o", "x.mp4")
    assert answer.error == (
        "this model makes clips in two passes and needs its latent upsampler between them, "
        "published as ltxv-spatial-upscaler-0.9.7.safetensors or -0.9.8: `kinema generate "
        "--upsampler FILE`, or `load_upsampler(FILE)` in Python"
    )


def test_twice_the_frame_rate(kinema, model):
    write_upsampler("up.safetensors", "time")
    arguments = ("generate", PROMPT, "--model", model, "--threads", 1)
    options = ("--upsampler", "up.safetensors", "--keyframe", "a.png@0.5", "--json")
    answer = kinema(*arguments, *options, "-o", "x.mp4")
    assert answer.status == 0, answer.err
    made = Clip.read("x.mp4")
    assert (made.num_frames, made.fps) == (17, 24.0)
    assert answer.json["upsampler_sha256"] == [sha("up.safetensors")]
    assert answer.json["sampling"]["fps"] == 12.0
    command = shlex.split(answer.json["command"])
    assert kinema(*command[1:], "-o", "y.mp4").status == 0
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes()


def test_upsamplers_of_both_kinds(kinema):
    write_two_passes("two.safetensors")
    for kind in ("space", "time"):
        write_upsampler(f"{kind}.safetensors", kind)
    both = ("--upsampler", "time.safetensors", "--upsampler", "space.safetensors")
    arguments = ("generate", PROMPT, "--model", "two.safetensors", "--threads", 1, "-o")
    answer = kinema(*arguments, "x.mp4", *both, "--json")
    assert answer.status == 0, answer.err
    assert (Clip.read("x.mp4").num_frames, Clip.read("x.mp4").size) == (17, (48, 48))
    command = shlex.split(answer.json["command"])
    assert command.count("--upsampler") == 2
    error = kinema(*arguments, "y.mp4", *both, "--upsampler", "time.safetensors").error
    assert error == "--upsampler names two of one kind; give one of space and one of time"


def test_upsamplers_that_have_no_use_are_refused(kinema, model):
    for kind in ("space", "time"):
        write_upsampler(f"{kind}.safetensors", kind)
    arguments = ("generate", PROMPT, "--model", model, "-o", "x.mp4", "--upsampler")
    assert (
        "in one pass; leave out the --upsampler of space"
        in kinema(*arguments, "space.safetensors").error
    )
    said = "24 fps that are sampled at 12 cannot go on from others; leave out the temporal"
    assert said in kinema(*arguments, "time.safetensors", "--extend", "clip.mp4").error
    Path("story.txt").write_text(f"{PROMPT} | 3\n")
    story = ("generate", "--story", "story.txt", *arguments[2:])
    assert said in kinema(*story, "time.safetensors").error


def test_the_bar_counts_both_passes(kinema, monkeypatch):
    write_two_passes("two.safetensors")
    write_upsampler("up.safetensors", "space")
    monkeypatch.setenv("FORCE_COLOR", "1")
    arguments = ("generate", PROMPT, "--model", "two.safetensors", "--upsampler", "up.safetensors")
    for count in (1, 2):
        place = "x.mp4" if count == 1 else "several"
        answer = kinema(*arguments, "--count", count, "-o", place)
        assert answer.status == 0, answer.err
        assert f"{5 * count}/{5 * count}" in answer.err
        totals = {shown.rpartition("/")[2] for shown in re.findall(r"\d+/\d+", answer.err)}
        assert totals == {str(5 * count)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--before",), "--before says where the new frames of --extend go; give that too"),
        (("--strength", "0.5"), "--strength says how much of --video becomes new; give that too"),
        (("--video", "clip.mp4", "--extend", "clip.mp4"), "--video and --extend are two ways"),
        (("--video", "no.mp4"), "no.mp4 does not exist; check the name"),
        (
            ("--video", "a.png"),
            "gives 1 of the 9 frames that are to be made at 12 fps; make at most 1",
        ),
        (("--video", "clip.mp4", "--num-frames", "25"), "make at most 17"),
        (("--video", "clip.mp4", "--strength", "0"), "above 0 and at most at 1, not at 0.0"),
        (("--video", "clip.mp4", "--strength", "nan"), "above 0 and at most at 1, not at nan"),
        (("--tile", "24"), "a multiple of 16 pixels from 64 on, or 0 for whole frames, not 24"),
        (("--upsampler", "no.safetensors"), "no such file or folder: no.safetensors"),
        (("--upsampler", "clip.mp4"), "clip.mp4 is no checkpoint"),
        (
            ("--keyframe", "a.png@0", "--extend", "clip.mp4", "--before", "--num-frames", "9"),
            None,
        ),
    ],
)
def test_what_does_not_fit_is_one_line(kinema, model, options, said):
    answer = kinema("generate", PROMPT, "--model", model, "-o", "x.mp4", *options)
    if said is None:
        assert answer.status == 0, answer.err
        return
    assert said in answer.error
    assert not Path("x.mp4").exists()


def test_a_story_takes_no_clip_to_make_anew(kinema, model):
    Path("story.txt").write_text(f"{PROMPT} | 1\n")
    arguments = ("generate", "--story", "story.txt", "--model", model, "--video", "clip.mp4")
    assert "leave out --video" in kinema(*arguments).error
