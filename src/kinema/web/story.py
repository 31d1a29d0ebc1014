"""Stories on the page: the lines that a person writes, and how they are told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from kinema.cli.story import Teller
from kinema.cli.told import Told
from kinema.errors import InputError
from kinema.files import write_text
from kinema.processes.steps import Report, watching
from kinema.rollout import Segment
from kinema.rollout.story import segment_of
from kinema.rollout.windows import Window
from kinema.web.history import CLIP
from kinema.web.limits import Limits, number
from kinema.web.worker import Ticket

LINES = "story.txt"
SEGMENT_SECONDS = 2.0  # of a line that says nothing of it
SHORTEST = 0.1


def read_lines(lines: Any, limits: Limits) -> list[Segment]:
    """The segments in lines ``prompt | seconds``; a line without seconds lasts two.

    Blank lines and lines that begin with ``#`` are passed over, as in a file.

    Raises:
        InputError: a line cannot be used, there is none, or they are too many or too long.
    """
    most = 2 * limits.lines * limits.prompt_letters  # seconds and comments need room too
    if not isinstance(lines, str) or len(lines) > most:
        raise InputError(f"the story must be text of at most {most} letters")
    written = [
        (f"line {place}", line.strip())
        for place, line in enumerate(lines.splitlines(), start=1)
        if line.strip() and not line.strip().startswith("#")
    ]
    if not written:
        raise InputError("the story is empty; write one segment in each line: prompt | seconds")
    if len(written) > limits.lines:
        raise InputError(f"{len(written)} segments are too many; tell it in {limits.lines}")
    segments = [_read(line, place, limits) for place, line in written]
    seconds = sum(segment.seconds for segment in segments)
    if seconds > limits.story_seconds:
        raise InputError(
            f"the story lasts {seconds:g} seconds; stay within {limits.story_seconds:g}"
        )
    return segments


def _read(line: str, place: str, limits: Limits) -> Segment:
    segment = segment_of(line if "|" in line else f"{line} | {SEGMENT_SECONDS:g}", place)
    number("the seconds of a segment", segment.seconds, SHORTEST, limits.story_seconds)
    limits.prompt(segment.prompt)
    return segment


def tell(teller: Teller, place: Path, ticket: Ticket) -> None:
    """Tells a story into the folder of a run, as `kinema generate --story` does.

    The folder gets the lines too, so that the command of the record finds them.
    """
    begin = time.perf_counter()
    rollout, teller.file = teller.rollout, place / LINES
    lines = [f"{segment.prompt} | {segment.seconds}\n" for segment in rollout.segments]
    write_text(teller.file, "".join(["# prompt | seconds\n", *lines]))
    parts = teller.parts(place / "parts", overwrite=False)

    def advance(window: Window, share: float) -> None:
        prompt = rollout.segments[window.segment].prompt
        doing = f"{prompt} (from second {window.start / parts.fps:.1f})"
        ticket.advance((window.number + share) / len(rollout.windows), doing)

    def sampled(report: Report) -> None:
        advance(rollout.windows[parts.count], (report.step.index + 1) / report.step.total)

    with watching(sampled):
        teller.tell(parts, lambda window: advance(window, 1.0))
    told = Told.look(parts, rollout)
    record = teller.record(told, seconds=time.perf_counter() - begin)
    told.write(place / CLIP, parts, record, overwrite=False)
    parts.remove()
    parts.folder.rmdir()
