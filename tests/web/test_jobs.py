"""What people can ask of the page, without a page: work, limits, hostile values, many people."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinema.cli.main import main
from kinema.clip import Clip
from kinema.errors import InputError
from kinema.media import Mp4Writer
from kinema.metrics.definitions import DEFINITIONS
from kinema.web import jobs
from kinema.web.examples import PROMPTS, STORY, examples
from kinema.web.limits import Limits
from kinema.web.scoring import SCORES
from kinema.web.studio import Studio
from kinema.web.worker import Worker

PROMPT = "a small red circle moves left on a navy background"
MOUNT = 'mount -t tmpfs -o size=64k none "$0" && exec "$@"'
UNPACK = """
import sys, time
from pathlib import Path
from kinema.web.limits import Limits
from kinema.web.uploads import Uploads
from kinema.web.worker import Worker
disk, path = map(Path, sys.argv[1:])
uploads = Uploads(disk, Limits())
ticket = Worker(Limits()).submit("me", lambda ticket: uploads.unpack([path], disk / "clips"))
while not ticket.finished:
    time.sleep(0.01)
print(ticket.error)
"""
VALUES = {
    "prompt": PROMPT,
    "negative": "",
    "seed": 3,
    "size": "32x32",
    "num_frames": 9,
    "steps": 2,
    "guidance": 2.0,
}


def ended(ticket):
    """A ticket that has ended."""
    deadline = time.monotonic() + 60
    while not ticket.finished:
        assert time.monotonic() < deadline, "nothing happened in a minute"
        time.sleep(0.01)
    return ticket


def made(ticket):
    """The run of a ticket that has done its work."""
    assert ended(ticket).state == "done", ticket.error
    return ticket.result


def begun(studio):
    """A run that goes on until it is canceled."""

    def work(ticket):
        while True:
            ticket.advance(0.5, "going on")
            time.sleep(0.005)

    ticket = studio.worker.submit("someone else", work)
    while ticket.state == "waiting":
        time.sleep(0.005)
    return ticket


def sent(studio, path, name=None):
    """A file as it lies after it was sent to the page."""
    place = studio.uploads.folder / (name or path.name)
    shutil.copyfile(path, place)
    return str(place)


def clips(folder, count=7, frames=12):
    """Small clips of a moving spot, in a folder."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        shown = np.zeros((frames, 32, 48, 3), np.uint8)
        for frame in range(frames):
            shown[frame, 8 : 16 + number, 2 * frame : 2 * frame + 8] = 40 + 30 * number
        Clip(shown, 8.0).write(folder / f"{number}.mp4")
    return sorted(folder.iterdir())


def test_a_clip_lies_in_a_folder_with_sheet_and_record_that_repeats_it(studio, tmp_path):
    run = made(jobs.generate(studio, "me", **VALUES))
    assert run.name == "0001-clip-a-small-red-circle-moves-left-on-a-navy"
    names = ["clip.json", "clip.mp4", "clip.png"]
    assert sorted(path.name for path in run.record.parent.iterdir()) == names
    assert Clip.read(run.clip).frames.shape == (9, 32, 32, 3)
    facts = run.facts
    assert (facts["prompt"], facts["seed"], facts["sampling"]["steps"]) == (PROMPT, 3, 2)
    again = tmp_path / "again.mp4"
    assert main([*shlex.split(facts["command"])[1:], "-o", str(again)]) == 0
    assert again.read_bytes() == run.clip.read_bytes()


def test_a_clip_begins_with_the_picture_that_was_sent(studio, tmp_path):
    Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(tmp_path / "gray.png")
    file = sent(studio, tmp_path / "gray.png")
    run = made(jobs.animate(studio, "me", file=file, **VALUES))
    plain = made(jobs.generate(studio, "me", **VALUES))
    assert run.facts["keyframes"][0]["frame"] == 0
    assert Path(run.facts["keyframe_files"][0]) == run.record.parent / "given.png"
    assert run.clip.read_bytes() != plain.clip.read_bytes()


