"""Folders of clips as scores see them: files, arrays and folders of pictures, all brought alike.

Letters: T frames, H height, W width.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kinema.clip import check_fps
from kinema.data.media_folder import CLIPS, PICTURES, content_digest
from kinema.errors import InputError
from kinema.files import parse_json
from kinema.media import arrays, probe, stream
from kinema.media.pixels import cover
from kinema.sample import expect_array

ARRAY = ".npy"


@dataclass(frozen=True, kw_only=True)
class View:
    """The part of every clip that is looked at: its first frames.

    Attributes:
        num_frames: T; clips with fewer are no part of the set.
        fps: to which video files are brought, by the frames on screen; None keeps the stored
            frames. Arrays and pictures have no frame rate of their own and are taken to have it.
        size: (height, width): frames are scaled to cover it, the middle is kept. None: as stored.

    Raises:
        InputError: no clip can have this frame rate.
    """

    num_frames: int
    fps: float | None
    size: tuple[int, int] | None

    def __post_init__(self) -> None:
        if self.fps is not None:
            check_fps(self.fps)

    def __str__(self) -> str:
        rate = f" at {self.fps:g} fps" if self.fps else ""
        size = f", covering {self.size[0]}x{self.size[1]}" if self.size else ""
        return f"first {self.num_frames} frames{rate}{size}"


@dataclass(frozen=True)
class Viewed:
    """What was read of one clip: (T, 3, H, W) uint8, and its frame rate if the file has one."""

    frames: Tensor
    fps: float | None


def find_clips(folder: Path) -> list[Path]:
    """The clips of a folder, by name: files, .npy of (T, H, W, 3), folders of pictures.

    Raises:
        InputError: there is no such folder, or no clip in it.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; name one with clips")
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    found = [
        path
        for path in entries
        if (path.is_dir() and pictures(path)) or path.suffix.lower() in (*CLIPS, ARRAY)
    ]
    if not found:
        raise InputError(
            f"{folder} holds no clip: no {', '.join((*CLIPS, ARRAY))} and no folder of pictures"
        )
    return found


def pictures(folder: Path) -> list[Path]:
    """The pictures in a folder, by name: the frames of a clip."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURES and not path.name.startswith(".")
    )


def digest_of(path: Path) -> str:
    """A hash (16 hex digits) over the content of a clip."""
    if not path.is_dir():
        return content_digest(path)
    total = hashlib.blake2b(digest_size=8)
    for picture in pictures(path):
        total.update(content_digest(picture).encode())
    return total.hexdigest()


def caption_of(path: Path) -> str:
    """What a clip shows: the text of the same name in .txt, or the prompt in .json.

    `kinema generate` writes the latter beside each clip.

    Raises:
        InputError: there is neither.
    """
    text, record = path.with_suffix(".txt"), path.with_suffix(".json")
    try:
        if text.is_file():
            said = text.read_text(encoding="utf-8")
        else:
            said = parse_json(record.read_text(encoding="utf-8"), str(record))["prompt"]
        words = " ".join(str(said).split())
    except (OSError, ValueError, KeyError, TypeError):
        words = ""
    if not words:
        raise InputError(f"{path} has no caption; write it to {text.name} beside it")
    return words


def read_view(path: Path, view: View) -> Viewed:
    """What a view shows of a clip.

    Raises:
        InputError: the clip is broken, or has fewer frames.
    """
    fps = view.fps
    if path.suffix.lower() == ARRAY and path.is_file():
        frames = [*read_array(path)[: view.num_frames]]
    elif path.is_dir():
        frames = [read_picture(picture) for picture in pictures(path)[: view.num_frames]]
    else:
        shown = stream(path, start_seconds=0.0, stop_seconds=math.inf, fps=fps, size=view.size)
        frames = list(itertools.islice(shown, view.num_frames))
        fps = fps or probe(path).fps
    if len(frames) < view.num_frames:
        raise InputError(f"{path} has {len(frames)} frames; {view.num_frames} are looked at")
    if len({frame.shape for frame in frames}) > 1:
        raise InputError(f"{path} has pictures of several sizes; resize them alike")
    if view.size is not None and frames[0].shape[:2] != view.size:
        frames = [cover(frame, *view.size) for frame in frames]
    return Viewed(torch.from_numpy(np.stack(frames)).movedim(-1, 1), fps)


def read_array(path: Path) -> np.ndarray:
    """A clip (T, H, W, 3) uint8 in a .npy file.

    Raises:
        InputError: the file is broken or holds another array.
    """
    frames = arrays.read_array(path)
    expect_array(str(path), frames, np.uint8, "F H W 3", (None, None, None, 3))
    if not frames.size:
        raise InputError(f"{path} has no pixel, its shape is {frames.shape}; leave it out")
    return frames


def read_picture(path: Path) -> np.ndarray:
    """A picture (H, W, 3) uint8. Raises InputError if it cannot be read."""
    shown = stream(path, start_seconds=0.0, stop_seconds=math.inf, fps=None, size=None)
    return next(shown)
