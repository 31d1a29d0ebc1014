"""Pictures and clips that the command line gives a generator: which files, when, what for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kinema.cli.machine import sha256
from kinema.clip import Clip
from kinema.errors import InputError
from kinema.media import probe
from kinema.systems.image_to_video import STRENGTH, ImageToVideo
from kinema.systems.keyframes import Extension, Keyframe, Source, check_keyframes


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture at a time of the clip, and how firmly it is held."""

    path: Path
    seconds: float
    strength: float
    clip: Clip

    @property
    def option(self) -> str:
        """As ``--keyframe`` takes it."""
        held = "" if self.strength == 1 else f":{self.strength}"
        return f"{self.path}@{self.seconds}{held}"


class Placed(NamedTuple):
    """What a model takes of what was given: keyframes, what its clip follows or leads up to, or is
    made from.
    """

    keyframes: list[Keyframe]
    extension: Extension | None
    source: Source | None


@dataclass(frozen=True, eq=False)
class Given:
    """What a clip is given.

    Args:
        pictures: at times of the clip.
        extend: a clip that it goes on from, if there is one.
        before: whether it leads up to that clip instead.
        video: a clip that it is made from, if there is one.
        strength: how much of that becomes new.
    """

    pictures: tuple[Picture, ...]
    extend: Path | None
    before: bool = False
    video: Path | None = None
    strength: float = STRENGTH

    def place(self, model: Any, name: str, sampling: Any) -> Placed:
        """What of it a model is given that makes a clip of this length, rate and size.

        Raises:
            InputError: the model takes no pictures, or they do not fit into the clip.
        """
        if not (self.pictures or self.extend or self.video):
            return Placed([], None, None)
        if not isinstance(model, ImageToVideo):
            given = "--image, --keyframe, --extend, --video"
            raise InputError(f"{name} takes no pictures or clips; leave out {given}")
        length, extension, source = sampling.num_frames, None, None
        fitted = {"fps": sampling.fps, "size": (sampling.height, sampling.width)}
        if self.extend:
            clip = Clip.read(self.extend, **fitted)
            extension = model.extension(clip, sampling, before=self.before)
            length += extension.given.num_frames - extension.held
        if self.video:
            clip = Clip.read(self.video, stop_seconds=length / sampling.fps + 1, **fitted)
            source = model.source(clip, sampling, self.strength)
        keyframes = [self._keyframe(picture, length, sampling.fps) for picture in self.pictures]
        if extension:
            keyframes = extension.keyframes(keyframes)
        check_keyframes(keyframes, sampling.num_frames, model.codec_stride[0])
        return Placed(keyframes, extension, source)

    def settings(self, keyframes: Sequence[Keyframe]) -> dict[str, Any]:
        """What of it fixes a clip: the digests of the files and the frames that they become."""
        placed = keyframes[len(keyframes) - len(self.pictures) :]
        return {
            "keyframes": [
                {
                    "frame": keyframe.frame,
                    "sha256": sha256(picture.path),
                    **({} if picture.strength == 1 else {"strength": picture.strength}),
                }
                for picture, keyframe in zip(self.pictures, placed)
            ],
            "extend_sha256": sha256(self.extend) if self.extend else "",
            **({"before": True} if self.before else {}),
            **self._source(),
        }

    def names(self) -> dict[str, Any]:
        """The files, for the record."""
        return {
            "keyframe_files": [str(picture.path) for picture in self.pictures],
            "extend_file": str(self.extend or ""),
            **({"video_file": str(self.video)} if self.video else {}),
        }

    def options(self) -> list[str]:
        """The words of a command that gives the same."""
        pairs = [("--keyframe", picture.option) for picture in self.pictures]
        if self.extend:
            pairs.append(("--extend", str(self.extend)))
        if self.video:
            pairs += [("--video", str(self.video)), ("--strength", str(self.strength))]
        return [word for pair in pairs for word in pair] + ["--before"] * self.before

    def _source(self) -> dict[str, Any]:
        if not self.video:
            return {}
        return {"video_sha256": sha256(self.video), "strength": self.strength}

    @staticmethod
    def _keyframe(picture: Picture, length: int, fps: float) -> Keyframe:
        frame = round(picture.seconds * fps)
        if frame >= length:
            raise InputError(
                f"{picture.path} cannot stand at {picture.seconds:g} seconds: "
                f"the last frame of the clip is at {(length - 1) / fps:.2f}"
            )
        return Keyframe(clip=picture.clip, frame=frame, strength=picture.strength)


def read_given(
    image: Path | None,
    keyframes: Sequence[str],
    extend: Path | None,
    *,
    before: bool = False,
    video: Path | None = None,
    strength: float | None = None,
) -> Given:
    """Reads the files of options like ``--image`` and ``--extend``, before any long work.

    Raises:
        InputError: a file cannot be read or is no picture, a time is none, or options do not go
            together.
    """
    if image and extend and not before:
        raise InputError("--image and --extend both say how the clip begins; give one of them")
    if before and not extend:
        raise InputError("--before says where the new frames of --extend go; give that too")
    if video and extend:
        raise InputError("--video and --extend are two ways to use a clip; give one of them")
    if strength is not None and not video:
        raise InputError("--strength says how much of --video becomes new; give that too")
    wanted = [(image, 0.0, 1.0)] if image else []
    wanted += [_at(word) for word in keyframes]
    pictures = tuple(Picture(path, at, held, _picture(path)) for path, at, held in wanted)
    for path in (extend, video):
        if path:
            probe(path)
    return Given(pictures, extend, before, video, STRENGTH if strength is None else strength)


def _at(word: str) -> tuple[Path, float, float]:
    """File, seconds and strength of ``FILE@SECONDS`` or ``FILE@SECONDS:STRENGTH``."""
    file, at, numbers = word.rpartition("@")
    time, colon, held = numbers.partition(":")
    try:
        seconds, strength = float(time), float(held) if colon else 1.0
    except ValueError:
        seconds = strength = math.nan
    if not (at and file and 0 <= seconds < math.inf and 0 < strength <= 1):
        raise InputError(
            f"--keyframe {word!r} is not of the form FILE@SECONDS or FILE@SECONDS:STRENGTH, "
            "as end.png@2 or end.png@2:0.5; a strength lies above 0 and at most at 1"
        )
    return Path(file), seconds, strength


def _picture(path: Path) -> Clip:
    frames = probe(path).num_frames
    if frames > 1:
        raise InputError(
            f"{path} is a clip of {frames} frames; give a picture, or go on from it with --extend"
        )
    return Clip.read(path)