def test_a_clip_that_was_sent_goes_on(studio, tmp_path):
    given = clips(tmp_path / "given", count=1)[0]
    run = made(jobs.animate(studio, "me", file=sent(studio, given), **VALUES))
    shown = Clip.read(run.clip)
    # Brought from 8 to 12 frames per second: 18 frames, one of which the pass of 9 holds.
    assert shown.num_frames == 18 + 8
    assert Path(run.facts["extend_file"]).name == "given.mp4"


def test_a_story_is_that_of_the_command_line(studio, tmp_path):
    up = "a large green square moves up on a white background"
    lines = f"\ufeff{PROMPT}\n\n# {PROMPT}\n {up}|0.5\n"
    run = made(jobs.story(studio, "me", lines=lines, seed=5, steps=2, guidance=2))
    files = ["clip.drift.png", "clip.json", "clip.mp4", "clip.png", "story.txt"]
    assert sorted(path.name for path in run.record.parent.iterdir()) == files
    shown, facts = Clip.read(run.clip), run.facts
    assert shown.num_frames == round(2.5 * shown.fps)
    assert [seconds for _, seconds in facts["story"]] == [2.0, 0.5]
    assert facts["seed"] == 5
    assert len(facts["seams"]) == len(facts["windows"]) - 1 > 0
    again = tmp_path / "again.mp4"
    assert main([*shlex.split(facts["command"])[1:], "-o", str(again)]) == 0
    for ending in (".mp4", ".png", ".drift.png"):
        assert again.with_suffix(ending).read_bytes() == run.clip.with_suffix(ending).read_bytes()
    assert json.loads(again.with_suffix(".json").read_text())["story"] == facts["story"]


def test_a_story_tells_where_it_is_and_can_be_canceled(studio):
    values = {"lines": f"{PROMPT} | 2\n{PROMPT} | 1", "seed": 0, "steps": 100, "guidance": 2}
    running = jobs.story(studio, "me", **values)
    told = {}
    while running.share < 0.7:
        told[running.doing] = running.share
        assert not running.finished, running.error
        time.sleep(0.005)
    assert studio.worker.cancel("me") == 1
    assert ended(running).state == "canceled"
    assert f"{PROMPT} (from second 0.0)" in told
    assert len(told) > 2
    assert [*told.values()] == sorted(told.values())
    assert not any(studio.history.folder.iterdir())


def test_scores_are_those_of_the_command_line(studio, tmp_path):
    real = clips(tmp_path / "real")
    generated = [sent(studio, path, f"made-{path.name}") for path in clips(tmp_path / "x", 7, 14)]
    with zipfile.ZipFile(tmp_path / "real.zip", "w") as archive:
        for path in real:
            archive.write(path, f"deep/in/{path.name}")
    run = made(
        jobs.score(
            studio,
            "me",
            generated=generated,
            real=[sent(studio, tmp_path / "real.zip")],
            scores=["stream", "dynamic-degree"],
            num_frames=12,
        )
    )
    facts = run.facts
    assert [each["name"] for each in facts["scores"]][-1] == "dynamic-degree"
    assert facts["scores"][0]["passport"]["num_real"] == 7
    cli = tmp_path / "cli.json"
    words = [*shlex.split(facts["command"])[1:], "-o", str(cli), "--cache", str(tmp_path / "c")]
    assert main(words) == 0
    assert json.loads(cli.read_text())["scores"] == facts["scores"]


def test_clips_that_cannot_be_scored_are_told_by_their_names(studio, tmp_path):
    paths = [*clips(tmp_path / "x", 3), *clips(tmp_path / "short", 1, 4)]
    files = [sent(studio, path, f"{n}.mp4") for n, path in enumerate(paths)]
    run = made(
        jobs.score(
            studio, "me", generated=files, real=None, scores=["dynamic-degree"], num_frames=12
        )
    )
    (left_out,) = run.facts["skipped"]
    assert left_out.startswith("generated/3.mp4 has 4 frames")


