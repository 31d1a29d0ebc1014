"""Frames by number: exactly those of a full decode, whatever container, order or timing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_videos import make_video, number

from kinema.errors import InputError
from kinema.media import probe, read_clip, read_frames, stream
from kinema.media.pixels import to_rgb

GOP = "keyint=12:min-keyint=12:scenecut=0:bframes=3:b-adapt=0"
OPEN = {"x264-params": f"{GOP}:open-gop=1"}
CLOSED = {"x264-params": GOP}


def jitter(i: int) -> int:
    return 40 * i + 13 * (i % 3)


def late(i: int) -> int:
    return 5000 + 42 * i


FILES: dict[str, dict[str, Any]] = {
    "closed.mp4": {"options": CLOSED},
    "open.mp4": {"options": OPEN},
    "open.mkv": {"options": OPEN},
    "open.ts": {"options": OPEN},
    "open.mov": {"options": OPEN},
    "fragments.mp4": {"options": CLOSED, "muxing": {"movflags": "frag_keyframe+empty_moov"}},
    "variable.mp4": {"options": CLOSED, "milliseconds": jitter},
    "variable.mkv": {"options": OPEN, "milliseconds": jitter},
    "late.mkv": {"options": CLOSED, "milliseconds": late},
    "late.mp4": {"options": OPEN, "milliseconds": late},
    "early.mp4": {"options": CLOSED, "milliseconds": lambda i: 42 * i - 200},
    "refresh.mkv": {"options": {"x264-params": "keyint=12:intra-refresh=1:bframes=0"}},
    "h264.avi": {"options": CLOSED},
    "mpeg4.avi": {"codec": "mpeg4", "max_b_frames": 2},
    "mpeg2.mpg": {"codec": "mpeg2video", "max_b_frames": 2},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "flv1.flv": {"codec": "flv1"},
    "raw.h264": {"options": CLOSED},
    "palette.gif": {"codec": "gif", "pixels": "rgb8", "fps": 10},
    "apng.apng": {"codec": "apng", "pixels": "rgb24"},
}


def full_decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [to_rgb(frame) for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", FILES)
def test_any_frame_equals_the_full_decode(name: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / name, **FILES[name])
    every = full_decode(path)
    assert probe(path).num_frames == len(every)
    picks = np.random.default_rng(5).integers(0, len(every), 8)
    for some in ([len(every) - 1], [len(every) // 2], picks, picks[::-1], range(len(every))):
        found = read_frames(path, some)
        assert [number(x) for x in found] == [number(every[i]) for i in some]
        np.testing.assert_array_equal(found, [every[i] for i in some])
    if not name.startswith("early"):
        assert [number(x) for x in every] == list(range(60))


def test_the_middle_of_a_broadcast_starts_at_its_first_keyframe(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.ts", options=OPEN, num_frames=90).read_bytes()
    path = tmp_path / "tuned_in.ts"
    path.write_bytes(whole[len(whole) // 3 // 188 * 188 :])
    every = full_decode(path)
    assert number(every[0]) > 0
    np.testing.assert_array_equal(read_frames(path, range(len(every))), every)


@pytest.mark.parametrize("name", ["closed.mp4", "open.mkv", "open.ts", "late.mkv", "mpeg4.avi"])
def test_ranges_are_parts_of_the_whole(name: str, tmp_path: Path) -> None:
    path = make_video(tmp_path / name, **FILES[name])
    every = read_clip(path)
    for first, last in ((0, 5), (11, 14), (23, 60), (47, 48)):
        start, stop = first / every.fps, last / every.fps
        part = read_clip(path, start_seconds=start, stop_seconds=stop)
        assert [number(x) for x in part.frames] == list(range(first, last))
        assert part.fps == pytest.approx(every.fps, rel=0.01)


def test_streams_give_what_clips_hold(video: Path) -> None:
    options: dict[str, Any] = {
        "start_seconds": 0.4,
        "stop_seconds": 2.0,
        "fps": 10.0,
        "size": (30, 50),
    }
    clip = read_clip(video, **options)
    assert clip.frames.shape == (16, 30, 50, 3)
    np.testing.assert_array_equal(clip.frames, list(stream(video, **options)))


def test_resampling_shows_the_frame_that_is_on_screen(video: Path) -> None:
    for fps, expected in (
        (12.0, range(0, 60, 2)),
        (48.0, np.repeat(range(60), 2)),
        (24.0, range(60)),
    ):
        shown = [number(x) for x in read_clip(video, fps=fps).frames]
        assert shown == list(expected)


def test_a_variable_rate_keeps_its_timing(tmp_path: Path) -> None:
    slow_then_fast = make_video(
        tmp_path / "v.mkv", milliseconds=lambda i: 100 * i if i < 20 else 1900 + 25 * (i - 19)
    )
    info = probe(slow_then_fast)
    assert info.variable_rate
    clip = read_clip(slow_then_fast)
    assert clip.fps == info.fps
    at = [number(clip.frames[round(t * clip.fps)]) for t in (0.5, 1.0, 1.5, 2.4)]
    assert np.abs(np.subtract(at, [5, 10, 15, 39])).max() <= 1
    assert not probe(make_video(tmp_path / "c.mkv", fps=60)).variable_rate


def test_a_range_within_a_frame_that_is_held_for_long(tmp_path: Path) -> None:
    for name in ("v.mp4", "v.mkv"):
        path = make_video(
            tmp_path / name, options=CLOSED, milliseconds=lambda i: 40 * i + 9000 * (i > 30)
        )
        clip = read_clip(path, start_seconds=3.0, stop_seconds=4.0, fps=8.0)
        assert [number(x) for x in clip.frames] == [30] * 8
        clip = read_clip(path, start_seconds=10.0, stop_seconds=10.5, fps=25.0)
        assert number(clip.frames[0]) == 30
        assert number(clip.frames[-1]) == 37


def test_a_range_after_the_last_frame_appeared(video: Path) -> None:
    clip = read_clip(video, start_seconds=59 / 24, fps=96.0)
    assert [number(x) for x in clip.frames] == [59] * 4


def test_sound_and_pictures_share_a_clock(tmp_path: Path) -> None:
    """Pictures that begin half a second after the sound: the clip begins with the pictures."""
    path = make_video(tmp_path / "v.mkv", milliseconds=lambda i: 500 + 42 * i, hertz=440)
    sound = read_clip(path).sound
    assert sound is not None
    assert sound.seconds == pytest.approx(2.5, abs=0.05)
    assert np.abs(sound.x[0, : sound.sample_rate_hz]).max() > 0.4
    silent_from = 2.0 + 0.05  # the sound lasts 2.5 seconds, 0.5 of them before the pictures
    assert np.abs(sound.part(silent_from, sound.seconds).x).max() < 0.02


def test_numbers_that_do_not_exist_are_refused(video: Path) -> None:
    with pytest.raises(InputError, match="has 60 frames; frame 60 is beyond"):
        read_frames(video, [3, 60])
    for bad in ([], [-1]):
        with pytest.raises(InputError, match="0 or more"):
            read_frames(video, bad)
    with pytest.raises(InputError, match=r"lasts 2\.50 seconds"):
        read_clip(video, start_seconds=2.5)
    for start, stop in ((1.0, 1.0), (-1.0, 1.0), (math.nan, 1.0)):
        with pytest.raises(InputError, match="range"):
            read_clip(video, start_seconds=start, stop_seconds=stop)
    for fps in (0.0, -3.0, math.nan, 1e9):
        with pytest.raises(InputError, match="fps must be"):
            read_clip(video, fps=fps)
    with pytest.raises(InputError, match="at least 1x1"):
        read_clip(video, size=(0, 4))
