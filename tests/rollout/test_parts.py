"""Windows on disk: nothing is lost, nothing mixed, and what is damaged is made again."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.rollout.parts import Parts

SETTINGS = {"seed": 1, "story": [("a", 1.0)]}
LENGTHS = (5, 4, 4, 4)  # frames of each window


def clip(first: int, count: int) -> Clip:
    """Frame i has the level i; no codec would keep the noise in it."""
    noise = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) % 7
    levels = np.arange(first, first + count, dtype=np.uint8)[:, None, None, None]
    return Clip(levels + noise, 12.0)


def opened(
    folder: Path, *, seed: int = 1, lengths: Sequence[int] = LENGTHS, overwrite: bool = False
) -> Parts:
    settings = {**SETTINGS, "seed": seed}
    return Parts(folder, settings, fps=12.0, lengths=lengths, overwrite=overwrite)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Windows of 5, 4 and 4 frames; the last one is missing."""
    parts = opened(tmp_path / "a.parts")
    for first, count in ((0, 5), (5, 4), (9, 4)):
        parts.add(clip(first, count))
    return parts.folder


def test_frames_come_back_as_they_were(folder: Path) -> None:
    parts = opened(folder)
    assert parts.count == 3
    assert [len(frames) for frames in parts] == [5, 4, 4]
    assert (np.concatenate(list(parts)) == clip(0, 13).frames).all()


@pytest.mark.parametrize("count", [1, 4, 6, 13, 99])
def test_the_last_frames_are_taken_from_as_many_windows_as_it_needs(
    folder: Path, count: int
) -> None:
    last = opened(folder).last(count)
    assert last is not None
    assert (last.frames == clip(0, 13).frames[-count:]).all()


def test_before_the_first_window_there_is_nothing(tmp_path: Path) -> None:
    parts = opened(tmp_path / "none.parts")
    assert (parts.count, parts.last(5), list(parts)) == (0, None, [])
    assert not parts.folder.exists()


def test_other_windows_are_kept_unless_they_may_be_replaced(folder: Path) -> None:
    with pytest.raises(InputError, match="another story: another seed; pass --overwrite"):
        opened(folder, seed=2)
    assert opened(folder).count == 3
    assert opened(folder, seed=2, overwrite=True).count == 0
    assert list(folder.iterdir()) == []


def test_the_same_windows_are_kept_although_they_may_be_replaced(folder: Path) -> None:
    assert opened(folder, overwrite=True).count == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "nothing tells which"),
        ("{", "cannot be read"),
        ("1", "cannot"),
        ("[" * 9999, "cannot be read"),
    ],
)
def test_windows_of_unknown_making_are_not_used(
    folder: Path, content: str | None, said: str
) -> None:
    file = folder / "story.json"
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(InputError, match=said):
        opened(folder)


@pytest.mark.parametrize("cut", [0, 30, -1])
def test_a_damaged_window_ends_what_is_finished(folder: Path, cut: int) -> None:
    file = folder / "00001.npz"
    file.write_bytes(file.read_bytes()[:cut])
    parts = opened(folder)
    assert parts.count == 1
    parts.add(clip(5, 4))
    assert opened(folder).count == 3


def test_no_byte_of_a_window_changes_unseen(tmp_path: Path) -> None:
    parts = opened(tmp_path / "a.parts", lengths=(2,))
    parts.add(clip(0, 2))
    file = parts.folder / "00000.npz"
    whole, counts = file.read_bytes(), set()
    for place, byte in enumerate(whole):
        for bits in (0xFF, 1 << place % 8):
            file.write_bytes(whole[:place] + bytes([byte ^ bits]) + whole[place + 1 :])
            again = opened(parts.folder, lengths=(2,))
            counts.add(again.count)
            assert all(np.array_equal(frames, clip(0, 2).frames) for frames in again), place
    assert counts == {0, 1}  # a date in the archive is no part of the frames


FRAMES = clip(5, 4).frames


@pytest.mark.parametrize(
    "arrays",
    [
        {"frames": FRAMES.astype(np.float32)},
        {"frames": FRAMES[0]},
        {"frames": FRAMES[..., :1]},
        {"frames": FRAMES[:0]},
        {"frames": FRAMES[:3]},
        {"frames": np.concatenate([FRAMES, FRAMES])},
        {"frames": FRAMES[:, :2]},  # of another size than the window before it
        {"pictures": FRAMES},
        {"frames": np.array([{}], dtype=object)},
    ],
)
def test_whole_files_that_hold_something_else_are_no_windows(
    folder: Path, arrays: dict[str, np.ndarray]
) -> None:
    np.savez_compressed(folder / "00001.npz", **arrays)
    assert opened(folder).count == 1


def test_no_window_counts_beyond_the_last_of_the_story(folder: Path) -> None:
    parts = opened(folder, lengths=(5, 4))
    assert parts.count == 2
    assert (np.concatenate(list(parts)) == clip(0, 9).frames).all()
    last = parts.last(4)
    assert last is not None
    assert (last.frames == clip(5, 4).frames).all()


def test_a_file_of_another_kind_is_no_window(folder: Path) -> None:
    with (folder / "00001.npz").open("wb") as file:
        np.save(file, FRAMES)
    assert opened(folder).count == 1
    with (folder / "00001.npz").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (2**40, 4, 6, 3)}
        np.lib.format.write_array_header_1_0(file, header)
    assert opened(folder).count == 1


def test_a_full_disk_leaves_what_is_finished(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = opened(folder)

    def full(path: Path, **arrays: np.ndarray) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(InputError, match=r"00003\.npz: the disk is full; make room"):
        parts.add(clip(13, 4))
    monkeypatch.undo()
    assert sorted(file.name for file in folder.iterdir()) == [
        *("00000.npz", "00001.npz", "00002.npz"),
        "story.json",
    ]
    again = opened(folder)
    again.add(clip(13, 4))
    assert (np.concatenate(list(again)) == clip(0, 17).frames).all()


def test_only_our_files_are_removed(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "other.npz").write_text("mine")
    opened(folder).remove()
    assert sorted(file.name for file in folder.iterdir()) == ["notes.txt", "other.npz"]
