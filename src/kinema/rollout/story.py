"""Stories: segments of a prompt and how long it lasts, and the file that holds them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from kinema.errors import InputError

LONGEST_SECONDS = 3600.0  # of a segment


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a story.

    Args:
        prompt: what it shows.
        seconds: how long, above 0 and at most 3600.
        place: where it was read, as ``story.txt:3``; errors begin with it.

    Raises:
        InputError: the prompt is blank or no text, or the seconds are out of their range.
    """

    prompt: str
    seconds: float
    place: str = ""

    def __post_init__(self) -> None:
        where = f"{self.place}: " if self.place else ""
        if not self.prompt.strip():
            raise InputError(f"{where}the prompt is empty; write at least one word")
        try:
            self.prompt.encode()
        except UnicodeEncodeError:
            raise InputError(f"{where}the prompt is not UTF-8 text") from None
        if not 0 < self.seconds <= LONGEST_SECONDS:
            raise InputError(
                f"{where}a segment lasts more than 0 and at most {LONGEST_SECONDS:g} seconds, "
                f"not {self.seconds:g}"
            )


def read_story(path: str | Path) -> list[Segment]:
    """The segments of a file: lines ``prompt | seconds`` in UTF-8.

    Blank lines and lines that begin with ``#`` are passed over. The last ``|`` of a line parts
    them, so a prompt may hold one.

    Raises:
        InputError: the file cannot be read, holds no segment, or a line cannot be used; the first
            such line is named as ``FILE:NUMBER``.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the story in {path}: {error.strerror}") from error
    segments = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if line.strip() and not line.lstrip().startswith(b"#"):
            place = f"{path}:{number}"
            try:
                segments.append(segment_of(line.decode(), place))
            except UnicodeDecodeError:
                raise InputError(f"{place}: the line is not UTF-8 text") from None
    if not segments:
        raise InputError(f"{path} holds no segment; write one in each line: prompt | seconds")
    return segments


def segment_of(line: str, place: str) -> Segment:
    """The segment in a line ``prompt | seconds``.

    Args:
        line: its last ``|`` parts them.
        place: where it stands; errors begin with it.

    Raises:
        InputError: it cannot be used.
    """
    prompt, bar, after = line.rpartition("|")
    if not bar:
        raise InputError(f"{place}: no seconds; write: prompt | seconds, as a red circle | 4")
    try:
        seconds = float(after)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        raise InputError(
            f"{place}: {after.strip()!r:.40} after the last | is no number of seconds; "
            "write: prompt | seconds"
        )
    return Segment(prompt=prompt.strip(), seconds=seconds, place=place)
