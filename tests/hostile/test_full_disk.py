"""A disk that is full in the middle of any kind of write: one line, and what stood there stays.

The disk is full as far as this process goes: no file may grow beyond so many bytes. Where a small
disk of their own is named, as `test_small_disk.py` does, these tests fill that instead.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema import worlds
from kinema.clip import Clip
from kinema.data import latents
from kinema.data.latents import Encoded, LatentKey
from kinema.errors import InputError
from kinema.media import write_contact_sheet
from kinema.media.score import Note, Score
from kinema.metrics.feature_cache import FeatureCache
from kinema.metrics.feature_stats import FeatureStats
from kinema.noise import Noise
from kinema.rollout.picture import write_drift_picture
from kinema.sample import Features, Sound, Table, Text
from kinema.scenes.gaussians import Gaussians
from kinema.systems.retriever_index import FLOATS, Facts, Index
from kinema.systems.retriever_update import writing
from kinema.training import checkpoint, shards
from kinema.training.log import Log, read_log
from kinema.weights import files, lora
from kinema.worlds.folder import read_metadata, write_folder

NAME = "KINEMA_SMALL_DISK"
SMALL_DISK = os.environ.get(NAME)
FULL = re.escape("the disk is full; make room") if SMALL_DISK else ""
PAGE = 4096  # bytes: a disk in memory is filled by pages
CLIP = Clip(np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3), 8.0)
ROWS = Noise(0, tuple(range(99))).normal((99, 3), "rows")
WEIGHTS = {"x": torch.ones(999)}
VALUES = {"step": 2, "seed": 0, "recipe": {}}


@contextlib.contextmanager
def full_disk(room: int = 300) -> Iterator[None]:
    """Inside the block there is room for so many bytes, of a small disk for so many whole pages."""
    if SMALL_DISK:
        ballast = Path(SMALL_DISK) / "ballast"
        with ballast.open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(PAGE))
            file.truncate(file.tell() // PAGE * PAGE - room // PAGE * PAGE)
        try:
            yield
        finally:
            ballast.unlink()
    else:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def gaussians() -> Gaussians:
    return Gaussians(ROWS, ROWS, ROWS[:, [0, 1, 2, 2]], ROWS[:, 0], ROWS.sigmoid())


def score() -> Score:
    return Score(tuple(Note(60, 90, i / 4, i / 4 + 0.2) for i in range(99)), (), 25.0, 120.0)


def sheet(path: Path) -> None:
    write_contact_sheet(path, [CLIP], ["x"], columns=1, frames_per_clip=2, overwrite=True)


WRITES: dict[str, Callable[[Path], object]] = {
    "clip.mp4": lambda path: CLIP.write(path, overwrite=True),
    "clip.gif": lambda path: CLIP.write(path, overwrite=True),
    "sheet.png": sheet,
    "story.drift.png": lambda path: write_drift_picture(
        path, ROWS.T.repeat(2, 1), [0, 50], 8.0, overwrite=True
    ),
    "sound.wav": lambda path: Sound(np.zeros((1, 999), np.float32), 8000).write(
        path, overwrite=True
    ),
    "score.mid": lambda path: score().write(path, overwrite=True),
    "text.txt": lambda path: Text("word " * 99).write(path, overwrite=True),
    "table.json": lambda path: Table(("a",), ((1,),) * 99).write(path, overwrite=True),
    "table.csv": lambda path: Table(("a",), ((1,),) * 199).write(path, overwrite=True),
    "features.npz": lambda path: Features(ROWS.numpy(), ROWS[:, 0].numpy().copy()).write(
        path, overwrite=True
    ),
    "gaussians.ply": lambda path: gaussians().write(path, overwrite=True),
    "weights.safetensors": lambda path: files.save(path, WEIGHTS, {}, overwrite=True),
    "lora.safetensors": lambda path: lora.write(
        path, {"net.l.lora_A.weight": ROWS, "net.l.lora_B.weight": ROWS}, words=(), overwrite=True
    ),
    "stats.safetensors": lambda path: FeatureStats.of(ROWS).save(path, overwrite=True),
    "step-00000002.safetensors": lambda path: checkpoint.save(path, WEIGHTS, VALUES),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_file_is_written_whole_or_not_at_all(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITES[name](path)
    whole = path.read_bytes()
    for stood in (True, False):
        if not stood:
            path.unlink()
        said = rf"cannot write {re.escape(str(path))}: .*{FULL}"
        with pytest.raises(InputError, match=said) as caught, full_disk(len(whole) // 2):
            WRITES[name](path)
        assert "\n" not in str(caught.value)
        assert [*tmp_path.iterdir()] == [path] * stood
        assert not stood or path.read_bytes() == whole


def test_a_checkpoint_of_several_processes_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = shards.path_of(tmp_path, 2)
    with pytest.raises(InputError, match=r"cannot write .*; nothing is left there"), full_disk():
        shards.write(path, WEIGHTS, VALUES)
    assert not any(tmp_path.iterdir())
    shards.write(path, WEIGHTS, VALUES)
    assert shards.check(path) == VALUES


def log_steps(folder: Path, steps: range) -> None:
    """Writes the lines of some steps, of a run that begins with the first."""
    with Log(folder, start=steps.start, total=999) as log:
        write_steps(log, steps)


def write_steps(log: Log, steps: range) -> None:
    for step in steps:
        log.write(step, {"loss": 0.5, "seconds": 1.0})


def test_a_log_that_cannot_go_on(tmp_path: Path) -> None:
    with Log(tmp_path, start=0, total=999) as log:
        said = f"cannot write the log in .*{FULL}"
        with pytest.raises(InputError, match=said) as caught, full_disk(PAGE):
            write_steps(log, range(999))
    assert "\n" not in str(caught.value)
    lines = len(read_log(tmp_path))
    assert 0 < lines < 999
    log_steps(tmp_path, range(lines, lines + 1))
    assert [line["step"] for line in read_log(tmp_path)] == [*range(lines + 1)]


def test_a_log_that_cannot_begin(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=f"cannot write .*{FULL}"), full_disk(0):
        log_steps(tmp_path, range(9))
    assert "Traceback" not in capfd.readouterr().err
    log_steps(tmp_path, range(9))


def test_an_index_of_clips_keeps_what_was_told(tmp_path: Path) -> None:
    def tell(*names: bytes) -> None:
        with writing(tmp_path / "index", Facts("m0", tmp_path / "clips")) as index:
            for name in names:
                with index.database:
                    index.put(name, "1 2 3", name.decode(), np.ones(9999, FLOATS).tobytes())

    with pytest.raises(InputError, match="make room"), full_disk(0):
        tell(b"a.mp4")
    tell(b"a.mp4")
    with pytest.raises(InputError, match="make room"), full_disk(0):
        tell(b"b.mp4", b"c.mp4")
    assert Index.given(tmp_path / "index").files == ("a.mp4",)
    tell(b"b.mp4", b"c.mp4")
    assert Index.given(tmp_path / "index").files == ("a.mp4", "b.mp4", "c.mp4")


def test_a_latent_cache_goes_on_after_a_full_disk(tmp_path: Path) -> None:
    key = LatentKey(codec="c", source="s", num_frames=8, height=32, width=32, fps=8.0)

    def encode(samples: range) -> list[Encoded]:
        return [Encoded(torch.ones(2, 4, 8, 8), ("a",), {}) for _ in samples]

    def written() -> None:
        latents.write(tmp_path, key, 4, encode)

    with pytest.raises(InputError, match=r"cannot write .*shard-00000"), full_disk(PAGE):
        written()
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]
    with pytest.raises(InputError, match="lacks samples"):
        latents.LatentCache(tmp_path, codec="c", seed=0)
    written()
    assert len(latents.LatentCache(tmp_path, codec="c", seed=0)) == 4


def test_a_feature_cache_goes_on_after_a_full_disk(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, {"a": 1})
    cache["clip"] = torch.ones(999)
    with pytest.raises(InputError, match="cannot write"), full_disk():
        cache.flush()
    assert "clip" not in FeatureCache(tmp_path, {"a": 1})
    cache.flush()
    assert "clip" in FeatureCache(tmp_path, {"a": 1})


def test_a_folder_of_a_world_goes_on_after_a_full_disk(tmp_path: Path) -> None:
    size = {"num_frames": 2, "height": 32, "width": 32, "fps": 8.0}
    world = worlds.load("shapes", seed=0, split="train", **size)
    write_folder(world, range(1), tmp_path)
    with pytest.raises(InputError, match="cannot write"), full_disk():
        write_folder(world, range(3), tmp_path)
    assert len(read_metadata(tmp_path)) == 1
    assert not [path.name for path in tmp_path.glob(".*")]
    assert write_folder(world, range(3), tmp_path) == 2
    assert [entry["file_name"] for entry in read_metadata(tmp_path)] == [
        f"{index:06d}.mp4" for index in range(3)
    ]
