"""Worlds on disk: everything is there, a killed run goes on, nothing is lost unasked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from kinema.clip import Clip
from kinema.config import from_dict
from kinema.errors import InputError
from kinema.worlds.folder import METADATA, SHEET, WORLD, read_metadata, write_folder
from kinema.worlds.shapes import Shapes
from kinema.worlds.world import SceneGraph


def world(seed: int = 5) -> Shapes:
    return Shapes(seed=seed, split="train", num_frames=6, height=32, width=48, fps=12.0)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_everything_is_there_and_true(tmp_path):
    folder = tmp_path / "new" / "clips"
    assert write_folder(world(), [0, 12], folder) == 2
    kinds = "mp4", "txt", "masks.npz", "flow.npz"
    names = [f"0000{i}.{kind}" for i in ("00", "12") for kind in kinds]
    assert set(contents(folder)) == {*names, METADATA, WORLD, SHEET}
    first, second = read_metadata(folder)
    sample = world().sample(12)
    assert (first["file_name"], second["file_name"]) == ("000000.mp4", "000012.mp4")
    assert second["index"] == 12
    assert second["captions"] == list(sample.captions)
    assert second["labels"] == sample.labels
    assert second["detailed"] == sample.detailed
    assert from_dict(SceneGraph, second["graph"]) == sample.graph
    np.testing.assert_allclose(second["boxes"], sample.boxes.xyxy, atol=6e-4)
    np.testing.assert_allclose(second["tracks"], sample.tracks.xy, atol=6e-4)
    assert second["visible"] == sample.tracks.visible.tolist()
    assert (folder / "000012.txt").read_text() == sample.captions[0] + "\n"
    with np.load(folder / "000012.masks.npz") as file:
        assert (file["masks"] == sample.masks.x).all()
    with np.load(folder / "000012.flow.npz") as file:
        assert (file["flow"] == sample.flow).all()
        assert file["flow"].any()
    clip = Clip.read(folder / "000012.mp4")
    assert clip.frames.shape == (6, 32, 48, 3)
    assert clip.fps == 12.0
    assert np.abs(clip.frames.astype(float) - sample.clip.frames).mean() < 8
    described = json.loads((folder / WORLD).read_text())
    assert described == {"name": "shapes", **world().options}
    with Image.open(folder / SHEET) as sheet:
        assert np.ptp(np.asarray(sheet)) > 200


def test_what_is_out_of_the_frame_has_no_box(tmp_path):
    zooming = Shapes(
        seed=0, split="all", num_frames=25, height=32, width=32, fps=12.0, level=2, camera="zoom"
    )
    write_folder(zooming, range(6), tmp_path)
    told = [box for entry in read_metadata(tmp_path) for boxes in entry["boxes"] for box in boxes]
    assert [None] * 4 in told
    boxes = np.concatenate([zooming.sample(i).boxes.xyxy.reshape(-1, 4) for i in range(6)])
    np.testing.assert_allclose(np.array(told, float), boxes, atol=6e-4)


def test_finished_clips_are_skipped(tmp_path):
    write_folder(world(), [0, 1], tmp_path)
    before = (tmp_path / "000000.mp4").stat().st_mtime_ns
    assert write_folder(world(), [0, 1, 2, 2], tmp_path) == 1
    assert (tmp_path / "000000.mp4").stat().st_mtime_ns == before
    assert [entry["index"] for entry in read_metadata(tmp_path)] == [0, 1, 2]


def test_a_killed_run_goes_on_to_the_same_files(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    write_folder(world(), range(3), whole)
    write_folder(world(), range(2), killed)
    # Killed while the second line was written, and once a listed clip was lost.
    text = (killed / METADATA).read_text()
    (killed / METADATA).write_text(text[:-9])
    (killed / SHEET).unlink()
    assert write_folder(world(), range(3), killed) == 2
    (killed / "000002.mp4").unlink()
    assert write_folder(world(), range(3), killed) == 1
    assert contents(killed) == contents(whole)


def test_an_interrupted_run_keeps_what_is_finished(tmp_path):
    def indices():
        yield from (0, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(world(), indices(), tmp_path)
    assert [entry["index"] for entry in read_metadata(tmp_path)] == [0, 1]


def test_another_world_is_refused_unless_asked(tmp_path):
    write_folder(world(), [0, 1], tmp_path)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="another world"):
        write_folder(world(seed=6), [0], tmp_path)
    assert contents(tmp_path) == before
    assert write_folder(world(seed=6), [0], tmp_path, overwrite=True) == 1
    assert [entry["captions"] for entry in read_metadata(tmp_path)] == [
        list(world(seed=6).sample(0).captions)
    ]
    assert contents(tmp_path)["000001.mp4"] == before["000001.mp4"]


def test_foreign_files_are_left_alone_unless_asked(tmp_path):
    (tmp_path / "000000.mp4").write_text("mine")
    for _ in range(2):
        with pytest.raises(InputError, match="other files"):
            write_folder(world(), [0], tmp_path)
    assert contents(tmp_path) == {"000000.mp4": b"mine"}


def test_overwrite_draws_again(tmp_path):
    write_folder(world(), [0, 1], tmp_path)
    before = contents(tmp_path)
    (tmp_path / "000001.txt").write_text("spoiled")
    (tmp_path / METADATA).write_text(
        before[METADATA].decode().replace('"index": 1,', '"index": 7,')
    )
    assert write_folder(world(), [1], tmp_path, overwrite=True) == 1
    assert contents(tmp_path) == before


def test_broken_metadata_names_its_line(tmp_path):
    write_folder(world(), [0, 1], tmp_path)
    path = tmp_path / METADATA
    path.write_text("{" + path.read_text())
    with pytest.raises(InputError, match=r"metadata\.jsonl line 1 is not JSON"):
        write_folder(world(), [0], tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "clips").write_text("")
    with pytest.raises(InputError, match="clips"):
        write_folder(world(), [0], tmp_path / "clips")
