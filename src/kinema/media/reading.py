"""Reading frames: exact frames by number, stretches by time, and streams of any length.

Every way of reading first takes the file's timeline (`kinema.media.timeline`, packets only), then
decides which frames are wanted and decodes from the keyframe before each of them. Times are
seconds after the first frame. A file that is cut short can be read up to the damage and no further.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from kinema.clip import MAX_FPS, Clip, check_fps, check_size, frames_on_screen
from kinema.errors import InputError
from kinema.media.pixels import cover, to_rgb
from kinema.media.sound import sound_between
from kinema.media.source import MAX_FRAMES, Source, allocate
from kinema.media.timeline import Timeline, cut_short, scan

FAR = 12  # frames: where a keyframe lies further ahead than this, seeking beats decoding on


@dataclass(frozen=True)
class MediaInfo:
    """What is in a video or picture file.

    Sizes are those of the upright picture, after rotation. `pixel_format` is FFmpeg's name for
    what is stored; frames are read as 8-bit RGB whatever it is.
    """

    num_frames: int
    fps: float
    height: int
    width: int
    seconds: float
    has_sound: bool
    pixel_format: str
    variable_rate: bool


def probe(path: str | Path) -> MediaInfo:
    """Reads through a file without decoding more than its first frame.

    Raises:
        InputError: the file cannot be read or is cut short.
    """
    timeline = scan(path, start_seconds=0.0, stop_seconds=math.inf, num_frames=math.inf)
    if timeline.damage:
        raise InputError(timeline.damage)
    frame = next(_decode(Path(path), timeline, np.arange(1)))
    height, width, _ = to_rgb(frame).shape
    return MediaInfo(
        num_frames=len(timeline.pts),
        fps=timeline.fps,
        height=height,
        width=width,
        seconds=timeline.stop_seconds,
        has_sound=timeline.has_sound,
        pixel_format=frame.format.name,
        variable_rate=timeline.variable_rate,
    )


def read_frames(path: str | Path, indices: Sequence[int]) -> np.ndarray:
    """Exactly the frames with these numbers.

    Args:
        path: a video, GIF or picture file.
        indices: in any order, repeats allowed; 0 is the first frame that is shown.

    Returns:
        (N, H, W, 3) uint8 RGB, in the order of `indices`.

    Raises:
        InputError: no index, a negative one or one beyond the end; the file cannot be read or is
            damaged before the last of them; over 2 GB.
    """
    timeline = _timeline_of(path, indices)
    wanted, places = np.unique(np.asarray(indices), return_inverse=True)
    return _gather(Path(path), timeline, wanted, None)[places]


def stream_frames(path: str | Path, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """The frames that `read_frames` would give, one after the other: (H, W, 3) uint8 RGB each.

    They need no more memory than one, however many they are.

    Args:
        path: a video, GIF or picture file.
        indices: none smaller than the one before it, repeats allowed.

    Raises:
        InputError: as `read_frames`, by the call itself; damage when it is reached.
    """
    assert all(a <= b for a, b in itertools.pairwise(indices)), "frames in their order"
    return _play(Path(path), _timeline_of(path, indices), np.asarray(indices), None)


def _timeline_of(path: str | Path, indices: Sequence[int]) -> Timeline:
    """The timeline of a file up to the last of some frames, all of which it has."""
    if not len(indices) or min(indices) < 0:
        raise InputError(f"frame numbers must be 0 or more, at least one; not {list(indices)[:4]}")
    last = max(indices)
    timeline = scan(path, start_seconds=0.0, stop_seconds=math.inf, num_frames=last + 1)
    if last >= len(timeline.pts):
        held = f"{path} has {len(timeline.pts)} frames; frame {last} is beyond its end"
        raise InputError(timeline.damage or held)
    return timeline


def read_clip(
    path: str | Path,
    *,
    start_seconds: float = 0.0,
    stop_seconds: float = math.inf,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> Clip:
    """A stretch of a file as a clip, with its sound.

    Args:
        path: a video, GIF or picture file. A file of one frame gives one frame at any fps.
        start_seconds: the clip starts with the frame that is on screen at this time.
        stop_seconds: and ends before this time, or with the file.
        fps: frame rate of the clip; frames are chosen by `kinema.clip.frames_on_screen`. None
            keeps the stored frames one for one; a file of variable rate is then brought to its
            mean rate, so that motion keeps its speed.
        size: (height, width): frames are scaled to cover it and the middle is cut out.

    Raises:
        InputError: the file cannot be read, is damaged before `stop_seconds`, has no frame
            there, or would take over 2 GB.
    """
    plan = _plan(path, start_seconds, stop_seconds, fps, size)
    frames = _gather(plan.path, plan.timeline, plan.indices, size)
    if not plan.timeline.has_sound:
        return Clip(frames, plan.fps)
    start = plan.timeline.zero_seconds + start_seconds
    return Clip(frames, plan.fps, sound_between(path, start, start + len(frames) / plan.fps))


def stream(
    path: str | Path,
    *,
    start_seconds: float,
    stop_seconds: float,
    fps: float | None,
    size: tuple[int, int] | None,
) -> Iterator[np.ndarray]:
    """The frames that `read_clip` would give, one after the other: (H, W, 3) uint8 RGB each.

    A file of any length needs no more memory than a few frames. Bad input is reported by the call
    itself; damage in the middle of the file when it is reached.
    """
    plan = _plan(path, start_seconds, stop_seconds, fps, size)
    return _play(plan.path, plan.timeline, plan.indices, size)


@dataclass(frozen=True, eq=False)
class _Plan:
    path: Path
    timeline: Timeline
    indices: np.ndarray
    fps: float


def _plan(
    path: str | Path,
    start_seconds: float,
    stop_seconds: float,
    fps: float | None,
    size: tuple[int, int] | None,
) -> _Plan:
    if not 0 <= start_seconds < stop_seconds:
        raise InputError(
            f"the range {start_seconds} to {stop_seconds} seconds is empty; "
            "give 0 <= start_seconds < stop_seconds"
        )
    if fps is not None:
        check_fps(fps)
    if size is not None:
        check_size(*size)
    timeline = scan(
        path, start_seconds=start_seconds, stop_seconds=stop_seconds, num_frames=math.inf
    )
    end = timeline.stop_seconds
    if timeline.damage and stop_seconds > end + 1e-6:
        raise InputError(timeline.damage)
    if start_seconds >= end:
        raise InputError(
            f"{path} lasts {end:.2f} seconds; start before that, not at {start_seconds}"
        )
    rate = fps or timeline.fps
    if rate > MAX_FPS:
        raise InputError(f"{path} claims {rate:.0f} frames per second; pass the fps you want")
    stop = min(stop_seconds, end)
    if (stop - start_seconds) * rate > MAX_FRAMES:
        raise InputError(
            f"{path} gives {(stop - start_seconds) * rate:.0f} frames at {rate:g} per second, more "
            f"than {MAX_FRAMES:,}; read a part of it, or pass a lower fps"
        )
    shown = frames_on_screen(timeline.times, start=start_seconds, stop=stop, fps=rate)
    if len(timeline.pts) == 1 and timeline.pts[0] == timeline.origin:
        shown = shown[:1]  # a picture, or a video of one frame
    elif fps is None and not timeline.variable_rate:
        shown = np.arange(shown[0], shown[-1] + 1)
    return _Plan(Path(path), timeline, shown, rate)


def _gather(
    path: Path, timeline: Timeline, indices: np.ndarray, size: tuple[int, int] | None
) -> np.ndarray:
    """All wanted frames in one array, allocated when the size of the first is known."""
    out: np.ndarray | None = None
    for i, frame in enumerate(_play(path, timeline, indices, size)):
        if out is None:
            out = allocate(path, "frames", (len(indices), *frame.shape), np.uint8)
        out[i] = frame
    assert out is not None
    return out


def _play(
    path: Path, timeline: Timeline, indices: np.ndarray, size: tuple[int, int] | None
) -> Iterator[np.ndarray]:
    """Yields a frame for every index; `indices` never decrease."""
    shape: tuple[int, ...] | None = None
    wanted, repeats = np.unique(indices, return_counts=True)
    for frame, count in zip(_decode(path, timeline, wanted), repeats):
        x = to_rgb(frame)
        if size is not None:
            x = cover(x, *size)
        if shape not in (None, x.shape):
            raise InputError(f"{path} changes its picture size on the way; pass the size you want")
        shape = x.shape
        for _ in range(count):
            yield x


def _decode(path: Path, timeline: Timeline, wanted: np.ndarray) -> Iterator[Any]:
    """Yields the decoded frame of every index in `wanted`, which increase."""
    pts, keys = timeline.pts, timeline.keys
    with Source(path, "video") as source:
        frames = decoded(source, counted=timeline.counted)
        position = -1 if keys[0] == timeline.origin else -math.inf  # index of the last frame seen
        for index in wanted:
            target = int(pts[index])
            key = int(keys[np.searchsorted(keys, target, side="right") - 1])
            if np.searchsorted(pts, key) > position + FAR:
                source.seek(key)
                fresh = _from_key(source, keys)
                if fresh is None:
                    keys = pts[:1]  # no key is to be trusted: decode from the start, never jump
                    source.restart()
                frames = fresh or decoded(source, counted=False)
            frame = _forward(frames, target)
            if frame is None or frame.is_corrupt:
                raise InputError(cut_short(path, float(timeline.times[index])))
            position = index
            yield frame


def _from_key(source: Source, keys: np.ndarray) -> Iterator[tuple[int, Any]] | None:
    """Decodes on after a jump; None if the place is no true keyframe.

    In a stream of periodic intra refresh the "keyframes" only say where a picture begins to heal,
    and some containers guess other times after a jump than when they are read in one go.
    """
    frames = decoded(source, counted=False)
    with contextlib.suppress(av.FFmpegError):
        first = next(frames, None)
        predicted = first is not None and first[1].pict_type in (PictureType.P, PictureType.B)
        known = first is not None and (first[0] in keys or first[0] < keys[0])
        if first is not None and known and not predicted:
            return itertools.chain([first], frames)
    return None


def _forward(frames: Iterator[tuple[int, Any]], target: int) -> Any:
    """Decodes on to the frame of pts `target`; None if it does not come or cannot be decoded."""
    with contextlib.suppress(av.FFmpegError):
        for pts, frame in frames:
            if pts >= target:
                return frame if pts == target else None
    return None


def decoded(source: Source, *, counted: bool) -> Iterator[tuple[int, Any]]:
    """Decodes on from where `source` stands: (pts, frame) in the order in which they are shown.

    Args:
        source: a video source.
        counted: number the frames 0, 1, 2, ... in place of their pts.
    """
    count = 0
    for packet in source.packets():
        for frame in packet.decode():
            if counted or frame.pts is not None:
                yield (count if counted else frame.pts), frame
            count += 1
