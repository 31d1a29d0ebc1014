"""Clips and the other samples."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinema.clip import Clip, frames_on_screen
from kinema.errors import InputError
from kinema.sample import Boxes, Masks, Sound, Text, Tracks


def ramp(num_frames: int = 8, fps: float = 4.0, height: int = 6, width: int = 10) -> Clip:
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    frames += np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    sound = Sound(np.arange(num_frames * 100, dtype=np.float32)[None] / 1000, int(100 * fps))
    return Clip(frames, fps, sound)


def shown(clip: Clip) -> list[int]:
    return clip.frames[:, 0, 0, 0].tolist()


def test_properties() -> None:
    clip = ramp()
    assert (clip.num_frames, clip.seconds, clip.size) == (8, 2.0, (6, 10))


@pytest.mark.parametrize(
    ("frames", "fps"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), 12.0),
        (np.zeros((4, 4, 3), np.uint8), 12.0),
        (np.zeros((2, 4, 4, 4), np.uint8), 12.0),
        (np.zeros((0, 4, 4, 3), np.uint8), 12.0),
        (np.zeros((2, 0, 4, 3), np.uint8), 12.0),
        ([[1]], 12.0),
        (np.zeros((2, 4, 4, 3), np.uint8), 0.0),
        (np.zeros((2, 4, 4, 3), np.uint8), math.nan),
        (np.zeros((2, 4, 4, 3), np.uint8), math.inf),
    ],
)
def test_what_is_no_clip_is_refused(frames: np.ndarray, fps: float) -> None:
    with pytest.raises(InputError):
        Clip(frames, fps)


def test_ranges_take_their_sound_along() -> None:
    part = ramp()[2:5]
    assert shown(part) == [2, 3, 4]
    assert part.sound is not None
    np.testing.assert_array_equal(part.sound.x[0], np.arange(200, 500, dtype=np.float32) / 1000)
    every_second = ramp()[1::2]
    assert shown(every_second) == [1, 3, 5, 7]
    assert every_second.fps == 2.0
    assert shown(ramp()[-1:]) == [7]
    for empty in (slice(5, 5), slice(9, 20), slice(None, None, -1)):
        with pytest.raises(InputError, match="are none"):
            ramp()[empty]


def test_resampling() -> None:
    clip = ramp()
    assert shown(clip.resampled(4.0)) == list(range(8))
    assert shown(clip.resampled(2.0)) == [0, 2, 4, 6]
    assert shown(clip.resampled(8.0)) == [i // 2 for i in range(16)]
    assert clip.resampled(3.0).seconds == 2.0
    assert clip.resampled(2.0).sound is clip.sound
    with pytest.raises(InputError, match="fps"):
        clip.resampled(0.0)


def test_sizes() -> None:
    clip = ramp(height=6, width=10)
    assert clip.resized(12, 5).size == (12, 5)
    assert shown(clip.resized(12, 5)) == list(range(8))
    gradient = Clip(np.arange(200, dtype=np.uint8)[None, :, None, None].repeat(3, -1).copy(), 1.0)
    halved = gradient.resized(100, 1).frames[0, :, 0, 0].astype(float)
    assert np.abs(halved - (2 * np.arange(100) + 0.5)).max() <= 1
    rows = np.arange(6, dtype=np.uint8)[None, :, None, None] * np.ones((1, 1, 10, 3), np.uint8)
    cropped = Clip(rows, 1.0).center_cropped(2, 4)
    assert cropped.frames.shape == (1, 2, 4, 3)
    assert cropped.frames[0, :, 0, 0].tolist() == [2, 3]
    with pytest.raises(InputError, match="resize it first"):
        clip.center_cropped(7, 2)
    for change in (clip.resized, clip.center_cropped):
        with pytest.raises(InputError, match="at least 1x1"):
            change(0, 4)


def test_floats_and_back() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    frames[0, 0, 0] = (0, 255, 128)
    x = Clip(frames, 12.0).to_float()
    assert (x.shape, x.dtype, x.min(), x.max()) == ((3, 3, 4, 5), np.float32, -1.0, 1.0)
    np.testing.assert_array_equal(Clip.from_float(x, 12.0).frames, frames)
    beyond = Clip.from_float(np.array([-9.0, 0.2, 9.0]).reshape(3, 1, 1, 1), 12.0)
    assert beyond.frames[0, 0, 0].tolist() == [0, 153, 255]
    with pytest.raises(InputError, match="NaN"):
        Clip.from_float(x * np.float32(math.nan), 12.0)
    for wrong in (x.transpose(1, 2, 3, 0)[:2], x[:, 0], frames):
        with pytest.raises(InputError, match="3, T, H, W"):
            Clip.from_float(wrong, 12.0)


@given(
    gaps=st.lists(st.floats(0.001, 0.5), min_size=1, max_size=40),
    fps=st.floats(0.5, 200),
    start=st.floats(0, 3),
)
def test_the_frame_on_screen_is_the_latest_that_has_appeared(
    gaps: list[float], fps: float, start: float
) -> None:
    times = np.cumsum([0.0, *gaps[:-1]])
    stop = float(times[-1] + gaps[-1])
    shown = frames_on_screen(times, start=start, stop=stop, fps=fps)
    assert (np.diff(shown) >= 0).all()
    instants = start + np.arange(len(shown)) / fps
    half = 0.5 / fps + 2e-6
    assert (times[shown] <= instants + half).all()
    later = shown + 1 < len(times)
    assert (times[np.minimum(shown + 1, len(times) - 1)] > instants)[later].all()
    assert abs(len(shown) - max((stop - start) * fps, 1)) <= 1


@given(
    num_frames=st.integers(2, 300),
    fps=st.sampled_from([8.0, 12.0, 24000 / 1001, 24.0, 25.0, 30.0, 60.0]),
    seed=st.integers(0, 99),
)
def test_equal_rates_are_the_identity_whatever_the_jitter(
    num_frames: int, fps: float, seed: int
) -> None:
    jitter = np.random.default_rng(seed).uniform(-0.2, 0.2, num_frames) / fps
    times = np.arange(num_frames) / fps + jitter - jitter[0]
    shown = frames_on_screen(times, start=0.0, stop=num_frames / fps, fps=fps)
    assert shown.tolist() == list(range(num_frames))


def test_sound() -> None:
    x = np.linspace(-1, 1, 100, dtype=np.float32)[None]
    sound = Sound(x, 50)
    assert sound.seconds == 2.0
    np.testing.assert_array_equal(sound.part(0.5, 1.0).x, x[:, 25:50])
    padded = sound.part(-0.5, 2.5).x
    assert padded.shape == (1, 150)
    assert not padded[:, :25].any()
    assert not padded[:, 125:].any()
    np.testing.assert_array_equal(padded[:, 25:125], x)
    assert not sound.part(5.0, 6.0).x.any()
    for bad in (
        x[0],
        x.astype(np.float64),
        x * 2,
        x * np.float32(math.nan),
        np.repeat(x, 3, axis=0),
    ):
        with pytest.raises(InputError, match="sound must"):
            Sound(bad, 50)
    with pytest.raises(InputError, match="sample rate"):
        Sound(x, 0)


def test_other_samples() -> None:
    Boxes(np.array([[[0, 0, 2, 3], [math.nan] * 4]], np.float32))
    with pytest.raises(InputError, match="left <= right"):
        Boxes(np.array([[[2, 0, 1, 3]]], np.float32))
    with pytest.raises(InputError, match="boxes must be an array"):
        Boxes(np.zeros((3, 4), np.float32))
    Masks(np.zeros((2, 1, 4, 4), bool))
    with pytest.raises(InputError, match="masks must be an array"):
        Masks(np.zeros((2, 1, 4, 4), np.uint8))
    Tracks(np.zeros((2, 3, 2), np.float32), np.ones((2, 3), bool))
    with pytest.raises(InputError, match="visibility"):
        Tracks(np.zeros((2, 3, 2), np.float32), np.ones((2, 2), bool))
    with pytest.raises(InputError, match="empty"):
        Text("  \n")


def test_text_is_written(tmp_path: Path) -> None:
    Text("a red circle").write(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "a red circle\n"
    with pytest.raises(InputError, match="exists"):
        Text("b").write(tmp_path / "a.txt")


def test_clips_need_neither_torch_nor_pyav() -> None:
    code = (
        "import sys, kinema.clip, kinema.sample; print('torch' in sys.modules, 'av' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
