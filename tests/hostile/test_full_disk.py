"""A disk that is full in the middle of any kind of write: one line, and what stood there stays.

The disk is full as far as this process goes: no file may grow beyond a few hundred bytes.
"""

from __future__ import annotations

import contextlib
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
from kinema.sample import Features, Sound, Table, Text
from kinema.scenes.gaussians import Gaussians
from kinema.training import checkpoint
from kinema.weights import files, lora
from kinema.worlds.folder import read_metadata, write_folder

ROOM = 300  # bytes
CLIP = Clip(np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3), 8.0)
ROWS = Noise(0, tuple(range(99))).normal((99, 3), "rows")
WEIGHTS = {"x": torch.ones(999)}


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond `ROOM` inside the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
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
    "step-00000002.safetensors": lambda path: checkpoint.save(path, WEIGHTS, {"step": 2}),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_file_is_written_whole_or_not_at_all(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for stood in (False, True):
        if stood:
            WRITES[name](path)
            assert path.stat().st_size > ROOM
        before = path.read_bytes() if stood else b""
        with pytest.raises(InputError, match=f"cannot write {path}") as caught, full_disk():
            WRITES[name](path)
        assert "\n" not in str(caught.value)
        assert [*tmp_path.iterdir()] == [path] * stood
        assert not stood or path.read_bytes() == before


def test_a_latent_cache_goes_on_after_a_full_disk(tmp_path: Path) -> None:
    key = LatentKey(codec="c", source="s", num_frames=8, height=32, width=32, fps=8.0)

    def encode(samples: range) -> list[Encoded]:
        return [Encoded(torch.ones(2, 4, 8, 8), ("a",), {}) for _ in samples]

    def written() -> None:
        latents.write(tmp_path, key, 4, encode)

    with pytest.raises(InputError, match=r"cannot write .*shard-00000"), full_disk():
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