def test_the_page_offers_the_scores_that_need_no_weights():
    for name in SCORES:
        DEFINITIONS[name].measure({}, "cpu")
    compare = [name for name in SCORES if DEFINITIONS[name].of != "generated"]
    assert 0 < len(compare) < len(SCORES)


def test_the_examples_are_what_the_shipped_model_can_read(tmp_path):
    shown = examples(tmp_path)
    assert all(path.is_file() for path in (shown.picture, *shown.real, *shown.generated))
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    assert {path.suffix for path in written} == {".mp4", ".png"}
    assert examples(tmp_path) == shown
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == written
    studio = Studio(tmp_path / "page", "ltx_video:shapes", Limits())
    try:
        prompts = [*PROMPTS, shown.prompt, *(line.split("|")[0] for line in STORY.splitlines())]
        assert [studio.maker.unknown_words(prompt, "") for prompt in prompts] == [()] * len(prompts)
        assert list(studio.sizes)[:2] == ["96x96", "96x128"]
        assert studio.frames[:3] == [5, 9, 13]
    finally:
        studio.close()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("prompt", "", "the prompt is empty"),
        ("prompt", None, "the prompt is empty"),
        ("prompt", 7, "the prompt must be text"),
        ("prompt", {"a": 1}, "the prompt must be text"),
        ("prompt", "red " * 1000, "the prompt has 3999 letters"),
        ("prompt", "red \ud800", "the prompt must be text"),
        ("prompt", "red\0circle", "the prompt must be text"),
        ("prompt", "<img src=x onerror=alert(1)>", "knows no word"),
        ("negative", "x" * 501, "the negative prompt has 501 letters"),
        ("seed", -1, "the seed must lie between"),
        pytest.param("seed", 10**400, "the seed must", id="seed-huge"),
        ("seed", 1.5, "whole number"),
        ("seed", math.nan, "the seed must be a number"),
        ("seed", "3", "the seed must be a number"),
        ("seed", True, "the seed must be a number"),
        ("size", "4096x4096", "unknown size"),
        ("size", "../../x", "unknown size"),
        ("size", ["32x32"], "unknown size"),
        ("num_frames", 10**9, "the number of frames must lie between 9 and"),
        ("num_frames", 10, "no clips of 10 frames; the nearest is 9"),
        ("num_frames", math.inf, "the number of frames must lie between"),
        ("steps", 0, "the number of steps must lie between 1 and 100"),
        ("steps", 100_001, "the number of steps must lie between"),
        ("guidance", math.nan, "guidance must be a number"),
        ("guidance", 1e300, "guidance must lie between"),
        ("guidance", None, "guidance must be a number"),
    ],
)
def test_hostile_values_are_refused_in_a_line(studio, name, value, said):
    with pytest.raises(InputError, match=said) as error:
        jobs.generate(studio, "me", **{**VALUES, name: value})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200
    assert studio.history.names() == []
    assert not any(studio.history.folder.iterdir())


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "the story is empty"),
        (None, "must be text"),
        ("x" * 10**6, "must be text of at most"),
        ("red circle | nan", "'nan' after the last | is no number"),
        ("red circle | -1", "a segment lasts more than 0"),
        ("red circle | 1e9", "a segment lasts more than 0"),
        ("red circle | soon", "'soon' after the last | is no number"),
        ("red circle | 0.01", "seconds of a segment"),
        ("red circle | 2\nred circle | 0.1\nred circle | 2", "leave no frame"),
        ("| 2", "the prompt is empty"),
        ("red circle | 19\nred circle | 19", "the story lasts 38 seconds"),
        ("red circle\n" * 9, "9 segments are too many"),
        ("red circle\n\nxyzzy", "line 3: this model knows no word"),
        ("# red circle", "the story is empty"),
        ("red circle | 0.5", "the story tells 6 frames; tell 10 or more"),
    ],
)
def test_stories_that_cannot_be_told_are_refused(studio, lines, said):
    with pytest.raises(InputError) as error:
        jobs.story(studio, "me", lines=lines, seed=0, steps=2, guidance=1)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "value",
    [
        *("/etc/passwd", "../../../etc/hostname", "uploads/../../model", ".", "", "a\0b"),
        *("x" * 5000, 7, {"path": "/etc/passwd"}, "folder", "link.png"),
    ],
)
def test_files_that_were_not_sent_are_not_read(studio, value):
    (studio.uploads.folder / "folder").mkdir()
    (studio.uploads.folder / "link.png").symlink_to("/etc/passwd")
    if value in ("folder", "link.png"):
        value = str(studio.uploads.folder / value)
    with pytest.raises(InputError):
        jobs.animate(studio, "me", file=value, **VALUES)
    with pytest.raises(InputError):
        jobs.score(
            studio, "me", generated=[value], real=None, scores=["dynamic-degree"], num_frames=12
        )
    assert not any(studio.history.folder.iterdir())


