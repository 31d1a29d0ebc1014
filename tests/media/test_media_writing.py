"""Writing mp4, gif and wav, and reading them back."""

from __future__ import annotations

import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_videos import number, numbered

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.media import (
    Mp4Writer,
    probe,
    read_clip,
    read_sound,
    write_gif,
    write_mp4,
    write_wav,
)
from kinema.sample import Sound


def tone(hertz: float, seconds: float, rate: int = 48000, channels: int = 1) -> Sound:
    wave = np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate) / 2
    return Sound(np.stack([wave.astype(np.float32)] * channels), rate)


def pitch(sound: Sound) -> float:
    """The strongest frequency of the first channel in Hz."""
    spectrum = np.abs(np.fft.rfft(sound.x[0] * np.hanning(sound.x.shape[1])))
    return float(spectrum.argmax() * sound.sample_rate_hz / sound.x.shape[1])


def counting(num_frames: int, fps: float, height: int = 64, width: int = 96) -> Clip:
    return Clip(np.stack([numbered(i, height, width) for i in range(num_frames)]), fps)


def soft(height: int, width: int) -> np.ndarray:
    """A picture of smooth colors."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 17 + y / (23 + 9 * c) + c) for c in range(3)]
    return np.rint(127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


@settings(max_examples=12, deadline=None)
@given(
    num_frames=st.integers(1, 7),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    fps=st.sampled_from([1.0, 8.0, 12.5, 24000 / 1001, 29.97, 30000 / 1001, 60.0, 1000.0]),
)
def test_any_size_and_rate_comes_back(
    num_frames: int, height: int, width: int, fps: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("written") / "v.mp4"
    clip = Clip(np.stack([soft(height, width)] * num_frames), fps)
    clip.write(path)
    back = read_clip(path)
    assert back.frames.shape == clip.frames.shape
    assert back.fps == pytest.approx(fps, rel=1e-6)
    if min(height, width) > 8:
        error = np.square(back.frames.astype(float) - clip.frames).mean()
        assert 10 * np.log10(255**2 / max(error, 1e-9)) > 38


def test_frames_keep_their_order_and_the_exact_rate(tmp_path: Path) -> None:
    clip = counting(40, 30000 / 1001)
    write_mp4(tmp_path / "v.mp4", clip, crf=23, overwrite=False)
    assert [number(x) for x in read_clip(tmp_path / "v.mp4").frames] == list(range(40))
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)


def test_equal_clips_give_equal_bytes(tmp_path: Path) -> None:
    """Over and over: an encoder that looks at memory it never wrote varies only now and then."""
    silent = counting(30, 12.0)
    clip = Clip(silent.frames, 12.0, tone(440, 2.5, channels=2))
    for name, one, times in (("s.mp4", silent, 12), ("c.mp4", clip, 4), ("c.gif", clip, 3)):
        found = set()
        for n in range(times):
            litter = [np.full(5000 * n + 17, n, np.uint8) for _ in range(9)]
            one.write(tmp_path / name, overwrite=True)
            found.add((tmp_path / name).read_bytes())
            del litter
        assert len(found) == 1, name
    write_mp4(tmp_path / "small.mp4", clip, crf=40, overwrite=False)
    assert (tmp_path / "small.mp4").stat().st_size < (tmp_path / "c.mp4").stat().st_size


def test_even_sizes_play_everywhere_and_odd_ones_are_not_cropped(tmp_path: Path) -> None:
    for size, pixels in (((64, 96), "yuv420p"), ((63, 96), "yuv444p"), ((64, 97), "yuv444p")):
        path = tmp_path / f"{size}.mp4"
        counting(3, 12.0, *size).write(path)
        info = probe(path)
        assert (info.height, info.width, info.pixel_format) == (*size, pixels)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [48000, 44100, 22050, 9000])
def test_sound_comes_back_in_time(channels: int, rate: int, tmp_path: Path) -> None:
    x = np.zeros((channels, 2 * rate), np.float32)
    x[:, rate : rate + rate // 2] = tone(500, 0.5, rate).x
    Clip(counting(48, 24.0).frames, 24.0, Sound(x, rate)).write(tmp_path / "v.mp4")
    sound = read_clip(tmp_path / "v.mp4").sound
    assert sound is not None
    assert sound.x.shape[0] == channels
    assert sound.seconds == pytest.approx(2.0, abs=1e-4)
    loud = np.flatnonzero(np.abs(sound.x[0]) > 0.1) / sound.sample_rate_hz
    assert loud[0] == pytest.approx(1.0, abs=0.003)
    assert loud[-1] == pytest.approx(1.5, abs=0.003)
    assert pitch(sound.part(1.0, 1.5)) == pytest.approx(500, abs=5)
    part = read_clip(tmp_path / "v.mp4", start_seconds=1.25, stop_seconds=1.75).sound
    assert part is not None
    assert part.seconds == pytest.approx(0.5, abs=1e-3)
    loud = np.flatnonzero(np.abs(part.x[0]) > 0.1) / part.sample_rate_hz
    assert loud[-1] == pytest.approx(0.25, abs=0.003)


def test_sound_may_be_shorter_or_longer_than_the_frames(tmp_path: Path) -> None:
    for seconds in (0.01, 0.5, 5.0):
        path = tmp_path / f"{seconds}.mp4"
        Clip(counting(24, 24.0).frames, 24.0, tone(440, seconds)).write(path)
        clip = read_clip(path)
        assert clip.num_frames == 24
        assert clip.sound is not None
        assert clip.sound.seconds == pytest.approx(1.0)
        quiet = clip.sound.part(seconds + 0.05, 1.0) if seconds < 0.9 else None
        assert quiet is None or np.abs(quiet.x).max() < 0.02


def test_wav_files(tmp_path: Path) -> None:
    sound = tone(440, 1.0, 44100, channels=2)
    write_wav(tmp_path / "a.wav", sound, overwrite=False)
    back = read_sound(tmp_path / "a.wav")
    assert back.sample_rate_hz == 44100
    np.testing.assert_allclose(back.x, sound.x, atol=1 / 32000)
    slow = Sound.read(tmp_path / "a.wav", sample_rate_hz=16000)
    assert slow.x.shape == (2, 16000)
    assert pitch(slow) == pytest.approx(440, abs=1)
    data = (tmp_path / "a.wav").read_bytes()
    sound.write(tmp_path / "b.wav")
    assert (tmp_path / "b.wav").read_bytes() == data
    with pytest.raises(InputError, match="exists"):
        sound.write(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mkv", "a.m4a"])
def test_cut_sound_is_refused(name: str, tmp_path: Path) -> None:
    sound, path = tone(440, 2.0), tmp_path / name
    codec = {"a.wav": "pcm_s16le", "a.flac": "flac"}.get(name, "aac")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        stream.format = "fltp" if codec == "aac" else "s16"
        resampler = av.AudioResampler(format=stream.format, frame_size=1024)
        frame = av.AudioFrame.from_ndarray(sound.x, "fltp", "mono")
        frame.sample_rate = 48000
        for piece in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(piece))
    back = read_sound(path)
    assert back.seconds == pytest.approx(2.0, abs=0.05)
    assert pitch(back) == pytest.approx(440, abs=1)
    data = path.read_bytes()
    for part in (0.4, 0.6, 0.8):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(InputError, match=name):
            read_sound(path)


def test_no_sound_says_so(tmp_path: Path) -> None:
    counting(3, 12.0).write(tmp_path / "silent.mp4")
    assert read_clip(tmp_path / "silent.mp4").sound is None
    with pytest.raises(InputError, match="has no sound"):
        read_sound(tmp_path / "silent.mp4")


def test_gifs_last_as_long_as_the_clip(tmp_path: Path) -> None:
    for fps in (12.0, 24.0):
        clip = counting(24, fps)
        write_gif(tmp_path / "a.gif", clip, overwrite=True)
        info = probe(tmp_path / "a.gif")
        assert info.num_frames == 24
        assert info.seconds == pytest.approx(clip.seconds, abs=0.02)
    assert [number(x) for x in read_clip(tmp_path / "a.gif", fps=24.0).frames] == list(range(24))


def write(path: Path, frames: list[np.ndarray | None], *, overwrite: bool = False) -> None:
    """Writes frames of 64 x 96; at None the user presses Ctrl-C."""
    with Mp4Writer(
        path, fps=12.0, height=64, width=96, sound=None, crf=20, overwrite=overwrite
    ) as writer:
        for frame in frames:
            if frame is None:
                raise KeyboardInterrupt
            writer.add(frame)


def test_nothing_is_left_or_lost_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with pytest.raises(KeyboardInterrupt):
        write(path, [numbered(0), None])
    with pytest.raises(InputError, match="a frame must be"):
        write(path, [numbered(0), numbered(1, 32, 32)])
    with pytest.raises(InputError, match="no frame was given"):
        write(path, [])
    assert list(tmp_path.iterdir()) == []
    write(path, [numbered(0), numbered(1)])
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        write(path, [numbered(0)])
    with pytest.raises(InputError, match="a frame must be"):
        write(path, [numbered(1, 32, 32)], overwrite=True)
    assert path.read_bytes() == before
    write(path, [numbered(i) for i in range(3)], overwrite=True)
    assert probe(path).num_frames == 3


KILLED = """
import sys, numpy as np
from kinema.media import Mp4Writer
options = {"fps": 12.0, "height": 64, "width": 64, "crf": 20}
with Mp4Writer(sys.argv[1], **options, sound=None, overwrite=False) as w:
    while True:
        w.add(np.zeros((64, 64, 3), np.uint8))
        print("frame", flush=True)
"""


def test_a_killed_writer_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(50):
            assert process.stdout.readline() == "frame\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    clip = counting(2, 12.0)
    with pytest.raises(InputError, match=r"end the name in \.mp4 or \.gif"):
        clip.write(tmp_path / "v.avi")
    with pytest.raises(InputError, match="crf must lie"):
        write_mp4(tmp_path / "v.mp4", clip, crf=52, overwrite=False)
    wide = Clip(np.zeros((1, 2, 40000, 3), np.uint8), 12.0)
    with pytest.raises(InputError, match="cannot write"):
        wide.write(tmp_path / "wide.mp4")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="folder"):
        clip.write(tmp_path / "file" / "v.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
