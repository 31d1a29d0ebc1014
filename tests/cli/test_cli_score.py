"""`kinema score`: the table, the file, the comparison, and what it refuses."""

from __future__ import annotations

import json
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kinema import worlds
from kinema.metrics.clip_sets import View, find_clips, read_view
from kinema.metrics.extractors import drift_measure
from kinema.rollout.picture import drift_picture


def drawn(folder: Path, seed: int, *, num_frames: int) -> Path:
    """A folder of eight clips of the world `shapes`."""
    world = worlds.load(
        "shapes", seed=seed, split="all", num_frames=num_frames, height=32, width=32, fps=8
    )
    folder.mkdir()
    for i in range(8):
        np.save(folder / f"{i:02d}.npy", world.sample(i).clip.frames)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of eight clips of 8 x 32 x 32."""
    place = tmp_path_factory.mktemp("clips")
    return drawn(place / "real", 0, num_frames=8), drawn(place / "fake", 1, num_frames=8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of eight clips of 16 x 32 x 32, as many frames as are looked at by themselves."""
    place = tmp_path_factory.mktemp("whole")
    return drawn(place / "real", 0, num_frames=16), drawn(place / "fake", 1, num_frames=16)


OPTIONS = ("--frames", 8, "--cache", "cache")


def test_one_table_with_intervals_and_what_is_shared(kinema, folders):
    answer = kinema("score", "stream, psnr", *folders, *OPTIONS)
    assert answer.status == 0
    head, *rows, empty, shared = answer.out.splitlines()
    assert head.split()[:2] == ["score", "value"]
    assert [row.split()[0] for row in rows] == ["stream.T", "stream.F", "stream.D", "psnr"]
    assert "a stand-in" in rows[0]
    assert not empty
    assert shared == "num_frames 8, fps None, height 32, width 32, seed 0"
    assert not answer.err


def test_the_network_that_ships_scores_clips_of_sixteen_frames(kinema, whole):
    real, fake = whole
    answer = kinema("score", "fvd-tiny,stream,psnr", real, fake, "--cache", "cache", "--json")
    first, *others = answer.json["scores"]
    assert [first["name"], *(score["name"] for score in others)] == [
        "fvd-tiny",
        "stream.T",
        "stream.F",
        "stream.D",
        "psnr",
    ]
    assert first["value"] > 0
    assert first["passport"]["extractor"] == "ClipConvNet features (a stand-in)"
    assert first["passport"]["num_frames"] == 16
    itself = kinema("score", "fvd-tiny", real, real, "--cache", "cache", "--json")
    assert abs(itself.json["scores"][0]["value"]) < 1e-6 * first["value"]


def test_json_has_passports_and_is_what_is_written(kinema, folders):
    answer = kinema("score", "psnr", *folders, *OPTIONS, "--json", "-o", "a.json")
    (score,) = answer.json["scores"]
    assert score["passport"]["num_generated"] == 8
    assert score["interval"][0] <= score["value"] <= score["interval"][1]
    written = json.loads(Path("a.json").read_text())
    assert written.pop("command").startswith("kinema score psnr ")
    assert written == answer.json
    again = kinema("score", "psnr", *folders, *OPTIONS, "-o", "a.json")
    assert "a.json exists" in again.error
    assert kinema("score", "psnr", *folders, *OPTIONS, "-o", "a.json", "--overwrite").status == 0


def test_scores_compare_unless_they_were_not_computed_alike(kinema, folders):
    real, fake = folders
    kinema("score", "psnr,ssim", real, fake, *OPTIONS, "-o", "a.json")
    kinema("score", "ssim,psnr", real, real, *OPTIONS, "-o", "b.json")
    kinema("score", "psnr", real, fake, *OPTIONS, "--size", "24x24", "-o", "c.json")
    answer = kinema("score", "compare", "a.json", "b.json")
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines] == ["score", "psnr", "ssim"]
    assert lines[1].endswith("apart")
    (psnr, _) = kinema("score", "compare", "a.json", "b.json", "--json").json["comparisons"]
    assert psnr["b"] == 100
    assert psnr["difference"] == pytest.approx(100 - psnr["a"])
    refused = kinema("score", "compare", "a.json", "c.json").error
    assert "psnr was not computed alike" in refused
    assert "preprocessing: " in refused
    assert "two files of scores, not 1" in kinema("score", "compare", "a.json").error


