"""Makes the videos that the tests read: every frame carries its own number as a row of blocks."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BITS, BLOCK = 12, 8


def numbered(i: int, height: int = 64, width: int = 96) -> np.ndarray:
    """A frame whose brightness drifts and whose blocks spell `i` in binary."""
    frame = np.full((height, width, 3), 20 + 3 * i % 60, np.uint8)
    frame[40:, (5 * i) % width :] = (200, 60, 30)
    for bit in range(BITS):
        frame[8:24, bit * BLOCK : (bit + 1) * BLOCK] = 255 if i >> bit & 1 else 0
    return frame


def number(frame: np.ndarray) -> int:
    """Reads the number back."""
    return sum(
        1 << bit
        for bit in range(BITS)
        if frame[12:20, bit * BLOCK + 2 : bit * BLOCK + 6].mean() > 128
    )


def make_video(
    path: Path,
    *,
    num_frames: int = 60,
    fps: Fraction | int = 24,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (64, 96),
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    max_b_frames: int | None = None,
    milliseconds: Callable[[int], int] | None = None,
    hertz: int = 0,
    draw: Callable[[int], np.ndarray] | None = None,
) -> Path:
    """Writes a video by PyAV alone; `milliseconds` gives the time of each frame."""
    with av.open(str(path), "w", options=muxing or {}) as container:
        stream: Any = container.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        if max_b_frames is not None:
            stream.codec_context.max_b_frames = max_b_frames
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        if hertz:
            sound = container.add_stream("aac", rate=48000, layout="mono")
            seconds = num_frames / fps
            wave = np.sin(2 * np.pi * hertz * np.arange(int(seconds * 48000)) / 48000)[None] / 2
            piece = av.AudioFrame.from_ndarray(wave.astype(np.float32), "fltp", "mono")
            piece.sample_rate = 48000
            container.mux(sound.encode(piece))
            container.mux(sound.encode(None))
        for i in range(num_frames):
            x = draw(i) if draw else numbered(i, *size)
            frame = av.VideoFrame.from_ndarray(x, format="rgb24")
            if milliseconds:
                frame.pts, frame.time_base = milliseconds(i), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
