"""When every frame of a file is on screen: read from its packets, without decoding."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np

from kinema.errors import InputError
from kinema.media.source import MAX_FRAMES, MAX_SECONDS, Source, ends_early

# Packets are stored in decoding order. H.264 and HEVC hold back at most 16 frames, so once this
# many more packets were seen than frames are wanted, no earlier frame can follow.
REORDER = 64
# These carry no presentation times that can be trusted: frames are counted as they are decoded.
UNTIMED = {"avi"}
# Decoding always starts at the beginning: GIF and APNG paint each frame over the one before, and
# an MPEG program stream gives other times after a jump.
FROM_START = {"gif", "apng", "mpeg"}


@dataclass(frozen=True, eq=False)
class Timeline:
    """The frames of a file, or of a stretch of it, in the order in which they are shown.

    Frame 0 of a file is the first that can be shown: frames before the first keyframe, and those
    that an edit list cuts off, do not count.

    Args:
        pts: (N,) int64, increasing, in ticks. Where `counted`, simply 0, 1, 2, ...
        keys: (K,) int64: the pts at which decoding can start.
        stop: when the last frame leaves the screen, in ticks.
        origin: pts of the first frame of the file.
        zero_seconds: the time of `origin` on the clock that the file's sound shares.
        seconds_per_tick: of `pts`.
        declared_fps: what the file says, None where it says nothing.
        counted: the file carries no usable times: a frame is known by its number alone.
        has_sound: whether the file has a sound stream.
        damage: why the file ends here although it should not, or None.
    """

    pts: np.ndarray
    keys: np.ndarray
    stop: int
    origin: int
    zero_seconds: float
    seconds_per_tick: float
    declared_fps: Fraction | None
    counted: bool
    has_sound: bool
    damage: str | None

    @cached_property
    def times(self) -> np.ndarray:
        """(N,) float64: when each frame appears, in seconds after the first frame of the file."""
        return (self.pts - self.origin) * self.seconds_per_tick

    @property
    def stop_seconds(self) -> float:
        """When the last frame leaves the screen."""
        return (self.stop - self.origin) * self.seconds_per_tick

    @property
    def fps(self) -> float:
        """The declared rate, unless the times contradict it by more than one percent."""
        declared = self.declared_fps
        if len(self.pts) < 2:
            return float(declared or 25)
        measured = (len(self.pts) - 1) / float(self.times[-1] - self.times[0])
        if declared and abs(float(declared) - measured) <= 0.01 * measured:
            return float(declared)
        return float(Fraction(measured).limit_denominator(1001)) or measured

    @property
    def variable_rate(self) -> bool:
        """Whether an interval differs from the mean by over a tenth (and by over 1.5 ms)."""
        if len(self.pts) < 3:
            return False
        gaps = np.diff(self.times)
        return bool(np.abs(gaps - gaps.mean()).max() > max(0.1 * gaps.mean(), 0.0015))


def scan(
    path: str | Path, *, start_seconds: float, stop_seconds: float, num_frames: float
) -> Timeline:
    """The timeline of a file from the keyframe before `start_seconds` on.

    Args:
        path: a video or picture file.
        start_seconds: after the first frame.
        stop_seconds: packets after this time are not read; may be infinite.
        num_frames: nor are packets after so many frames; may be infinite.

    Raises:
        InputError: the file cannot be read, or holds no frame.
    """
    with Source(path, "video") as source:
        origin = None
        if start_seconds > 0 and source.format not in FROM_START:
            head = scan(path, start_seconds=0.0, stop_seconds=math.inf, num_frames=1)
            if not head.counted:
                origin = head.origin
                source.seek(origin + int(start_seconds / source.seconds_per_tick))
        first = origin if origin is not None else source.stream.start_time or 0
        last = stop_seconds / source.seconds_per_tick + first
        packets = _Packets()
        packets.read(source, last, min(num_frames, MAX_FRAMES) + REORDER)
        timeline = packets.timeline(source, origin)
        _check_length(source.path, timeline)
        return timeline


def _check_length(path: Path, timeline: Timeline) -> None:
    """What follows takes memory for every frame, and for every second at a frame rate."""
    if len(timeline.pts) > MAX_FRAMES:
        raise InputError(f"{path} has more than {MAX_FRAMES:,} frames; cut it in parts first")
    if not timeline.stop_seconds <= MAX_SECONDS:
        raise InputError(
            f"{path} claims to last {timeline.stop_seconds:.0f} seconds, more than "
            f"{MAX_SECONDS:,}; cut it in parts first, or fetch it again"
        )


class _Packets:
    """Columns of what the packets of a stream say, in decoding order."""

    def __init__(self) -> None:
        self.pts, self.keys = array("q"), array("q")
        self.top = -(2**63)  # the latest pts, and for how many ticks it is shown
        self.shown = 0
        self.last_dts: int | None = None
        self.count = 0
        self.usable = True  # every packet has its own pts, and the dts increase
        self.stopped = self.ended_early = False  # on purpose; by damage

    def read(self, source: Source, last: float, enough: float) -> None:
        """Takes packets up to decoding time `last`, or until there are `enough`."""
        try:
            self._read(source, last, enough)
        except av.FFmpegError:
            self.ended_early = True
            return
        if not self.stopped and not self.ended_early:
            fewer = source.format == "avi" and self.count < source.stream.frames
            self.ended_early = fewer or ends_early(source.path, source.format)

    def _read(self, source: Source, last: float, enough: float) -> None:
        for packet in source.packets():
            if packet.pts is None and packet.dts is None and not packet.size:
                continue  # the end
            if packet.is_corrupt and source.format == "mov":
                self.ended_early = True  # the file ends in the middle of this packet
                return
            self._take(packet)
            if self.count >= enough or (self.last_dts is not None and self.last_dts > last):
                self.stopped = True
                return

    def _take(self, packet: Any) -> None:
        self.count += 1
        if packet.dts is not None:
            self.usable &= self.last_dts is None or packet.dts > self.last_dts
            self.last_dts = packet.dts
        if packet.pts is None:
            self.usable = False
            return
        if packet.is_keyframe:
            self.keys.append(packet.pts)
        if not packet.is_discard and self.keys and packet.pts >= self.keys[0]:
            self.pts.append(packet.pts)
            if packet.pts > self.top:
                self.top, self.shown = packet.pts, packet.duration or self.shown

    def timeline(self, source: Source, origin: int | None) -> Timeline:
        """What was read, in the order in which it is shown.

        Args:
            source: the file that was read.
            origin: pts of its first frame; None where reading began with it.
        """
        pts = np.unique(np.array(self.pts, np.int64))
        if not self.count or (self.usable and not len(pts)):
            raise InputError(f"{source.path} has no frames, or is cut short; fetch it again")
        timed = source.format not in UNTIMED and self.usable and len(pts) == len(self.pts)
        if not timed or self.last_dts is None:
            return self._counted(source)
        if self.stopped or self.ended_early:
            # Up to the last decoding time all frames are there; of later ones some may be missing.
            pts = pts[pts <= self.last_dts]
        keys = np.unique(np.array(self.keys, np.int64))
        first = int(pts[0]) if origin is None and len(pts) else origin or 0
        shown = self.shown or (int(np.median(np.diff(pts))) if len(pts) > 1 else 1)
        stop = int(pts[-1]) + shown if len(pts) else first
        if self.stopped:
            stop = max(stop, self.last_dts + 1)  # no further frame appears before that
        return Timeline(
            pts=pts,
            keys=keys[:1] if source.format in FROM_START else keys,
            stop=stop,
            origin=first,
            zero_seconds=first * source.seconds_per_tick,
            seconds_per_tick=source.seconds_per_tick,
            declared_fps=_declared_fps(source),
            counted=False,
            has_sound=bool(source.container.streams.audio),
            damage=self._damage(source, (stop - first) * source.seconds_per_tick),
        )

    def _counted(self, source: Source) -> Timeline:
        count = 0 if self.ended_early else self.count
        return Timeline(
            pts=np.arange(count),
            keys=np.arange(1),
            stop=count,
            origin=0,
            zero_seconds=(source.stream.start_time or 0) * source.seconds_per_tick,
            seconds_per_tick=float(1 / (_declared_fps(source) or 25)),
            declared_fps=_declared_fps(source),
            counted=True,
            has_sound=bool(source.container.streams.audio),
            damage=self._damage(source, 0.0),
        )

    def _damage(self, source: Source, seconds: float) -> str | None:
        return cut_short(source.path, seconds) if self.ended_early else None


def _declared_fps(source: Source) -> Fraction | None:
    return source.stream.average_rate or source.stream.guessed_rate or None


def cut_short(path: Path, seconds: float) -> str:
    """The message for a file of which only the first `seconds` are whole."""
    rest = f", or read only its first {seconds:.2f} seconds" if seconds > 0 else ""
    return (
        f"{path} is damaged or cut short after {max(seconds, 0):.2f} seconds; fetch it again{rest}"
    )
