"""Pictures and clips that the command line gives a generator: which files, at what times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.cli.machine import sha256
from kinema.clip import Clip
from kinema.errors import InputError
from kinema.media import probe
from kinema.systems.image_to_video import ImageToVideo
from kinema.systems.keyframes import Extension, Keyframe, check_keyframes


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture at a time of the clip."""

    path: Path
    seconds: float
    clip: Clip


@dataclass(frozen=True, eq=False)
class Given:
    """What a clip is given: pictures, and a clip that it goes on from, if there is one."""

    pictures: tuple[Picture, ...]
    extend: Path | None

    def place(
        self, model: Any, name: str, sampling: Any
    ) -> tuple[list[Keyframe], Extension | None]:
        """The keyframes of the clip that a model makes, and what its frames are to follow.

        Raises:
            InputError: the model takes no pictures, or they do not fit into the clip.
        """
        if not (self.pictures or self.extend):
            return [], None
        if not isinstance(model, ImageToVideo):
            raise InputError(f"{name} takes no pictures; leave out --image, --keyframe, --extend")
        length, extension = sampling.num_frames, None
        if self.extend:
            size = (sampling.height, sampling.width)
            clip = Clip.read(self.extend, fps=sampling.fps, size=size)
            extension = model.extension(clip, sampling)
            length += extension.given.num_frames - extension.held
        keyframes = [self._keyframe(picture, length, sampling.fps) for picture in self.pictures]
        if extension:
            keyframes = extension.keyframes(keyframes)
        check_keyframes(keyframes, sampling.num_frames, model.codec_stride[0])
        return keyframes, extension

    def settings(self, keyframes: Sequence[Keyframe]) -> dict[str, Any]:
        """What of it fixes a clip: the digests of the files and the frames that they become."""
        placed = keyframes[len(keyframes) - len(self.pictures) :]
        return {
            "keyframes": [
                {"frame": keyframe.frame, "sha256": sha256(picture.path)}
                for picture, keyframe in zip(self.pictures, placed)
            ],
            "extend_sha256": sha256(self.extend) if self.extend else "",
        }

    def names(self) -> dict[str, Any]:
        """The files, for the record."""
        return {
            "keyframe_files": [str(picture.path) for picture in self.pictures],
            "extend_file": str(self.extend or ""),
        }

    def options(self) -> list[str]:
        """The words of a command that gives the same."""
        pairs = [("--keyframe", f"{p.path}@{p.seconds}") for p in self.pictures]
        if self.extend:
            pairs.append(("--extend", str(self.extend)))
        return [word for pair in pairs for word in pair]

    @staticmethod
    def _keyframe(picture: Picture, length: int, fps: float) -> Keyframe:
        frame = round(picture.seconds * fps)
        if frame >= length:
            raise InputError(
                f"{picture.path} cannot stand at {picture.seconds:g} seconds: "
                f"the last frame of the clip is at {(length - 1) / fps:.2f}"
            )
        return Keyframe(clip=picture.clip, frame=frame)


def read_given(image: Path | None, keyframes: Sequence[str], extend: Path | None) -> Given:
    """Reads the files of ``--image``, ``--keyframe`` and ``--extend``, before any long work.

    Raises:
        InputError: a file cannot be read or is no picture, or a time is none.
    """
    if image and extend:
        raise InputError("--image and --extend both say how the clip begins; give one of them")
    wanted = [(image, 0.0)] if image else []
    wanted += [_at(word) for word in keyframes]
    pictures = tuple(Picture(path, seconds, _picture(path)) for path, seconds in wanted)
    if extend:
        probe(extend)
    return Given(pictures, extend)


def _at(word: str) -> tuple[Path, float]:
    file, at, time = word.rpartition("@")
    try:
        seconds = float(time)
    except ValueError:
        seconds = math.nan
    if not (at and file and 0 <= seconds < math.inf):
        raise InputError(f"--keyframe {word!r} is not of the form FILE@SECONDS, as end.png@2")
    return Path(file), seconds


def _picture(path: Path) -> Clip:
    frames = probe(path).num_frames
    if frames > 1:
        raise InputError(
            f"{path} is a clip of {frames} frames; give a picture, or go on from it with --extend"
        )
    return Clip.read(path)
