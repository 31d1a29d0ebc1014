"""Clips: frames with a frame rate, optionally sound.

Shape letters: T frames, H height, W width. Frames are (T, H, W, 3) uint8 RGB; networks see
(3, T, H, W) float32 in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from kinema.errors import InputError
from kinema.sample import Sound, expect_array

MAX_FPS = 1000.0


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames with a frame rate, optionally sound.

    Args:
        frames: (T, H, W, 3) uint8 RGB, at least one frame.
        fps: frames per second, above 0 and at most 1000.
        sound: starts with the first frame; its length need not equal that of the frames.

    Raises:
        InputError: shape, type or rate does not fit.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".mp4", ".gif")
    frames: np.ndarray
    fps: float
    sound: Sound | None = None

    def __post_init__(self) -> None:
        expect_array("frames", self.frames, np.uint8, "T H W 3", (None, None, None, 3))
        if not self.frames.size:
            raise InputError(f"a clip needs at least one frame and pixel, not {self.frames.shape}")
        check_fps(self.fps)

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.frames)

    @property
    def seconds(self) -> float:
        """How long the frames are shown."""
        return self.num_frames / self.fps

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.frames.shape[1], self.frames.shape[2]

    @classmethod
    def given(cls, value: str) -> Clip:
        """The clip in a file that a person named."""
        return cls.read(value)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        start_seconds: float = 0.0,
        stop_seconds: float = math.inf,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
    ) -> Clip:
        """Reads a video, an animated GIF or a picture; see `kinema.media.read_clip`."""
        from kinema.media.reading import read_clip

        return read_clip(
            path, start_seconds=start_seconds, stop_seconds=stop_seconds, fps=fps, size=size
        )

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes the clip as .mp4 (H.264 and AAC) or .gif, by the ending of `path`.

        Raises:
            InputError: the ending is another one, or the file exists and `overwrite` is false.
        """
        from kinema.media.writing import write_clip

        write_clip(path, self, overwrite=overwrite)

    def __getitem__(self, frames: slice) -> Clip:
        """A range of frames with the sound that belongs to it.

        A step of k keeps every k-th frame at fps / k, so that motion keeps its speed.

        Raises:
            InputError: the range is empty or runs backwards.
        """
        start, stop, step = frames.indices(self.num_frames)
        if step < 1 or start >= stop:
            raise InputError(
                f"frames {start}:{stop}:{step} of a clip of {self.num_frames} are none; "
                "choose a range that runs forwards and holds at least one frame"
            )
        sound = self.sound and self.sound.part(start / self.fps, stop / self.fps)
        return Clip(self.frames[frames], self.fps / step, sound)

    def resampled(self, fps: float) -> Clip:
        """The same seconds at another frame rate, by the rule of `frames_on_screen`."""
        check_fps(fps)
        times = np.arange(self.num_frames) / self.fps
        shown = frames_on_screen(times, start=0.0, stop=self.seconds, fps=fps)
        return Clip(self.frames[shown], fps, self.sound)

    def resized(self, height: int, width: int) -> Clip:
        """Every frame stretched to height x width: bicubic, and averaged where it shrinks."""
        from kinema.media.pixels import resize

        check_size(height, width)
        return self._mapped(lambda frame: resize(frame, height, width))

    def center_cropped(self, height: int, width: int) -> Clip:
        """The middle height x width pixels of every frame.

        Raises:
            InputError: the clip is smaller than that.
        """
        check_size(height, width)
        if height > self.size[0] or width > self.size[1]:
            raise InputError(
                f"cannot crop {height}x{width} from a clip of {self.size[0]}x{self.size[1]} "
                "(height x width); resize it first"
            )
        top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
        return replace(self, frames=self.frames[:, top : top + height, left : left + width])

    def covering(self, height: int, width: int) -> Clip:
        """The largest middle part with the proportions of height x width, resized to that."""
        from kinema.media.pixels import cover

        check_size(height, width)
        return self._mapped(lambda frame: cover(frame, height, width))

    def to_float(self) -> np.ndarray:
        """(3, T, H, W) float32 in [-1, 1], as networks take it."""
        return np.moveaxis(self.frames, -1, 0).astype(np.float32) / np.float32(127.5) - 1

    @classmethod
    def from_float(cls, x: np.ndarray, fps: float) -> Clip:
        """A clip from (3, T, H, W) float in [-1, 1]; what lies outside is clamped.

        Raises:
            InputError: `x` has another shape or type, or holds NaN.
        """
        if x.ndim != 4 or x.shape[0] != 3 or x.dtype.kind != "f":
            raise InputError(
                f"a clip is made from floats (3, T, H, W) in [-1, 1], not {x.dtype} {x.shape}"
            )
        if np.isnan(x).any():
            raise InputError("the frames hold NaN; the model that made them is broken")
        levels = np.rint((np.clip(x, -1, 1) + 1) * 127.5).astype(np.uint8)
        return cls(np.ascontiguousarray(np.moveaxis(levels, 0, -1)), fps)

    def _mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> Clip:
        return replace(self, frames=np.stack([change(frame) for frame in self.frames]))


def frames_on_screen(times: np.ndarray, *, start: float, stop: float, fps: float) -> np.ndarray:
    """Which frames a clip at another frame rate shows.

    At every output time start + k / fps it is the latest frame whose own time is not later, with a
    tolerance of half a frame (of the source or of the output, whichever frame is shorter). The
    tolerance makes the rule the identity at equal rates however much the stored times jitter; a
    tie goes to the later frame. Output ends half a frame before `stop`, for the same reason.

    Args:
        times: (N,) seconds, increasing: when each frame appears.
        start: the first output time, in seconds.
        stop: when the last frame leaves the screen, in seconds.
        fps: of the output.

    Returns:
        (M,) indices into `times`, never decreasing, at least one.
    """
    period = float(np.median(np.diff(times))) if len(times) > 1 else stop - float(times[0])
    tolerance = min(period, 1 / fps) / 2
    count = max(math.floor((stop - tolerance - start) * fps + 1e-6) + 1, 1)
    instants = start + np.arange(count) / fps
    # One microsecond more: a tie must not hang on the rounding of floats.
    return np.maximum(np.searchsorted(times, instants + tolerance + 1e-6, side="right") - 1, 0)


def check_fps(fps: float) -> None:
    """Raises InputError unless `fps` can be the frame rate of a clip."""
    if not 0 < fps <= MAX_FPS:
        raise InputError(f"fps must be above 0 and at most {MAX_FPS:.0f}, not {fps}")


def check_size(height: int, width: int) -> None:
    """Raises InputError unless both are at least one pixel."""
    if height < 1 or width < 1:
        raise InputError(
            f"a size must be at least 1x1 pixels (height x width), not {height}x{width}"
        )
