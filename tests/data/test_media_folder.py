"""Folders of captioned clips as people have them, and what is said of files that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinema.clip import Clip
from kinema.data.media_folder import (
    Captioned,
    content_digest,
    inspect,
    is_media_folder,
    read_folder,
)
from kinema.errors import InputError


def clip(path: Path, num_frames: int = 12, size: tuple[int, int] = (32, 48)) -> Path:
    """A clip at 12 fps whose frames differ."""
    levels = np.linspace(0, 255, num_frames).astype(np.uint8)
    frames = np.broadcast_to(levels[:, None, None, None], (num_frames, *size, 3)).copy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Clip(frames, 12.0).write(path)
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 30, 3), 99, np.uint8)).save(path)
    return path


def test_captions_lie_beside_the_files_in_any_folder(tmp_path: Path) -> None:
    clip(tmp_path / "b" / "one.mp4")
    (tmp_path / "b" / "one.txt").write_text("a red\n  ball \n")
    for ending in ("png", "JPG", "webp"):
        picture(tmp_path / f"still.{ending}")
    (tmp_path / "still.txt").write_text("a gray page")
    (tmp_path / "notes.md").write_text("not data")
    picture(tmp_path / ".hidden" / "x.png")
    picture(tmp_path / "._still.png")
    files, faults = read_folder(tmp_path, captioned=True)
    assert faults == []
    assert [(file.name, file.captions) for file in files] == [
        ("b/one.mp4", ("a red ball",)),
        ("still.JPG", ("a gray page",)),
        ("still.png", ("a gray page",)),
        ("still.webp", ("a gray page",)),
    ]
    assert files[0].path == tmp_path / "b" / "one.mp4"


def test_metadata_speaks_for_all_below_it(tmp_path: Path) -> None:
    clip(tmp_path / "set" / "deep" / "one.mp4")
    clip(tmp_path / "set" / "two.mp4")
    picture(tmp_path / "set" / "unlisted.png")
    picture(tmp_path / "beside.png")
    (tmp_path / "beside.txt").write_text("beside")
    lines = (
        {"file_name": "deep/one.mp4", "text": "one", "other": 3},
        {"file_name": "two.mp4", "captions": ["two", "  second  clip ", ""]},
    )
    (tmp_path / "set" / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    (tmp_path / "set" / "deep" / "metadata.jsonl").write_text("not read")
    files, faults = read_folder(tmp_path, captioned=True)
    assert faults == []
    assert [(file.name, file.captions) for file in files] == [
        ("beside.png", ("beside",)),
        ("set/deep/one.mp4", ("one",)),
        ("set/two.mp4", ("two", "second clip")),
    ]


def test_every_bad_file_has_its_line(tmp_path: Path) -> None:
    for name in ("bare.mp4", "blank.mp4", "latin.mp4"):
        clip(tmp_path / name)
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    lines = (
        "{",
        "[]",
        '{"text": "no name"}',
        '{"file_name": "gone.mp4", "text": "gone"}',
        '{"file_name": "a.png"}',
        '{"file_name": "a.png", "text": "a"}',
        '{"file_name": "a.png", "text": "again"}',
        '{"file_name": "metadata.jsonl", "text": "me"}',
    )
    picture(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "metadata.jsonl").write_text("\n".join(lines))
    files, faults = read_folder(tmp_path, captioned=True)
    assert [file.name for file in files] == ["set/a.png"]
    listed = tmp_path / "set" / "metadata.jsonl"
    assert faults == [
        f"{listed} line 1 is no JSON; mend or delete it",
        f"{listed} line 2 has no file_name; name the clip that it speaks of",
        f"{listed} line 3 has no file_name; name the clip that it speaks of",
        f"{listed} line 4 names 'gone.mp4', which is no clip or picture beside it",
        f"{listed} line 5 has no text; say what a.png shows",
        f"{listed} line 7 lists a.png again; keep one of the lines",
        f"{listed} line 8 names 'metadata.jsonl', which is no clip or picture beside it",
        f"{tmp_path / 'bare.mp4'} has no caption; write it to bare.txt beside it",
        f"{tmp_path / 'blank.txt'} holds no UTF-8 text; write what blank.mp4 shows",
        f"{tmp_path / 'latin.txt'} holds no UTF-8 text; write what latin.mp4 shows",
    ]


@pytest.mark.parametrize("place", ["{}/out.png", "../out.png", "deep/../../out.png"])
def test_metadata_names_nothing_outside_its_folder(tmp_path: Path, place: str) -> None:
    picture(tmp_path / "out.png")
    picture(tmp_path / "set" / "deep" / "in.png")
    named = place.format(tmp_path)
    lines = ({"file_name": named, "text": "out"}, {"file_name": "deep/in.png", "text": "in"})
    listed = tmp_path / "set" / "metadata.jsonl"
    listed.write_text("\n".join(map(json.dumps, lines)))
    files, faults = read_folder(tmp_path / "set", captioned=True)
    assert [file.name for file in files] == ["deep/in.png"]
    assert faults == [f"{listed} line 1 names {named!r}, which leads out of the folder; move it in"]


def test_what_is_no_folder_of_clips_is_told_apart(tmp_path: Path) -> None:
    assert not is_media_folder(tmp_path)
    assert not is_media_folder(tmp_path / "missing")
    with pytest.raises(InputError, match=r"holds no \.mp4"):
        read_folder(tmp_path, captioned=True)
    with pytest.raises(InputError, match="there is no folder"):
        read_folder(tmp_path / "missing", captioned=True)
    path = picture(tmp_path / "deep" / "er" / "a.png")
    assert is_media_folder(tmp_path)
    assert not is_media_folder(path)


def test_frames_are_counted_at_the_rate_of_the_model(tmp_path: Path) -> None:
    file = Captioned(clip(tmp_path / "a.mp4", 25), "a.mp4", ("a",))
    at = {fps: inspect(file, fps=fps, shortest=2) for fps in (12.0, 6.0, 24.0)}
    assert {fps: media.num_frames for fps, media in at.items()} == {12.0: 25, 6.0: 13, 24.0: 50}
    assert (at[12.0].height, at[12.0].width) == (32, 48)
    still = Captioned(picture(tmp_path / "a.png"), "a.png", ("a",))
    media = inspect(still, fps=12.0, shortest=9)
    assert (media.num_frames, media.height, media.width) == (1, 20, 30)
    for fps, count in ((12.0, 25), (6.0, 13)):
        read = Clip.read(file.path, fps=fps)
        assert read.num_frames == count


def test_files_that_cannot_be_trained_on_are_named(tmp_path: Path) -> None:
    short = Captioned(clip(tmp_path / "short.mp4", 4), "short.mp4", ("a",))
    said = r"short\.mp4 has 4 frames at 12 fps; this model learns from 9 \(0\.75 seconds\) or more"
    with pytest.raises(InputError, match=said):
        inspect(short, fps=12.0, shortest=9)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(short.path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"broken\.mp4"):
        inspect(Captioned(broken, "broken.mp4", ("a",)), fps=12.0, shortest=2)


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    assert content_digest(one) == content_digest(two)
    two.write_bytes(b"other")
    assert content_digest(one) != content_digest(two)