def test_clips_that_cannot_be_used_are_listed_or_refused(kinema, folders, tmp_path):
    _, fake = folders
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in fake.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "99.npy").write_bytes(b"none")
    answer = kinema("score", "dynamic-degree", broken, *OPTIONS, "--json")
    assert answer.err.startswith(f"left out: {broken / '99.npy'}")
    assert answer.json["skipped"] == [answer.err.removeprefix("left out: ").strip()]
    assert answer.json["scores"][0]["passport"]["skipped_generated"] == 1
    assert "--strict" in kinema("score", "dynamic-degree", broken, *OPTIONS, "--strict").error


def test_the_curves_behind_drift_are_drawn(kinema, whole):
    _, fake = whole
    score = ("score", "stream,drift", *whole, "--cache", "cache", "--plot", "drift.png")
    assert kinema(*score).status == 0
    view = View(num_frames=16, fps=None, size=None)
    run = drift_measure({}, "cpu").run
    curves = torch.stack([run(read_view(path, view).frames) for path in find_clips(fake)])
    assert Image.open("drift.png").tobytes() == drift_picture(curves, (), None).tobytes()
    assert "drift.png exists" in kinema(*score).error
    assert kinema(*score, "--overwrite").status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("strem", "real", "fake"), "unknown score 'strem'; did you mean 'stream'?"),
        (("stream", "nowhere"), "there is no folder nowhere"),
        (("stream", "a", "b", "c"), "GENERATED alone, not 3 folders"),
        (("fid", "a", "b", "--weights", "inception"), "must be ROLE=FILE"),
        (("fid", "a", "b", "--weights", "incepton=x"), "did you mean 'inception'?"),
        (("fid", "a", "b", "--weights", "inception=x.pt"), "there is no file x.pt"),
        (("psnr", "a", "b", "--size", "24"), "--size '24' is no size"),
        (("psnr", "a", "b", "--fps", "nan"), "fps must be above 0 and at most 1000, not nan"),
        (("compare", "a.json", "b.json"), "cannot read a.json"),
        (("psnr", "a", "b", "--plot", "c.png"), "--plot is for drift, not for psnr"),
        (("compare", "a", "b", "--plot", "c.png"), "--plot is for drift, not for compare"),
        (("drift", "a", "--plot", "c.jpg"), "cannot draw c.jpg; end the name in .png"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(kinema, arguments, said):
    assert said in kinema("score", *arguments).error


@pytest.mark.slow
def test_thousands_of_clips_take_little_memory_and_a_killed_run_goes_on(process, tmp_path):
    """With no flush on the way out: whole shards are what a kill leaves."""
    count, shape, shard = 2048, (16, 128, 128, 3), 64
    many, few = tmp_path / "many", tmp_path / "few"
    for folder, names in ((many, range(count)), (few, range(0, count, shard))):
        folder.mkdir()
        for i in names:  # black but for a square, and black takes no room in the files
            clip = np.lib.format.open_memmap(folder / f"{i:04d}.npy", "w+", np.uint8, shape)
            row, column = divmod(i, shard)
            clip[0, 2 * row : 2 * row + 16, column : column + 16] = 255

    def four_gigabytes() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))

    def shards() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("shard-*")}

    arguments = ("score", "fvd-tiny", few, many, "--cache", tmp_path / "cache", "--json")
    started = process(*arguments, preexec_fn=four_gigabytes)
    started.stop(signal.SIGKILL, lambda: len(shards()) >= count // shard)  # of two, features, sizes
    kept = shards()
    assert len(kept) < 2 * count // shard
    answer = process(*arguments, preexec_fn=four_gigabytes).answer()
    assert answer.status == 0, answer.err
    assert json.loads(answer.out)["scores"][0]["passport"]["num_generated"] == count
    found = shards()
    assert kept.items() <= found.items()
    assert len(found) == 2 * count // shard
