"""`kinema generate --story`: one long clip; killed at any time, it ends with the same bytes."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shlex
import signal
import subprocess
import time
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kills import killed_after
from PIL import Image

from kinema.cli.told import Told
from kinema.clip import Clip
from kinema.media import contact_sheet
from kinema.rollout import Rollout, Segment, tell
from kinema.rollout.parts import Parts
from kinema.systems.ltx_video import LTXVideo
from kinema.worlds.shapes import Shapes

LEFT = "a small red circle moves left on a navy background"
UP = "a small red circle moves up on a navy background"
OUTPUTS = ["a.drift.png", "a.json", "a.mp4", "a.png"]


@pytest.fixture(autouse=True)
def files(in_a_fresh_folder):
    """A story of two segments and six windows, and a picture."""
    Path("story.txt").write_text(f"# two\n{LEFT} | 1.5\n\n{UP} | 2\n")
    clip = Shapes(seed=0, split="train", num_frames=2, height=32, width=32, fps=12.0).sample(0).clip
    Image.fromarray(clip.frames[0]).save("a_picture.png")
    clip.write("clip.mp4")


def generate(model, *options, out="a.mp4"):
    return ("generate", "--story", "story.txt", "--model", model, "-o", out, *options)


def written() -> list[str]:
    return sorted(path.name for path in Path().glob("a.*"))


def test_a_story_becomes_a_clip_with_sheet_drift_and_record(kinema, model):
    answer = kinema(*generate(model, "--json"))
    assert answer.status == 0, answer.err
    assert written() == OUTPUTS
    made = Clip.read("a.mp4")
    assert (made.num_frames, made.size, made.fps) == (42, (32, 32), 12.0)
    record = json.loads(Path("a.json").read_text())
    assert answer.json == {"clip": "a.mp4", **record}
    assert record["segments"] == [
        {"prompt": LEFT, "start_seconds": 0.0, "stop_seconds": round(17 / 12, 4)},
        {"prompt": UP, "start_seconds": round(17 / 12, 4), "stop_seconds": 3.5},
    ]
    assert [window["frames"] for window in record["windows"]] == [9, 8, 8, 8, 8, 1]
    assert record["frames"] == 42
    assert len(record["seams"]) == 5
    assert set(record["drift"]) >= {"color", "identity", "seam"}
    seams, drift = answer.err.splitlines()
    assert seams.startswith(f"5 seams: {np.median(record['seams']):.2f} times the median change")
    assert drift.startswith("drift: color ")


def test_the_library_tells_the_same_story(kinema, model):
    assert kinema(*generate(model)).status == 0
    segments = [Segment(prompt=LEFT, seconds=1.5), Segment(prompt=UP, seconds=2.0)]
    told = list(tell(LTXVideo.from_pretrained(model), segments, seed=0))
    Clip(np.concatenate([clip.frames for clip in told]), 12.0).write("b.mp4")
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()


def test_the_recorded_command_repeats_the_bytes(kinema, model):
    options = ("--image", "a_picture.png", "--seed", 5, "--negative", "a blue star", "--threads", 1)
    answer = kinema(*generate(model, *options, "--json"))
    assert answer.status == 0, answer.err
    digest = hashlib.sha256(Path("a_picture.png").read_bytes()).hexdigest()
    assert answer.json["keyframes"] == [{"frame": 0, "sha256": digest}]
    command = shlex.split(answer.json["command"])
    assert kinema(*command[1:], "-o", "b.mp4").status == 0
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()
    assert kinema(*generate(model, "--seed", 5, "--threads", 1, out="c.mp4")).status == 0
    assert Path("a.mp4").read_bytes() != Path("c.mp4").read_bytes()


def test_unknown_words_are_named_with_their_line(kinema, model):
    Path("story.txt").write_text(f"{LEFT} | 1\na sparkly circle | 1\n")
    answer = kinema(*generate(model))
    assert answer.err.startswith("story.txt:2: not in this model's vocabulary, ignored: sparkly\n")
    assert json.loads(Path("a.json").read_text())["unknown_words"] == ["sparkly"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_and_told_again_it_is_the_same(process, kinema, model, number):
    arguments = generate(model, "--steps", 60, "--threads", 1)
    second = Path("a.parts/00001.npz")
    answer = process(*arguments).stop(number, when=second.exists)
    assert not Path("a.mp4").exists()
    done = len(list(Path("a.parts").glob("0*.npz")))
    assert 2 <= done < 6
    if number != signal.SIGKILL:
        assert answer.status == 128 + number
        said = f"stopped; {done} of 6 windows are in a.parts; the same command goes on\n"
        assert answer.err.endswith(said)
    before = second.stat().st_mtime_ns
    third = Path("a.parts/00002.npz")
    process(*arguments).stop(number, when=third.exists)
    assert second.stat().st_mtime_ns == before
    answer = kinema(*arguments)
    assert answer.status == 0, answer.err
    assert "of 6 windows in a.parts" in answer.err.splitlines()[0]
    assert written() == OUTPUTS
    whole = generate(model, "--steps", 60, "--threads", 1, out="b.mp4")
    assert kinema(*whole).status == 0
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()
    for name in (".png", ".drift.png"):
        assert Path(f"a{name}").read_bytes() == Path(f"b{name}").read_bytes()


def test_killed_while_the_clip_is_written_it_is_the_same(process, kinema, model):
    Path("story.txt").write_text(f"{LEFT} | 8\n")
    size = ("--size", "96x96", "--num-frames", 25, "--steps", 1, "--threads", 1)
    answer = process(*generate(model, *size)).stop(
        signal.SIGKILL, when=lambda: any(Path().glob(".a.*.partial.mp4"))
    )
    assert answer.status == -signal.SIGKILL
    assert any(Path().glob(".a.*.partial.mp4"))
    assert written() == ["a.parts"]
    again = process(*generate(model, *size)).answer()
    assert again.status == 0, again.err
    windows = len(json.loads(Path("a.json").read_text())["windows"])
    assert again.err.startswith(f"going on after {windows} of {windows} windows in a.parts\n")
    assert written() == OUTPUTS
    assert not any(Path().glob(".a.*"))
    assert kinema(*generate(model, *size, out="b.mp4")).status == 0
    assert Path("a.mp4").read_bytes() == Path("b.mp4").read_bytes()


@pytest.mark.slow
def test_killed_as_its_files_appear_it_is_the_same(kinema, model):
    arguments = generate(model, "--threads", 1)
    appear = ["a.json", "a.drift.png", "a.png", "a.mp4"]
    for renames in range(1, len(appear) + 1):
        killed_after(renames, arguments)
        assert written() == sorted(["a.parts", *appear[:renames]])
    error = kinema(*arguments, "--seed", 1).error
    assert error.startswith("a.mp4 was made with seed 0, not 1; pass --overwrite")
    answer = kinema(*arguments)
    assert answer.status == 0, answer.err
    assert answer.err.startswith("going on after 6 of 6 windows in a.parts\n")
    assert written() == OUTPUTS
    assert kinema(*generate(model, "--threads", 1, out="b.mp4")).status == 0
    for name in (".mp4", ".png", ".drift.png"):
        assert Path(f"a{name}").read_bytes() == Path(f"b{name}").read_bytes()


def test_two_do_not_tell_the_same_story(process, kinema, model):
    arguments = generate(model, "--steps", 10, "--threads", 1)
    first = process(*arguments)
    wait_for(Path("a.parts/00000.npz"), first.popen)
    first.popen.send_signal(signal.SIGSTOP)
    error = kinema(*arguments, "--overwrite").error
    assert error == "another process writes in a.parts; wait for it, or choose another folder"
    assert Path("a.parts/00000.npz").exists()
    first.popen.send_signal(signal.SIGCONT)
    assert first.answer().status == 0
    assert written() == OUTPUTS


def wait_for(file, popen):
    """Waits until a process has made a file."""
    while not file.exists():
        assert popen.poll() is None, popen.communicate()
        time.sleep(0.02)


def test_the_weights_are_gone_when_the_clip_is_written(kinema, model, monkeypatch):
    models, left = [], []
    make, write = Rollout.make, Told.write

    def making(self, window, before):
        models.append(weakref.ref(self.model))
        return make(self, window, before)

    def writing(self, *arguments, **options):
        left.extend(each() for each in models)
        write(self, *arguments, **options)

    monkeypatch.setattr(Rollout, "make", making)
    monkeypatch.setattr(Told, "write", writing)
    assert kinema(*generate(model)).status == 0
    assert left == [None] * 6


def test_the_sheet_is_that_of_the_whole_frames(model):
    made = LTXVideo.from_pretrained(model)
    sampling = replace(made.config.sampling, height=256)
    segments = [Segment(prompt=LEFT, seconds=1.5), Segment(prompt=UP, seconds=2.0)]
    rollout = Rollout(made, segments, seed=0, sampling=sampling, negative="", image=None)
    lengths = [window.frames for window in rollout.windows]
    parts = Parts(Path("a.parts"), {}, fps=12.0, lengths=lengths, overwrite=False)
    drawn = np.random.default_rng(0).integers(0, 256, (42, 256, 32, 3), np.uint8)
    for window in rollout.windows:
        parts.add(Clip(drawn[window.start : window.start + window.frames], 12.0))
    told = Told.look(parts, rollout)
    assert {row.size for row in told.rows} == {(192, 24)}
    told.write(Path("a.mp4"), parts, {}, overwrite=False)
    whole = [Clip(drawn[:17], 12.0), Clip(drawn[17:], 12.0)]
    expected = contact_sheet(whole, [LEFT, UP], columns=1, frames_per_clip=8)
    assert (np.asarray(Image.open("a.png")) == np.asarray(expected)).all()


def fail_at(monkeypatch, count):
    """Makes a window fail as if the machine did."""
    make = Rollout.make

    def failing(self, window, before):
        if window.number == count:
            raise OSError("the machine is tired")
        return make(self, window, before)

    monkeypatch.setattr(Rollout, "make", failing)


def test_windows_of_another_story_are_not_mixed_in(kinema, model, monkeypatch):
    with monkeypatch.context() as patched:
        fail_at(patched, 2)
        assert "the machine is tired" in kinema(*generate(model)).error
    for change, name in ((("--seed", 1), "seed"), (("--steps", 2), "sampling")):
        error = kinema(*generate(model, *change)).error
        assert error.startswith(f"a.parts holds windows of another story: another {name}; pass")
    assert len(list(Path("a.parts").glob("0*.npz"))) == 2
    anew = kinema(*generate(model, "--seed", 1, "--overwrite"))
    assert anew.status == 0
    assert "going on" not in anew.err
    assert written() == OUTPUTS


def test_a_failure_before_the_first_window_leaves_nothing(kinema, model, monkeypatch):
    fail_at(monkeypatch, 0)
    assert kinema(*generate(model)).status == 2
    assert written() == []


def test_what_stands_there_is_kept(kinema, model):
    for name in OUTPUTS:
        Path(name).write_text("mine")
        assert f"{name} exists" in kinema(*generate(model)).error
        Path(name).unlink()
    assert kinema(*generate(model)).status == 0
    assert kinema(*generate(model, "--overwrite")).status == 0


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("a red circle",), "PROMPT"),
        (("--prompts", "story.txt"), "--prompts"),
        (("--extend", "clip.mp4"), "--extend"),
        (("--video", "clip.mp4"), "--video"),
        (("--keyframe", "a_picture.png@1"), "--keyframe"),
        (("--count", 2), "--count"),
        (("--batch", 2), "--batch"),
    ],
)
def test_a_story_goes_alone(kinema, model, options, name):
    error = kinema(*generate(model, *options)).error
    assert error == f"--story tells one clip, from its file; leave out {name}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{LEFT} | 1\n{UP}\n", "story.txt:2: no seconds; write: prompt | seconds"),
        ("", "story.txt holds no segment"),
        (f"{LEFT} | 1\n{UP} | 0.01\n{LEFT} | 1", "story.txt:2: 0.01 seconds leave no frame"),
        (f"{LEFT} | 0.5\n", "story.txt tells 6 frames; tell 10 or more"),
    ],
)
def test_a_story_that_cannot_be_told(kinema, model, content, said):
    Path("story.txt").write_text(content)
    assert said in kinema(*generate(model)).error
    assert written() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "a.gif"), "cannot write a story as a.gif; end the name in .mp4"),
        (("--image", "clip.mp4"), "clip.mp4 is a clip of 2 frames; give a picture"),
        (("--num-frames", 1), "1 frames leave none after those of the clip that goes on"),
        (("--story", "no.txt"), "cannot read the story in no.txt: No such file"),
    ],
)
def test_what_does_not_go_with_a_story(kinema, model, options, said):
    assert said in kinema(*generate(model, *options)).error


def test_a_model_that_takes_no_frames_tells_no_story(kinema, model, monkeypatch):
    monkeypatch.setattr("kinema.cli.story.ImageToVideo", Rollout)
    assert "cannot go on from given frames" in kinema(*generate(model)).error


@pytest.mark.slow
def test_a_minute_in_bounded_memory_and_killed_it_is_the_same(model, process):
    """720 frames in 88 windows; 480 of them are 53 MB, more than the memory may grow by. The last
    window is seen until the process ends: while the clip is measured and written.
    """
    Path("story.txt").write_text("".join(f"{prompt} | 10\n" for prompt in (LEFT, UP) * 3))
    size = ("--size", "192x192", "--steps", 1, "--num-frames", 25, "--threads", 1)
    resident = memory_by_window(process(*generate(model, *size)).popen, Path("a.parts"))
    assert len(resident) == 88
    peaks = [max(third) for third in np.array_split(resident, 3)]
    assert max(peaks) < 1.1 * min(peaks), resident
    assert Clip.read("a.mp4", start_seconds=59).num_frames == 12
    killed = process(*generate(model, *size, out="b.mp4")).popen
    windows, seconds = random.randint(1, 80), random.uniform(0, 0.3)
    wait_for(Path(f"b.parts/{windows:05d}.npz"), killed)
    time.sleep(seconds)
    killed.kill()
    killed.wait()
    assert not Path("b.mp4").exists()
    again = process(*generate(model, *size, out="b.mp4")).popen
    assert again.communicate()[1].startswith("going on after ")
    for name in (".mp4", ".png", ".drift.png"):
        same = Path(f"a{name}").read_bytes() == Path(f"b{name}").read_bytes()
        assert same, f"killed {seconds} seconds after window {windows}, {name} differs"


def memory_by_window(popen, parts: Path) -> list[int]:
    """The largest resident set in KiB after each window of a story, until the next one is there."""
    process, resident = Path(f"/proc/{popen.pid}"), []
    while popen.poll() is None:
        done = len(list(parts.glob("0*.npz")))
        if done > len(resident):
            resident += [0] * (done - len(resident))
            (process / "clear_refs").write_text("5")  # the largest is counted anew
        told = re.search(r"VmHWM:\s+(\d+)", (process / "status").read_text())
        if told and done:
            resident[-1] = int(told[1])
        with suppress(subprocess.TimeoutExpired):
            popen.wait(timeout=0.02)
    assert popen.returncode == 0, popen.communicate()
    return resident


@pytest.mark.slow
def test_memory_does_not_grow_with_the_story(model, process):
    """The largest memory of a process that tells six times as much, of larger frames."""
    peaks = []
    for seconds in (6, 36):
        Path("story.txt").write_text(f"{LEFT} | {seconds}\n")
        size = ("--size", "96x96", "--steps", 1, "--num-frames", 25, "--threads", 1)
        started = process(*generate(model, *size, out=f"{seconds}.mp4"))
        peaks.append(largest_memory(started.popen))
        assert started.answer().status == 0
    assert peaks[1] < 1.1 * peaks[0], peaks


def largest_memory(popen):
    """The largest resident set in KiB that is seen before a process ends."""
    status, peak = Path(f"/proc/{popen.pid}/status"), 0
    while popen.poll() is None:
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        peak = max([peak, *(int(line.split()[1]) for line in lines)])
        with suppress(subprocess.TimeoutExpired):
            popen.wait(timeout=0.02)
    return peak