def test_pictures_and_clips_that_are_too_large_are_refused(studio, tmp_path):
    Image.new("L", (5000, 8)).save(tmp_path / "wide.png")
    with pytest.raises(InputError, match=r"wide.png is 8x5000 pixels"):
        jobs.animate(studio, "me", file=sent(studio, tmp_path / "wide.png"), **VALUES)
    (studio.uploads.folder / "heavy.png").write_bytes(bytes(300_001))
    with pytest.raises(InputError, match=r"heavy.png is larger"):
        jobs.animate(studio, "me", file=str(studio.uploads.folder / "heavy.png"), **VALUES)
    (studio.uploads.folder / "words.png").write_text("words")
    with pytest.raises(InputError, match=r"^words.png is ") as error:
        jobs.animate(studio, "me", file=str(studio.uploads.folder / "words.png"), **VALUES)
    assert str(studio.folder) not in str(error.value)


def zipped(path, entries):
    """A zip file with these contents by name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def test_zip_files_cannot_reach_out_or_swell(studio, tmp_path):
    clip = clips(tmp_path / "x", 1)[0].read_bytes()
    cases = {
        "'../../a.mp4', a path that leads out of it": [("../../a.mp4", clip)],
        "'/etc/a.mp4', a path that leads out of it": [("/etc/a.mp4", clip)],
        "'..\\\\a.mp4', a path that leads out of it": [("..\\a.mp4", clip)],
        "two clips are named a.mp4": [("x/a.mp4", clip), ("y/a.mp4", clip)],
        "hold more than 0 MB": [("bomb.mp4", bytes(40_000_000))],
        "over 1000 files": [(f"{n}.mp4", b"") for n in range(1001)],
        "run.sh is no clip": [("run.sh", b"true")],
        "0.mp4 is empty": [("0.mp4", b"")],
        "there is no clip": [],
        "give at most 8 clips": [(f"{n}.mp4", clip) for n in range(9)],
    }
    for number, (said, entries) in enumerate(cases.items()):
        path = zipped(studio.uploads.folder / f"{number}.zip", entries)
        ticket = ended(
            jobs.score(
                studio,
                f"person {number}",
                generated=[str(path)],
                real=None,
                scores=["dynamic-degree"],
                num_frames=12,
            )
        )
        assert ticket.state == "failed"
        assert said in ticket.error, ticket.error
    assert not any(studio.history.folder.iterdir())
    assert [*tmp_path.rglob("a.mp4")] == []


def test_zip_files_that_cannot_be_read_are_refused(studio, tmp_path):
    clip = clips(tmp_path / "x", 1)[0].read_bytes()
    whole = zipped(tmp_path / "whole.zip", [("\u00e9.mp4", clip)]).read_bytes()
    table = whole.index(b"PK\x01\x02")  # its entries have flags at 8, the kind of packing at 10
    spoilt = {
        "cut": whole[:500],
        "no-text": whole.replace("\u00e9".encode(), b"\xff\xff"),
        "locked": whole[: table + 8] + bytes([whole[table + 8] | 1]) + whole[table + 9 :],
        "packed-otherwise": whole[: table + 10] + b"\x63" + whole[table + 11 :],
        "changed": whole[: table // 2] + bytes(9) + whole[table // 2 + 9 :],
    }
    for number, (name, content) in enumerate(spoilt.items()):
        (studio.uploads.folder / f"{name}.zip").write_bytes(content)
        ticket = jobs.score(
            studio,
            f"person {number}",
            generated=[str(studio.uploads.folder / f"{name}.zip")],
            real=None,
            scores=["dynamic-degree"],
            num_frames=12,
        )
        said = f"{name}.zip is a broken or locked zip file; pack it anew"
        assert ended(ticket).error == said


def test_a_full_disk_is_told(tmp_path):
    disk, path = tmp_path / "disk", zipped(tmp_path / "heavy.zip", [("a.mp4", bytes(200_000))])
    disk.mkdir()
    mounted = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(disk)]
    if not shutil.which("unshare") or subprocess.run([*mounted, "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount a disk")
    command = [*mounted, sys.executable, "-c", UNPACK, str(disk), str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("the page's disk is full; make room\n", "")


def test_clips_that_are_too_large_to_score_are_refused(studio):
    path = studio.uploads.folder / "black.mp4"
    with Mp4Writer(
        path, fps=8.0, height=2048, width=2048, sound=None, crf=30, overwrite=False
    ) as file:
        for _ in range(2):  # the others would not be looked at
            file.add(np.zeros((2048, 2048, 3), np.uint8))
    assert path.stat().st_size < studio.limits.file_bytes
    ticket = jobs.score(
        studio, "me", generated=[str(path)], real=None, scores=["drift"], num_frames=64
    )
    said = "64 frames of 2048x2048 are too much at once; take fewer frames or smaller clips"
    assert ended(ticket).error == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"scores": []}, "choose at least one"),
        ({"scores": "psnr"}, "choose at least one"),
        ({"scores": ["fvd-tensorflow"]}, "unknown score"),
        ({"scores": [{"a": 1}]}, "unknown score"),
        ({"scores": ["drift", "drift"]}, "twice"),
        ({"scores": ["psnr"]}, "psnr compares with real clips"),
        ({"num_frames": 10**12}, "the number of frames"),
        ({"generated": []}, "give the clips to score"),
        ({"generated": ["x"] * 9}, "9 files are too many"),
    ],
)
def test_scores_that_cannot_be_computed_are_refused(studio, tmp_path, values, said):
    clip = sent(studio, clips(tmp_path / "x", 1)[0])
    usual = {"generated": [clip], "real": None, "scores": ["drift"], "num_frames": 12}
    with pytest.raises(InputError) as error:
        jobs.score(studio, "me", **{**usual, **values})
    assert said in str(error.value)


def test_cancel_ends_runs_between_steps_and_leaves_nothing(studio):
    running = jobs.generate(studio, "me", **{**VALUES, "steps": 100_000, "num_frames": 33})
    while running.share == 0:
        assert not running.finished, running.error
        time.sleep(0.005)
    waiting = jobs.generate(studio, "me", **VALUES)
    other = jobs.generate(studio, "you", **VALUES)
    assert studio.worker.ahead_of(other) == 2
    assert studio.worker.cancel("me") == 2
    assert made(other).name.startswith("0001-")
    assert (running.state, waiting.state) == ("canceled", "canceled")
    assert 0 < running.share < 1
    assert len(list(studio.history.folder.iterdir())) == 1
    assert studio.worker.cancel("me") == 0


def test_a_run_that_breaks_or_takes_too_long_ends_alone(studio, caplog):
    def breaks(ticket):
        raise RuntimeError("a secret of ours")

    broken = ended(studio.worker.submit("me", breaks))
    assert broken.state == "failed"
    assert "secret" not in broken.error
    assert "a secret of ours" in caplog.text
    slow = begun(studio)
    slow.seconds = 0.0
    assert "took over 0 seconds" in ended(slow).error
    assert made(jobs.generate(studio, "me", **VALUES))


def test_ten_people_at_once_get_what_each_would_get_alone(studio):
    tickets = {}

    def person(number):
        values = {**VALUES, "seed": number % 5}
        tickets[number] = jobs.generate(studio, f"person {number}", **values)

    people = [threading.Thread(target=person, args=(number,)) for number in range(10)]
    for each in people:
        each.start()
    for each in people:
        each.join()
    runs = {number: made(ticket) for number, ticket in tickets.items()}
    assert sorted(run.name[:4] for run in runs.values()) == [f"{n:04d}" for n in range(1, 11)]
    contents = {number: run.clip.read_bytes() for number, run in runs.items()}
    assert all(contents[number] == contents[number + 5] for number in range(5))
    assert len(set(contents.values())) == 5
    alone = made(jobs.generate(studio, "alone", **{**VALUES, "seed": 2}))
    assert alone.clip.read_bytes() == contents[2]


def test_the_line_is_bounded_for_all_and_the_rate_for_each(studio):
    begun(studio)
    for number in range(12):
        jobs.generate(studio, f"person {number}", **VALUES)
    with pytest.raises(InputError, match="12 runs are waiting"):
        jobs.generate(studio, "one more", **VALUES)
    studio.worker.cancel("person 3")
    jobs.generate(studio, "one more", **VALUES)
    for number in range(12):
        studio.worker.cancel(f"person {number}")
    for _ in range(6):
        jobs.generate(studio, "fast", **VALUES)
    with pytest.raises(InputError, match=r"you started 6 runs within a minute; wait \d+ seconds"):
        jobs.generate(studio, "fast", **VALUES)


def test_one_address_cannot_fill_the_line():
    worker = Worker(Limits(waiting=4, waiting_per_address=2))
    end = threading.Event()
    first = worker.submit("there a", lambda ticket: end.wait(60))
    while first.state == "waiting":
        time.sleep(0.005)
    for person in ("here a", "here b"):
        worker.submit(person, lambda ticket: None)
    with pytest.raises(InputError) as said:
        worker.submit("here c", lambda ticket: None)
    assert str(said.value) == "2 runs from your address are waiting; try again in a minute"
    others = [worker.submit("there a", lambda ticket: None) for _ in range(2)]
    worker.cancel("here a")
    last = worker.submit("here c", lambda ticket: None)
    with pytest.raises(InputError, match="4 runs are waiting"):
        worker.submit("elsewhere", lambda ticket: None)
    end.set()
    assert [ended(ticket).state for ticket in (*others, last)] == ["done"] * 3
    worker.close()


def test_a_full_folder_takes_nothing_more(tmp_path, model):
    studio = Studio(tmp_path / "page", str(model), Limits(folder_bytes=1000))
    try:
        made(jobs.generate(studio, "me", **VALUES))
        with pytest.raises(InputError, match="delete old runs"):
            jobs.generate(studio, "me", **VALUES)
    finally:
        studio.close()


def test_the_history_knows_finished_runs_alone(studio):
    first = made(jobs.generate(studio, "me", **VALUES))
    second = made(jobs.generate(studio, "me", **VALUES))
    folder = studio.history.folder
    (folder / "0009-unfinished").mkdir()
    (folder / "private").mkdir()
    (folder / "private" / "clip.mp4").write_bytes(b"mine")
    assert studio.history.names() == [second.name, first.name]
    assert studio.history.run(first.name) == first
    for name in ("private", "0009-unfinished", "../runs", "/etc", "", None, 3, "0001", ".."):
        with pytest.raises(InputError, match="no such run"):
            studio.history.run(name)
    assert made(jobs.generate(studio, "me", **VALUES)).name.startswith("0010-")


def test_a_closed_studio_starts_nothing(tmp_path, model):
    studio = Studio(tmp_path / "page", str(model), Limits())
    running, waiting = begun(studio), jobs.generate(studio, "me", **VALUES)
    studio.close()
    assert (running.state, waiting.state) == ("canceled", "canceled")
    with pytest.raises(InputError, match="closing"):
        jobs.generate(studio, "me", **VALUES)
