"""Pixel formats, rotation, pictures, and memory."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_videos import make_video, number, numbered
from PIL import Image

from kinema.errors import InputError
from kinema.media import probe, read_clip, read_frames, stream

COLORS = np.array([(220, 40, 40), (30, 160, 60), (40, 60, 200), (240, 220, 60)], np.uint8)


def quadrants(_: int) -> np.ndarray:
    """Red and green above blue and yellow."""
    return COLORS.reshape(2, 2, 3).repeat(32, axis=0).repeat(48, axis=1)


def centers(frame: np.ndarray) -> np.ndarray:
    height, width, _ = frame.shape
    return frame[height // 4 :: height // 2, width // 4 :: width // 2].reshape(4, 3).astype(int)


FORMATS: dict[str, dict[str, Any]] = {
    "yuv420p": {},
    "yuv420p10le": {},
    "yuv422p10le": {},
    "yuv444p": {},
    "yuv444p10le": {},
    "yuvj420p": {"codec": "mjpeg", "options": {"qmin": "1", "qmax": "1"}},
    "rgb24": {"codec": "libx264rgb"},
    "gbrp": {"codec": "magicyuv"},
    "bgra": {"codec": "ffv1"},
    "yuva420p": {"codec": "ffv1"},
    "gbrp12le": {"codec": "ffv1"},
}


@pytest.mark.parametrize("pixels", FORMATS)
def test_every_pixel_format_becomes_the_same_rgb(pixels: str, tmp_path: Path) -> None:
    name = "v.avi" if pixels == "gbrp" else "v.mkv"
    path = make_video(
        tmp_path / name, num_frames=3, pixels=pixels, draw=quadrants, **FORMATS[pixels]
    )
    frame = read_clip(path).frames[1]
    assert np.abs(centers(frame) - COLORS).max() <= 8


def test_grey_is_grey(tmp_path: Path) -> None:
    for pixels in ("gray", "gray10le", "gray16le"):
        path = make_video(tmp_path / f"{pixels}.mkv", num_frames=2, codec="ffv1", pixels=pixels)
        frame = read_frames(path, [1])[0].astype(int)
        assert np.ptp(frame, axis=-1).max() == 0
        assert np.abs(frame[20:23, 2:6].mean() - 255) < 3


def test_color_matrix_of_the_file_is_obeyed(tmp_path: Path) -> None:
    """The same BT.709 numbers, tagged and untagged: only the tagged file keeps its colors."""
    from kinema.clip import Clip

    clip = Clip(np.stack([quadrants(0)] * 2), 12.0)
    clip.write(tmp_path / "tagged.mp4")
    frame = read_clip(tmp_path / "tagged.mp4").frames[0]
    assert np.abs(centers(frame) - COLORS).max() <= 4


# (a b c d) of the display matrix, and what numpy does to the stored picture.
MATRICES = {
    "quarter clockwise": ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    "half": ((-1, 0, 0, -1), lambda x: np.rot90(x, 2)),
    "quarter back": ((0, -1, 1, 0), lambda x: np.rot90(x)),
    "mirrored": ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda x: x[::-1]),
    "transposed": ((0, 1, 1, 0), lambda x: x.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("turn", MATRICES)
def test_rotation_is_applied(turn: str, tmp_path: Path) -> None:
    (a, b, c, d), turned = MATRICES[turn]
    stored = make_video(tmp_path / "stored.mp4", num_frames=4)
    data = bytearray(stored.read_bytes())
    at = data.index(b"tkhd") + 44  # version 0: the matrix follows 40 bytes after the flags
    assert struct.unpack(">9i", data[at : at + 36])[8] == 1 << 30
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    expected = [turned(x) for x in read_frames(stored, range(4))]
    np.testing.assert_array_equal(read_frames(path, range(4)), expected)
    info = probe(path)
    assert (info.height, info.width) == expected[0].shape[:2]


def test_pictures_are_clips_of_one_frame(tmp_path: Path) -> None:
    x = numbered(9)
    for ending in ("png", "bmp", "jpg", "webp", "tiff", "gif"):
        path = tmp_path / f"a%03d.{ending}"
        Image.fromarray(x).save(path)
        for fps in (None, 60.0):
            clip = read_clip(path, fps=fps)
            assert clip.frames.shape == (1, 64, 96, 3)
            assert number(clip.frames[0]) == 9
            assert clip.fps == (fps or clip.fps)
    np.testing.assert_array_equal(read_clip(tmp_path / "a%03d.png").frames[0], x)


def test_palettes_and_alpha_lie_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4] = (200, 0, 0, 255)
    rgba[:, 4:] = (0, 0, 200, 51)
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    frame = read_clip(tmp_path / "alpha.png").frames[0]
    assert frame[0, 0].tolist() == [200, 0, 0]
    assert frame[0, 7].tolist() == [204, 204, 244]
    Image.fromarray(rgba[..., :3]).quantize(2).save(tmp_path / "palette.png")
    frame = read_clip(tmp_path / "palette.png").frames[0]
    assert np.abs(frame[0, [0, 7]].astype(int) - [(200, 0, 0), (0, 0, 200)]).max() <= 2


def test_a_camera_picture_is_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray(quadrants(0))
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    image.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    frame = read_clip(tmp_path / "photo.jpg").frames[0]
    assert frame.shape == (96, 64, 3)
    assert np.abs(centers(frame) - COLORS[[2, 0, 3, 1]]).max() <= 12


def test_reading_to_a_size_covers_it_and_keeps_proportions(video: Path) -> None:
    whole, square = read_clip(video), read_clip(video, size=(64, 64))
    np.testing.assert_array_equal(square.frames, whole.frames[:, :, 16:80])
    assert read_clip(video, size=(31, 17)).size == (31, 17)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(
    video: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"GB of frames, more than 2 GB; give start_seconds"):
        read_clip(video, fps=1000.0, size=(640, 640))
    Image.fromarray(numbered(1)).save(tmp_path / "huge.png")
    png = bytearray((tmp_path / "huge.png").read_bytes())
    png[16:24] = struct.pack(">II", 60000, 60000)
    (tmp_path / "huge.png").write_bytes(png)
    with pytest.raises(InputError, match=r"huge\.png"):
        read_clip(tmp_path / "huge.png")


def test_a_changing_picture_size_needs_a_wanted_one(tmp_path: Path) -> None:
    parts = [
        make_video(
            tmp_path / f"{h}.ts", num_frames=12, size=(h, 96), draw=lambda i, h=h: numbered(i, h)
        )
        for h in (64, 48)
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(InputError, match="changes its picture size"):
        read_clip(path)
    assert read_clip(path, size=(40, 40)).size == (40, 40)


LONG = """
import re, sys
from pathlib import Path
from kinema.media import stream
whole = {"start_seconds": 0.0, "stop_seconds": float("inf"), "fps": None, "size": None}
count = sum(1 for _ in stream(sys.argv[1], **whole))
# Not ru_maxrss, which begins with what the parent held when it forked.
status = Path("/proc/self/status").read_text()
print(count, int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) // 1024)
"""


def test_a_long_file_streams_in_little_memory(tmp_path: Path) -> None:
    """4,000 frames of 320x240, 920 MB of pixels."""
    still = numbered(1, 240, 320)
    path = make_video(
        tmp_path / "long.mp4",
        num_frames=4000,
        size=(240, 320),
        options={"preset": "ultrafast", "threads": "1"},
        draw=lambda i: still,
    )
    run = subprocess.run(
        [sys.executable, "-c", LONG, str(path)], capture_output=True, text=True, check=True
    )
    count, megabytes = map(int, run.stdout.split())
    assert count == 4000
    assert megabytes < 500


def test_streams_report_bad_input_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        stream(tmp_path / "no.mp4", start_seconds=0.0, stop_seconds=math.inf, fps=None, size=None)
