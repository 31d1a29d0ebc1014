"""Which windows a story is made of: how many frames each adds, and to which segment.

Letters: s frames to one latent frame of a causal codec, whose first latent frame is one frame.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from kinema.errors import InputError
from kinema.media.source import MAX_FRAMES
from kinema.rollout.story import Segment
from kinema.systems.keyframes import held_frames


@dataclass(frozen=True, kw_only=True)
class Window:
    """One pass of the sampler.

    Attributes:
        number: of the window, from 0.
        segment: number of the segment whose prompt it shows.
        start: frame of the story that its first new frame is.
        frames: new ones that are kept of it.
    """

    number: int
    segment: int
    start: int
    frames: int


def plan(segments: Sequence[Segment], *, num_frames: int, fps: float, stride: int) -> list[Window]:
    """The windows of a story.

    A segment begins with a window of its own, after 1 + k s frames, where the codec can hold what
    came before: borders lie at most s / 2 frames from where the seconds put them, and errors do not
    add up. Every window is made at its full length, as the model was trained; what it has too many
    of is cut. The end of the story is exact to the frame.

    Args:
        segments: in order.
        num_frames: 1 + k s, of a full window.
        fps: frames per second.
        stride: s.

    Raises:
        InputError: there is no segment, the story is too long, a segment is shorter than what can
            be cut, or windows have no frame of their own.
    """
    if not segments:
        raise InputError("the story has no segment; give at least one")
    places = [segment.place or f"segment {n}" for n, segment in enumerate(segments, start=1)]
    ends = [seconds * fps for seconds in accumulate(segment.seconds for segment in segments)]
    if ends[-1] > MAX_FRAMES:  # before windows take memory
        place = places[bisect(ends, MAX_FRAMES)]
        raise InputError(f"{place}: the story is longer than {MAX_FRAMES:,} frames; tell less")
    windows: list[Window] = []
    have = 0
    for number, segment in enumerate(segments):
        exact, last = ends[number], number == len(segments) - 1
        end = round(exact) if last else 1 + stride * round((exact - 1) / stride)
        if end <= have:
            raise InputError(
                f"{places[number]}: {segment.seconds:g} seconds leave no frame at {fps:g} per "
                f"second; make it {stride / fps:.2g} or longer"
            )
        while have < end:
            held = held_frames(have, num_frames, stride) if have else 0
            frames = min(num_frames - held, end - have)
            windows.append(Window(number=len(windows), segment=number, start=have, frames=frames))
            have += frames
    return windows
