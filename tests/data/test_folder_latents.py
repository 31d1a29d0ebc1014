"""Latents of a folder: cut, encoded once, read by bucket."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_media_folder import clip, picture
from torch import Tensor

from kinema.clip import Clip
from kinema.data import folder_latents
from kinema.data.buckets import Bucket, Shaper
from kinema.data.folder_latents import FolderLatents, Planned
from kinema.data.media_folder import Captioned, inspect
from kinema.errors import InputError

SHAPER = Shaper(Bucket(9, 32, 32), (4, 16, 16))
FPS = 12.0


class Encoding:
    """A codec whose latents are the means of 4 x 16 x 16 pixels, and that counts its clips."""

    def __init__(self) -> None:
        self.clips: list[Tensor] = []

    def __call__(self, x: Tensor, number: int) -> dict[str, Tensor]:
        self.clips.append(x)
        latents = torch.nn.functional.avg_pool3d(x, (1, 16, 16))[:, ::4]
        return {"latents": latents, "number": torch.tensor(number)}


def planned(path: Path, *, said: str = "a clip", codec: str = "c0dec", stills: int = 0) -> Planned:
    media = inspect(Captioned(path, path.name, (said, "it")), fps=FPS, shortest=SHAPER.shortest)
    return folder_latents.plan(media, SHAPER, codec=codec, fps=FPS, stills=stills)


def write(folder: Path, files: list[Planned]) -> tuple[Encoding, list[str]]:
    encode = Encoding()
    faults = folder_latents.write(folder, files, fps=FPS, encode=encode)
    folder_latents.write_index(folder, files, codec="c0dec", fps=FPS)
    return encode, faults


def read(folder: Path, *, batch_size: int = 2, seed: int = 0) -> FolderLatents:
    return FolderLatents(folder, codec="c0dec", batch_size=batch_size, seed=seed)


@pytest.fixture
def files(tmp_path: Path) -> list[Planned]:
    """Two clips of 9 x 32 x 32, one that gives two windows of another shape, and a picture."""
    return [
        planned(clip(tmp_path / "a.mp4", 9, (40, 40)), said="a"),
        planned(clip(tmp_path / "b.mp4", 10, (40, 40)), said="b"),
        planned(clip(tmp_path / "long.mp4", 20, (80, 20)), said="long"),
        planned(picture(tmp_path / "still.png"), said="still"),
    ]


def test_windows_are_what_a_reader_of_the_file_sees(tmp_path: Path, files: list[Planned]) -> None:
    assert [str(file.bucket) for file in files] == [
        "9 x 32 x 32",
        "9 x 32 x 32",
        "9 x 64 x 16",
        "1 x 32 x 32",
    ]
    assert [file.starts for file in files] == [(0,), (0,), (0, 11), (0,)]
    encode, faults = write(tmp_path / "latents", files)
    assert faults == []
    whole = Clip.read(tmp_path / "long.mp4", fps=FPS, size=(64, 16)).to_float()
    for window, start in zip(encode.clips[2:4], files[2].starts):
        assert torch.equal(window, torch.from_numpy(whole[:, start : start + 9]))
    assert encode.clips[4].shape == (3, 1, 32, 32)


def test_what_is_encoded_stays(tmp_path: Path, files: list[Planned]) -> None:
    assert len(write(tmp_path / "latents", files)[0].clips) == 5
    assert write(tmp_path / "latents", files)[0].clips == []
    broken = tmp_path / "latents" / files[2].latents
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(InputError, match=r"lacks the latents of long\.mp4"):
        read(tmp_path / "latents")
    assert len(write(tmp_path / "latents", files)[0].clips) == 2
    (tmp_path / "new").mkdir()
    renamed = (tmp_path / "a.mp4").rename(tmp_path / "new" / "name.mp4")
    assert planned(renamed, said="other words").latents == files[0].latents
    assert planned(renamed, codec="other").latents != files[0].latents
    assert planned(renamed, stills=3).latents != files[0].latents
    assert planned(clip(tmp_path / "a.mp4", 9, (48, 48))).latents != files[0].latents


def test_a_batch_holds_one_bucket(tmp_path: Path, files: list[Planned]) -> None:
    write(tmp_path / "latents", files)
    source = read(tmp_path / "latents")
    assert {str(bucket): len(rows) for bucket, rows in source.buckets.items()} == {
        "1 x 32 x 32": 1,
        "9 x 32 x 32": 2,
        "9 x 64 x 16": 2,
    }
    shapes = {"still": (3, 1, 2, 2), "a": (3, 3, 2, 2), "b": (3, 3, 2, 2), "long": (3, 3, 4, 1)}
    seen, numbers = [], set()
    for step in range(5):
        batch = source((2 * step, 2 * step + 1))
        assert batch["fps"] == FPS
        assert batch["latents"].dtype == torch.float32
        for latents, captions in zip(batch["latents"], batch["captions"]):
            assert latents.shape == shapes[captions[0]]
            assert captions == (captions[0], "it")
            seen.append(captions[0])
        numbers.update(batch["number"].tolist())
    first = {file.number for file in files}
    assert numbers == first | {files[2].number + 1}
    assert sorted(seen) == sorted(2 * ["a", "b", "long", "long", "still"])


def test_equal_indices_give_equal_batches(tmp_path: Path, files: list[Planned]) -> None:
    write(tmp_path / "latents", files)
    one, two = read(tmp_path / "latents"), read(tmp_path / "latents")
    for step in (3, 1, 0):
        samples = (2 * step, 2 * step + 1)
        assert torch.equal(one(samples)["latents"], two(samples)["latents"])


def test_one_of_twenty_is_held_out_where_there_are_so_many(tmp_path: Path) -> None:
    many = [planned(clip(tmp_path / f"{i:02d}.mp4", 5 + i // 40)) for i in range(40)]
    write(tmp_path / "latents", many)
    source = read(tmp_path / "latents", batch_size=5)
    unseen = {entry["name"] for entry in source.unseen}
    assert len(unseen) == 2
    (rows,) = source.buckets.values()
    assert {entry["name"] for entry, _ in rows} == {f"{i:02d}.mp4" for i in range(40)} - unseen
    assert len(source.held_out(5)["captions"]) == 5


def test_of_few_none_is_held_out(tmp_path: Path, files: list[Planned]) -> None:
    write(tmp_path / "latents", files)
    source = read(tmp_path / "latents")
    assert source.unseen == []
    captions = [said[0] for said in source.held_out(5)["captions"]]
    assert captions == ["a", "b", "a", "b", "a"]


def test_a_file_that_breaks_on_the_way_is_told(tmp_path: Path, files: list[Planned]) -> None:
    path = clip(tmp_path / "damaged.mp4", 60, (64, 64))
    content = bytearray(path.read_bytes())
    media, end = content.index(b"mdat"), len(content)
    assert media > content.index(b"moov"), "the index comes first and stays whole"
    content[(media + end) // 2 :] = bytes(end - (media + end) // 2)
    path.write_bytes(content)
    encode, faults = write(tmp_path / "latents", [planned(path), files[0]])
    (fault,) = faults
    assert str(path) in fault
    assert torch.equal(encode.clips[-1], write(tmp_path / "other", files[:1])[0].clips[0])


def test_latents_of_another_codec_or_of_nothing_are_refused(
    tmp_path: Path, files: list[Planned]
) -> None:
    write(tmp_path / "latents", files)
    with pytest.raises(InputError, match="come from codec c0dec, not other"):
        FolderLatents(tmp_path / "latents", codec="other", batch_size=2, seed=0)
    assert not folder_latents.is_written(tmp_path)
    with pytest.raises(InputError, match="holds no latents of clips"):
        read(tmp_path)


def test_changes_of_the_folder_are_found(tmp_path: Path, files: list[Planned]) -> None:
    write(tmp_path / "latents", files)
    folder = tmp_path / "latents"
    assert folder_latents.difference(folder, files) == ""
    assert folder_latents.difference(folder, files[1:]) == "a.mp4 is gone"
    new = planned(clip(tmp_path / "c.mp4", 9))
    assert folder_latents.difference(folder, [*files, new]) == "c.mp4 is new"
    other = planned(tmp_path / "b.mp4", said="not b")
    changed = [files[0], other, *files[2:]]
    assert folder_latents.difference(folder, changed) == "b.mp4 changed"
