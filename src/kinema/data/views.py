"""What a recognizer sees of a clip: which frames, which part of them, at which size.

Dense and uniform sampling, and several clips and crops of one file for a test, as in SlowFast
(arXiv:1812.03982) and TSN (arXiv:1608.00859).

Letters: V views, T frames, S side of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kinema.clip import Clip
from kinema.config import config
from kinema.data.preprocessing import Triple
from kinema.errors import InputError
from kinema.media.reading import probe, stream_frames

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
CROPS = (1, 3)


@dataclass(frozen=True)
class ClipFile:
    """A video or picture file, of which frames are read when they are wanted.

    Args:
        path: of the file.
        num_frames: how many it has; 1 is a picture.
    """

    path: Path
    num_frames: int

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def given(cls, value: str | Path) -> Self:
        """The file that a person named.

        Raises:
            InputError: it cannot be read, or is cut short.
        """
        return cls(Path(value), probe(value).num_frames)


@config
class Views:
    """How clips are seen in a test.

    Args:
        num_frames: T, of a view.
        stride: frames of the file from one of a view to the next, at the file's own rate; None
            takes one of each of T equal stretches of the whole clip.
        size: S, side of the square that is cut out, in pixels.
        resize: pixels to which the shorter side is brought before that.
        interpolation: Pillow's filter of that name, averaged where it shrinks.
        clips: stretches of the file that are looked at.
        crops: squares of each: 1 from the middle, or 3 along the longer side.
        mean, std: of red, green and blue in [0, 1], for the network.
    """

    num_frames: int
    stride: int | None
    size: int
    resize: int
    interpolation: Literal["bilinear", "bicubic"]
    clips: int
    crops: int
    mean: Triple
    std: Triple

    def __post_init__(self) -> None:
        for name in ("num_frames", "size", "clips"):
            if getattr(self, name) < 1:
                raise InputError(f"views.{name} must be at least 1, not {getattr(self, name)}")
        if self.stride is not None and self.stride < 1:
            raise InputError(f"views.stride must be at least 1, or null, not {self.stride}")
        if self.crops not in CROPS:
            raise InputError(f"views.crops must be 1 or 3, not {self.crops}")
        if self.resize < self.size:
            raise InputError(f"views.resize must be at least size {self.size}, not {self.resize}")

    @property
    def count(self) -> int:
        """V, clips times crops."""
        return self.clips * self.crops

    def frame_numbers(self, length: int, clips: int) -> np.ndarray:
        """The frames of the stretches of a test, (N, T).

        Dense: they lie evenly from the first frame of the file to its end, a single one in the
        middle; where the file is too short, its last frame stands. Uniform: each frame lies in its
        own of T equal parts, where UniFormerV2 and ZeroI2V have it; where the file has fewer
        frames, they are repeated.

        Args:
            length: of the file in frames.
            clips: N.
        """
        number, steps = np.arange(clips)[:, None], np.arange(self.num_frames)
        if self.stride is None:
            part = (length - 1) / self.num_frames
            inside = np.floor(part / (clips + 1) * (number + 1))
            return (np.rint(part * steps) + inside).astype(np.int64)
        return self._dense(length, number / (clips - 1) if clips > 1 else number + 0.5)

    def _dense(self, length: int, places: np.ndarray) -> np.ndarray:
        """The same for stretches at places (N, 1) in [0, 1] of the way."""
        assert self.stride is not None
        steps = np.arange(self.num_frames) * self.stride
        numbers = np.rint(places * max(length - 1 - steps[-1], 0)) + steps
        return np.minimum(numbers, length - 1).astype(np.int64)

    def drawn(self, length: int, lots: np.ndarray) -> np.ndarray:
        """The frames of a stretch to train on, (T,).

        Dense: the first lot tells where the stretch lies. Uniform: each frame is any one from the
        beginning of its part to that of the next, both among them.

        Args:
            length: of the file in frames.
            lots: (T,) in [0, 1).
        """
        if self.stride is not None:
            return self._dense(length, lots[None, :1])[0]
        ends = np.rint((length - 1) / self.num_frames * np.arange(self.num_frames + 1))
        return (ends[:-1] + np.floor(lots * (np.diff(ends) + 1))).astype(np.int64)

    def of(self, clip: Clip | ClipFile) -> Tensor:
        """The views of a test, (V, 3, T, S, S) in [-1, 1]: crop by crop within each stretch.

        Raises:
            InputError: the file cannot be read.
        """
        numbers = self.frame_numbers(clip.num_frames, self.clips)
        wanted, where = np.unique(numbers, return_inverse=True)
        # Each frame is cut once, whatever the number of views that show it.
        squares = [self._squares(frame) for frame in frames_at(clip, wanted.tolist())]
        views = [
            to_pixels([squares[i][crop] for i in row])
            for row in where.reshape(numbers.shape)
            for crop in range(self.crops)
        ]
        return torch.stack(views)

    def middle(self, frame: np.ndarray) -> np.ndarray:
        """The middle square (S, S, 3) uint8 of a frame, scaled as in a test."""
        return self._square(frame, 0.5)

    def _squares(self, frame: np.ndarray) -> list[np.ndarray]:
        """The crops of a frame."""
        shares = (0.5,) if self.crops == 1 else (0.0, 0.5, 1.0)
        return [self._square(frame, share) for share in shares]

    def _square(self, frame: np.ndarray, share: float) -> np.ndarray:
        """The square at a share of the way along the longer side of a frame, scaled as in a test.

        The frame is first scaled until its shorter side is `resize`, the other one rounded down to
        whole pixels; of what that gives nothing else is computed.
        """
        height, width = frame.shape[:2]
        shorter = min(height, width)
        box = []
        for length, along in ((width, width >= height), (height, height > width)):
            scaled = self.resize * length // shorter
            first = round((share if along else 0.5) * (scaled - self.size))
            box.append((first * length / scaled, (first + self.size) * length / scaled))
        (left, right), (top, bottom) = box
        return self.part(frame, (left, top, min(right, width), min(bottom, height)))

    def part(self, frame: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
        """A box of a frame, (left, top, right, bottom) in pixels, brought to (S, S, 3) uint8."""
        square = (self.size, self.size)
        image = Image.fromarray(frame).resize(square, FILTERS[self.interpolation], box=box)
        return np.asarray(image)


def frames_at(clip: Clip | ClipFile, numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 of a clip or a file, by number in their order, one at a time."""
    if isinstance(clip, Clip):
        return (clip.frames[number] for number in numbers)
    return stream_frames(clip.path, numbers)


def to_pixels(frames: Sequence[np.ndarray]) -> Tensor:
    """Frames (H, W, 3) uint8 -> (3, T, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(Clip(np.stack(frames), fps=1.0).to_float())
