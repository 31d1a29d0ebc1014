"""Files that are missing, foreign or broken: one clear line, no traceback, never fewer frames."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_videos import make_video, number, numbered
from PIL import Image

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.media import probe, read_clip, read_frames, read_sound, write_wav
from kinema.sample import Sound

CONTAINERS: dict[str, dict[str, Any]] = {
    "front.mp4": {"muxing": {"movflags": "faststart"}, "hertz": 440},
    "back.mp4": {"hertz": 440},
    "silent.mp4": {"muxing": {"movflags": "faststart"}},
    "m.mkv": {"hertz": 440},
    "silent.mkv": {},
    "w.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "a.avi": {"codec": "mpeg4"},
    "g.gif": {"codec": "gif", "pixels": "rgb8", "fps": 10},
}


def outcome(read: Callable[[Path], Any], path: Path) -> Any:
    """What `read` gives, or the line that it refuses with; any other error escapes."""
    try:
        return read(path)
    except InputError as error:
        line = str(error)
    assert str(path) in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_file_cut_anywhere_is_refused_or_whole(name: str, tmp_path: Path) -> None:
    whole = make_video(tmp_path / name, num_frames=30, **CONTAINERS[name])
    data, expected = whole.read_bytes(), read_clip(whole)
    path = tmp_path / f"cut_{name}"
    lengths = [*np.linspace(1, len(data) - 1, 25).astype(int), *(len(data) - np.arange(1, 40, 9))]
    refused = 0
    for length in lengths:
        path.write_bytes(data[:length])
        found = outcome(read_clip, path)
        if isinstance(found, Clip):
            np.testing.assert_array_equal(found.frames, expected.frames)
        refused += isinstance(found, str)
    assert refused >= 15


@pytest.mark.parametrize("name", ["silent.mp4", "silent.mkv"])
def test_the_whole_part_of_a_cut_file_can_be_read(name: str, tmp_path: Path) -> None:
    whole = make_video(tmp_path / name, **CONTAINERS[name])
    path = tmp_path / f"cut_{name}"
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    with pytest.raises(InputError, match=r"cut short after \d\.\d\d seconds") as caught:
        read_clip(path)
    with pytest.raises(InputError, match="cut short"):
        probe(path)
    seconds = float(str(caught.value).split("first ")[1].split()[0])
    assert seconds > 0.3
    clip = read_clip(path, stop_seconds=seconds - 0.01)
    assert [number(x) for x in clip.frames] == list(range(clip.num_frames))
    assert clip.num_frames == round(seconds * 24)
    with pytest.raises(InputError, match="cut short"):
        read_frames(path, [59])


def test_cut_pictures_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    for ending in ("png", "jpg"):
        path = tmp_path / f"p.{ending}"
        Image.fromarray(noise).save(path)
        data = path.read_bytes()
        for part in (0.2, 0.5, 0.9):
            path.write_bytes(data[: int(part * len(data))])
            with pytest.raises(InputError, match=path.name):
                read_clip(path)


def test_broken_bytes_never_give_a_traceback(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    for name in ("front.mp4", "m.mkv", "a.avi", "g.gif", "w.webm"):
        data = make_video(tmp_path / name, num_frames=8, **CONTAINERS[name]).read_bytes()
        path = tmp_path / f"broken_{name}"
        for _ in range(25):
            broken = np.frombuffer(data, np.uint8).copy()
            places = rng.integers(0, len(broken), rng.integers(1, 30))
            broken[places] = rng.integers(0, 256, len(places))
            path.write_bytes(broken)
            for read in (probe, read_clip, read_sound, lambda p: read_frames(p, [0, 5])):
                outcome(read, path)


def test_what_is_no_video_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 40)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nempty.mp4\n#EXT-X-ENDLIST\n")
    (tmp_path / "folder.mp4").mkdir()
    write_wav(tmp_path / "sound.mp4", Sound(np.zeros((1, 4000), np.float32), 8000), overwrite=False)
    os.mkfifo(tmp_path / "pipe.mp4")
    expected = {
        "missing.mp4": "does not exist",
        "empty.mp4": "is empty",
        "text.mp4": "is not a video",
        "noise.mp4": "is not a video",
        "list.m3u8": "list",
        "folder.mp4": "is a folder",
        "sound.mp4": "has no pictures, only sound",
        "pipe.mp4": "is not a regular file",
    }
    for name, line in expected.items():
        for read in (probe, read_clip, Clip.read, lambda p: read_frames(p, [0])):
            with pytest.raises(InputError, match=line) as caught:
                read(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)


def test_a_file_without_frames_says_so(tmp_path: Path) -> None:
    import av

    for name in ("none.mp4", "none.mkv", "none.avi"):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("mpeg4", rate=24)
            stream.width, stream.height = 96, 64
            container.start_encoding()
        for read in (probe, read_clip):
            with pytest.raises(InputError, match=name):
                read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_an_unreadable_file_says_so(video: Path, tmp_path: Path) -> None:
    path = tmp_path / "locked.mp4"
    path.write_bytes(video.read_bytes())
    path.chmod(0)
    with pytest.raises(InputError, match="check its permissions"):
        probe(path)


def test_the_name_of_the_file_does_not_matter(tmp_path: Path) -> None:
    data = make_video(tmp_path / "v.mp4", num_frames=3).read_bytes()
    for name in ("a:b.mp4", "http:x", "no ending", "v.jpg", "*.mp4"):
        (tmp_path / name).write_bytes(data)
        assert read_clip(tmp_path / name).num_frames == 3
    Image.fromarray(numbered(5)).save(tmp_path / "picture.png")
    (tmp_path / "picture.mp4").write_bytes((tmp_path / "picture.png").read_bytes())
    assert number(read_clip(tmp_path / "picture.mp4").frames[0]) == 5
