"""Folders of clips sorted by class: what is learned from, what is held out, what is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kinema.data.class_folder import (
    ClassClips,
    ClassFolder,
    annotated,
    check_files,
    listed,
    listed_once,
)
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from kinema.data.views import ClipFile, Views
from kinema.errors import InputError

VIEWS = Views(
    num_frames=2,
    stride=None,
    size=8,
    resize=8,
    interpolation="bilinear",
    clips=1,
    crops=1,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)
PLAIN = {"flip": 0.0, "crop_area": (1.0, 1.0)}


def fill(folder: Path, **counts: int) -> Path:
    """Pictures whose left half is black, with the number of the picture as the right one's gray."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            x = np.zeros((12, 16, 3), np.uint8)
            x[:, 8:] = 10 * number + 5
            Image.fromarray(x).save(folder / name / f"{number:02d}.png")
    return folder


def test_one_of_ten_files_of_a_class_is_held_out(tmp_path):
    folder = ClassFolder.read(fill(tmp_path, dog=20, cat=9))
    assert folder.classes == ("cat", "dog")
    assert [file.label for file in folder.held_out] == [1, 1]
    assert len(folder.train) == 27
    assert not set(folder.train) & set(folder.held_out)
    assert folder.described() == "29 files of 2 classes; 2 are held out"


def test_of_a_few_files_none_is_held_out(tmp_path):
    folder = ClassFolder.read(fill(tmp_path, dog=3, cat=2))
    assert folder.held_out == folder.train
    assert len(folder.files) == len(folder.names) == 5
    assert "none is held out" in folder.described()


def test_a_split_of_the_folder_counts(tmp_path):
    fill(tmp_path / "train", dog=3, cat=12)
    fill(tmp_path / "val", dog=2)
    folder = ClassFolder.read(tmp_path)
    assert (len(folder.train), len(folder.held_out)) == (15, 2)
    assert folder.names[0] == "train/cat/00.png"
    assert [entry.label for entry in annotated(tmp_path / "val")] == ["dog", "dog"]


@pytest.mark.parametrize("name", ["validation", "test"])
def test_what_is_held_out_may_be_called_otherwise(tmp_path, name):
    fill(tmp_path / "train", dog=3, cat=12)
    fill(tmp_path / name, dog=2)
    folder = ClassFolder.read(tmp_path)
    assert folder.classes == ("cat", "dog")
    assert [file.path.parent for file in folder.held_out] == [tmp_path / name / "dog"] * 2
    fill(tmp_path / "val", cat=1)
    assert [file.label for file in ClassFolder.read(tmp_path).held_out] == [0]


@pytest.mark.parametrize("name", ["train", "test", "Validation"])
def test_a_split_is_no_class(tmp_path, name):
    fill(tmp_path, dog=3, cat=2, **{name: 4})
    for read in (ClassFolder.read, annotated):
        with pytest.raises(InputError, match=f"{name} is called like a split, not like a class"):
            read(tmp_path)


def test_samples_go_through_all_files_in_an_order_of_each_time(tmp_path):
    folder = ClassFolder.read(fill(tmp_path, dog=4, cat=5))
    clips = ClassClips(folder.train, VIEWS, seed=0, **PLAIN)
    order = [clips._file(sample) for sample in range(18)]
    assert set(order[:9]) == set(order[9:]) == set(folder.train)
    assert order[:9] != order[9:]
    unseen = ClassClips(folder.train, VIEWS, seed=None, **PLAIN)
    looked = [unseen._file(sample) for sample in range(9)]
    assert set(looked) == set(folder.train)
    assert {file.label for file in looked[:3]} == {0, 1}


def test_batches_are_clips_and_classes_and_rows_stand_alone(tmp_path):
    folder = ClassFolder.read(fill(tmp_path, dog=4, cat=5))
    clips = ClassClips(folder.train, VIEWS, seed=0, flip=0.5, crop_area=(0.3, 1.0))
    batch = clips((3, 4, 5))
    assert batch["clips"].shape == (3, 3, 2, 8, 8)
    assert batch["classes"].dtype == torch.int64
    assert torch.equal(clips((4,))["clips"][0], batch["clips"][1])


def test_a_share_is_mirrored(tmp_path):
    folder = ClassFolder.read(fill(tmp_path, dog=4, cat=5))
    clips = ClassClips(folder.train, VIEWS, seed=0, flip=0.5, crop_area=(1.0, 1.0))
    x = clips(tuple(range(40)))["clips"]
    mirrored = x[..., 0].mean((1, 2, 3)) > x[..., -1].mean((1, 2, 3))
    assert 10 < int(mirrored.sum()) < 30
    plain = ClassClips(folder.train, VIEWS, seed=0, **PLAIN)(tuple(range(40)))["clips"]
    assert (plain[..., 0] < plain[..., -1]).all()


def test_boxes_lie_in_the_frame_and_have_their_area(tmp_path):
    folder = ClassFolder.read(fill(tmp_path, dog=2, cat=2))
    clips = ClassClips(folder.train, VIEWS, seed=0, flip=0.0, crop_area=(0.2, 0.6))
    for share, aspect, place in [(0, 0, (0, 0)), (1, 0.5, (1, 1)), (0.5, 1, (0.5, 0.2))]:
        left, top, right, bottom = clips._box(100, 160, share, aspect, place)
        assert 0 <= left < right <= 160
        assert 0 <= top < bottom <= 100
        area = (right - left) * (bottom - top) / 16_000
        assert area == pytest.approx(0.2 + 0.4 * share, abs=0.02)


def test_a_file_is_looked_through_for_its_length_once(tmp_path, monkeypatch):
    looked = []

    def counted(path):
        looked.append(path)
        return ClipFile(path, 1)

    folder = ClassFolder.read(fill(tmp_path, dog=2, cat=2))
    clips = ClassClips(folder.train, VIEWS, seed=0, **PLAIN)
    monkeypatch.setattr(ClipFile, "given", counted)
    clips(tuple(range(12)))
    assert sorted(looked) == [file.path for file in folder.train]


def test_a_folder_is_listed_once_in_a_block(tmp_path):
    fill(tmp_path, dog=2, cat=2)
    looked = []

    def read(folder):
        looked.append(folder)
        return len(list(folder.iterdir()))

    with listed_once():
        assert listed(read, tmp_path) == listed(read, str(tmp_path)) == 2
        assert ClassFolder.read(tmp_path) is ClassFolder.read(str(tmp_path))
    assert looked == [tmp_path]
    assert listed(read, tmp_path) == 2
    assert looked == [tmp_path] * 2


def test_what_is_no_class_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="there are 1"):
        ClassFolder.read(fill(tmp_path / "one", dog=3))
    (fill(tmp_path / "two", dog=3, cat=2) / "cow").mkdir()
    with pytest.raises(InputError, match="cow holds no clip"):
        ClassFolder.read(tmp_path / "two")
    fill(tmp_path / "three" / "train", dog=3, cat=3)
    fill(tmp_path / "three" / "val", cow=3)
    with pytest.raises(InputError, match="cow is a class that"):
        ClassFolder.read(tmp_path / "three")
    with pytest.raises(InputError, match="a folder of clips for each class"):
        annotated(fill(tmp_path / "four"))


def test_files_that_cannot_be_read_are_counted(tmp_path):
    fill(tmp_path, dog=3, cat=2)
    for name in ("dog/01.png", "cat/00.png"):
        (tmp_path / name).write_bytes(b"none")
    with pytest.raises(InputError, match=r"cat/00\.png.*\(and 1 other files\)"):
        check_files(ClassFolder.read(tmp_path))
