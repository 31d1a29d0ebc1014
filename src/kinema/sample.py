"""Samples: named, typed fields that belong together, and what can be written to a file.

Shape letters: T frames, N objects, H height, W width, C sound channels, S sound samples.
A clip is a sample too; it lives in `kinema.clip`.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np

from kinema.errors import InputError


class Artefact(Protocol):
    """What a system's job returns: it knows how to write itself, and how its files end."""

    SUFFIXES: ClassVar[tuple[str, ...]]

    def write(self, path: str | Path, *, overwrite: bool) -> None:
        """Writes the artefact at `path`; an existing file is replaced only if `overwrite`."""


@dataclass(frozen=True, eq=False)
class Sound:
    """Sound as numbers.

    Args:
        x: (C, S) float32 in [-1, 1], one or two channels.
        sample_rate_hz: samples per second, 1 to 768,000.

    Raises:
        InputError: shape, type, range or rate does not fit.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".wav",)
    x: np.ndarray
    sample_rate_hz: int

    def __post_init__(self) -> None:
        expect_array("sound", self.x, np.float32, "C S", (None, None))
        if self.x.shape[0] not in (1, 2):
            raise InputError(f"sound must have 1 or 2 channels, not {self.x.shape[0]}; mix it down")
        if self.x.size and not np.abs(self.x).max() <= 1:
            raise InputError("sound must lie in [-1, 1] without NaN; scale or clip it")
        if not 1 <= self.sample_rate_hz <= 768_000:
            raise InputError(
                f"a sample rate must lie in 1..768000 Hz, not {self.sample_rate_hz}; "
                "give samples per second"
            )

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return float(self.x.shape[1] / self.sample_rate_hz)

    def part(self, start_seconds: float, stop_seconds: float) -> Sound:
        """The stretch [start, stop); what lies beyond either end of the sound is silence."""
        first, last = (round(t * self.sample_rate_hz) for t in (start_seconds, stop_seconds))
        inside = self.x[:, max(first, 0) : max(last, 0)]
        x = np.zeros((len(self.x), last - first), np.float32)
        x[:, max(-first, 0) :][:, : inside.shape[1]] = inside
        return Sound(x, self.sample_rate_hz)

    @classmethod
    def given(cls, value: str) -> Sound:
        """The sound of a file that a person named."""
        return cls.read(value)

    @classmethod
    def read(cls, path: str | Path, *, sample_rate_hz: int | None = None) -> Sound:
        """Reads the sound of a sound or video file; see `kinema.media.read_sound`."""
        from kinema.media.sound import read_sound

        return read_sound(path, sample_rate_hz=sample_rate_hz)

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes a 16-bit wav file."""
        from kinema.media.sound import write_wav

        write_wav(path, self, overwrite=overwrite)


@dataclass(frozen=True)
class Text:
    """A prompt, a caption or an answer: any text that is not blank."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".txt",)
    text: str

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("the text is empty; write at least one word")

    def __str__(self) -> str:
        return self.text

    @classmethod
    def given(cls, value: str) -> Self:
        """What a person wrote."""
        return cls(value)

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes a UTF-8 text file that ends with a newline."""
        from kinema.files import write_text

        write_text(path, self.text + "\n", overwrite=overwrite)


