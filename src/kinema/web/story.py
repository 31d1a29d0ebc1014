"""Stories on the page: the lines a person writes, and the driver of long video behind them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kinema.cli.clips import Maker
from kinema.cli.machine import versions
from kinema.clip import Clip
from kinema.errors import InputError
from kinema.processes.steps import Callback, Report, watching
from kinema.rollout import Rollout, Segment
from kinema.rollout.story import segment_of
from kinema.systems.image_to_video import ImageToVideo
from kinema.web.limits import number
from kinema.web.studio import Studio
from kinema.web.worker import Ticket

SEGMENT_SECONDS = 2.0  # of a line that says nothing of it
SHORTEST = 0.1
ROOM_FOR_SECONDS = 99  # letters of a line beside its prompt


def read_lines(lines: Any, studio: Studio) -> list[Segment]:
    """The segments in lines ``prompt | seconds``; a line without seconds lasts two.

    Raises:
        InputError: a line cannot be used, there is none, or they are too many or too long.
    """
    limits = studio.limits
    most = limits.lines * (limits.prompt_letters + ROOM_FOR_SECONDS)
    if not isinstance(lines, str) or len(lines) > most:
        raise InputError(f"the story must be text of at most {most} letters")
    written = [line for line in lines.splitlines() if line.strip()]
    if not written:
        raise InputError("the story is empty; write one segment in each line: prompt | seconds")
    if len(written) > limits.lines:
        raise InputError(f"{len(written)} segments are too many; tell it in {limits.lines}")
    segments = [_read(line, f"line {n}", studio) for n, line in enumerate(written, start=1)]
    seconds = sum(segment.seconds for segment in segments)
    if seconds > limits.story_seconds:
        raise InputError(
            f"the story lasts {seconds:g} seconds; stay within {limits.story_seconds:g}"
        )
    return segments


def _read(line: str, place: str, studio: Studio) -> Segment:
    segment = segment_of(line if "|" in line else f"{line} | {SEGMENT_SECONDS:g}", place)
    number("the seconds of a segment", segment.seconds, SHORTEST, studio.limits.story_seconds)
    studio.limits.prompt(segment.prompt)
    studio.maker.unknown_words(segment.prompt, "")  # says early that it cannot be read
    return segment


def rollout_of(maker: Maker, segments: list[Segment], seed: int) -> Rollout:
    """The windows of a story. Raises InputError if it cannot be cut into any."""
    assert isinstance(maker.model, ImageToVideo)
    return Rollout(
        maker.model, segments, seed=seed, sampling=maker.sampling, negative="", image=None
    )


def tell(rollout: Rollout, ticket: Ticket) -> Clip:
    """The whole story; `Limits.story_seconds` keeps it small enough to be held."""
    frames: list[np.ndarray] = []
    fps = rollout.sampling.fps
    for window in rollout.windows:
        before = Clip(np.concatenate(frames)[-rollout.carried :], fps) if frames else None
        doing = f"{rollout.segments[window.segment].prompt} (from second {window.start / fps:.1f})"
        with watching(_told(ticket, window.number, len(rollout.windows), doing)):
            frames.append(rollout.make(window, before).frames)
    return Clip(np.concatenate(frames), fps)


def _told(ticket: Ticket, window: int, windows: int, doing: str) -> Callback:
    """Tells a ticket of each step of a window."""

    def told(report: Report) -> None:
        share = (report.step.index + 1) / report.step.total
        ticket.advance((window + share) / windows, doing)

    return told


def record_of(maker: Maker, rollout: Rollout, *, seconds: float) -> dict[str, Any]:
    """Everything that is needed to tell a story again."""
    return {
        "model": maker.name,
        **maker.shared_settings(),
        "story": [{"prompt": s.prompt, "seconds": s.seconds} for s in rollout.segments],
        "seed": rollout.seed,
        "unknown_words": [
            word for s in rollout.segments for word in maker.unknown_words(s.prompt, "")
        ],
        "seconds": round(seconds, 3),
        **versions(),
    }