@dataclass(frozen=True)
class Folder:
    """A folder that is there.

    Raises:
        InputError: it is not.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.is_dir():
            raise InputError(f"{self.path} is no folder; name one that exists")

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def given(cls, value: str) -> Self:
        """The folder that a person named."""
        return cls(Path(value))


@dataclass(frozen=True)
class Table:
    """Rows of numbers and words.

    Args:
        columns: their names.
        rows: one value for each column.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".json", ".csv")
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), "rows as wide as the header"

    def __str__(self) -> str:
        shown = [self.columns, *(tuple(_shown(value) for value in row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*shown)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in shown
        )

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes a list of objects as .json, or .csv with a header.

        Raises:
            InputError: the file ends in something else, or cannot be written.
        """
        from kinema.files import write_text

        suffix = Path(path).suffix.lower()
        if suffix == ".json":
            objects = [dict(zip(self.columns, row)) for row in self.rows]
            text = json.dumps(objects, indent=1) + "\n"
        elif suffix == ".csv":
            buffer = io.StringIO()
            csv.writer(buffer, lineterminator="\n").writerows([self.columns, *self.rows])
            text = buffer.getvalue()
        else:
            raise InputError(f"a table is written as .json or .csv, not as {Path(path).name}")
        write_text(path, text, overwrite=overwrite)


@dataclass(frozen=True, eq=False)
class Features:
    """What an encoder said of moments of a clip or a sound.

    Args:
        x: (T, D) float32.
        seconds: (T,) float32: when each moment begins.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".npz",)
    x: np.ndarray
    seconds: np.ndarray

    def __post_init__(self) -> None:
        expect_array("features", self.x, np.float32, "T D", (None, None))
        expect_array("seconds of features", self.seconds, np.float32, "T", self.x.shape[:1])

    @classmethod
    def given(cls, value: str) -> Self:
        """Reads a .npz file with ``x`` and ``seconds``.

        Raises:
            InputError: the file is missing, damaged, or holds something else.
        """
        from kinema.media.arrays import read_arrays

        try:
            found = read_arrays(value)
            return cls(x=found["x"], seconds=found["seconds"])
        except (InputError, KeyError) as error:
            lacks = f"no {error}" if isinstance(error, KeyError) else error
            raise InputError(
                f"{value} holds no features, which are x and seconds in a .npz ({lacks})"
            ) from error

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes a .npz file."""
        from kinema.files import atomic

        with atomic(path, overwrite=overwrite) as partial:
            np.savez(partial, x=self.x, seconds=self.seconds)


@dataclass(frozen=True, eq=False)
class Boxes:
    """Where objects are: one box for each object in each frame.

    Args:
        xyxy: (T, N, 4) float32: left, top, right, bottom in pixels, the right and bottom edges
            outside the object. A box of NaN says that the object is not in that frame.
    """

    xyxy: np.ndarray

    def __post_init__(self) -> None:
        expect_array("boxes", self.xyxy, np.float32, "T N 4", (None, None, 4))
        left, top, right, bottom = np.moveaxis(self.xyxy, -1, 0)
        if ((right < left) | (bottom < top)).any():
            raise InputError(
                "boxes must be left, top, right, bottom with left <= right, top <= bottom"
            )


@dataclass(frozen=True, eq=False)
class Masks:
    """Which pixels objects cover: (T, N, H, W) bool."""

    x: np.ndarray

    def __post_init__(self) -> None:
        expect_array("masks", self.x, np.bool_, "T N H W", (None, None, None, None))


@dataclass(frozen=True, eq=False)
class Tracks:
    """Points followed through time.

    Args:
        xy: (T, N, 2) float32 in pixels, x to the right and y down; may lie outside the frame.
        visible: (T, N) bool.
    """

    xy: np.ndarray
    visible: np.ndarray

    def __post_init__(self) -> None:
        expect_array("tracks", self.xy, np.float32, "T N 2", (None, None, 2))
        expect_array("track visibility", self.visible, np.bool_, "T N", self.xy.shape[:2])


def _shown(value: str | int | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def expect_array(
    what: str, x: np.ndarray, dtype: type, letters: str, shape: tuple[int | None, ...]
) -> None:
    """Checks the type and shape of an array; None in `shape` stands for any length.

    Raises:
        InputError: names `what`, the expected letters and type, and what was given.
    """
    given = f"{x.dtype} {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
    fits = (
        isinstance(x, np.ndarray)
        and x.dtype == dtype
        and x.ndim == len(shape)
        and all(n is None or n == m for n, m in zip(shape, x.shape))
    )
    if not fits:
        raise InputError(
            f"{what} must be an array ({', '.join(letters.split())}) of {np.dtype(dtype).name}, "
            f"not {given}"
        )
