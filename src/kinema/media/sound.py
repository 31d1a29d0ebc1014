"""Reading and writing sound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from kinema.errors import InputError
from kinema.files import atomic
from kinema.media.source import Source, allocate, av_errors, check_room, ends_early
from kinema.sample import Sound

# Time stamps of some containers are rounded to a millisecond. Only a larger step than this (in
# seconds) is a real gap in the sound; a smaller one would only put clicks into it.
GAP = 0.05
LAST_PIECE = 0.25  # seconds: a piece of FLAC is never longer
LEAD_IN = 0.5  # seconds decoded before the wanted start: lossy codecs need some to settle


def read_sound(path: str | Path, *, sample_rate_hz: int | None = None) -> Sound:
    """All the sound of a sound or video file.

    Args:
        path: of the file; of several sound streams the first is taken.
        sample_rate_hz: wanted rate; None keeps that of the file.

    Returns:
        One or two channels; more are mixed down to stereo.

    Raises:
        InputError: the file cannot be read, has no sound, is cut short, or holds over 2 GB.
    """
    sound = _collect(path, None, None)
    return sound if sample_rate_hz is None else resample(sound, sample_rate_hz)


def sound_between(path: str | Path, start_seconds: float, stop_seconds: float) -> Sound:
    """The sound from start to stop on the clock of the file, with silence where it has none.

    Raises:
        InputError: as `read_sound`.
    """
    return _collect(path, start_seconds, stop_seconds)


def resample(sound: Sound, sample_rate_hz: int) -> Sound:
    """The same sound at another rate, round(seconds * sample_rate_hz) samples long."""
    if sample_rate_hz == sound.sample_rate_hz or not sound.x.size:
        return Sound(sound.x, sample_rate_hz)
    layout = "mono" if len(sound.x) == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.x), format="fltp", layout=layout)
    frame.sample_rate = sound.sample_rate_hz
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=sample_rate_hz)
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    x = np.concatenate([part.to_ndarray() for part in parts], axis=1)
    whole = Sound(np.clip(x, -1, 1), sample_rate_hz)
    return whole.part(0.0, sound.seconds)


def write_wav(path: str | Path, sound: Sound, *, overwrite: bool) -> None:
    """Writes a 16-bit wav file; equal sounds give equal bytes.

    Raises:
        InputError: the file exists and `overwrite` is false, or it cannot be written.
    """
    layout = "mono" if len(sound.x) == 1 else "stereo"
    levels = np.rint(sound.x * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(levels.T.reshape(1, -1), "s16", layout)
    frame.sample_rate, frame.time_base = sound.sample_rate_hz, Fraction(1, sound.sample_rate_hz)
    with (
        atomic(path, overwrite=overwrite) as partial,
        av_errors("write", Path(path)),
        av.open(f"file:{partial}", "w", "wav", {"fflags": "+bitexact"}) as container,
    ):
        stream = container.add_stream("pcm_s16le", rate=sound.sample_rate_hz, layout=layout)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _collect(path: str | Path, start: float | None, stop: float | None) -> Sound:
    """Decoded sound placed by its time stamps; None: from the first sample, to the last."""
    with Source(path, "audio") as source, av_errors("read the sound of", Path(path)):
        if start is not None and start > LEAD_IN:
            source.seek(round((start - LEAD_IN) / source.seconds_per_tick))
        pieces: list[tuple[int, np.ndarray]] = []
        rate, expected = 0, None
        for seconds, x, rate in _decoded(source, math.inf if stop is None else stop):
            start = seconds if start is None else start
            place = round((seconds - start) * rate)
            if expected is not None and abs(place - expected) < GAP * rate:
                place = expected
            expected = place + x.shape[1]
            pieces.append((place, x))
            check_room(source.path, "sound", expected * 8.0)
        if not pieces and stop is None:
            raise InputError(f"{path} has no sound that can be decoded; choose another file")
        rate = rate or source.stream.rate
        length = (expected or 0) if stop is None else round((stop - (start or 0.0)) * rate)
        channels = pieces[0][1].shape[0] if pieces else 1
        out = allocate(source.path, "sound", (channels, length), np.float32)
        for place, x in pieces:
            inside = x[:, max(-place, 0) : max(length - place, 0)]
            first = max(place, 0)
            out[:, first : first + inside.shape[1]] = inside
        return Sound(out, rate)


def _decoded(source: Source, stop: float) -> Iterator[tuple[float, np.ndarray, int]]:
    """Yields (seconds, (C, S) float32, rate) for every piece up to `stop`.

    Raises:
        InputError: the sound changes its format on the way, or the file ends before it should.
    """
    resampler, form = None, None
    seconds = 0.0
    for packet in source.packets():
        for frame in packet.decode():
            given = (frame.format.name, frame.layout.name, frame.sample_rate)
            if form not in (None, given):
                raise InputError(f"{source.path} changes the format of its sound; convert it first")
            if resampler is None:
                form, mono = given, frame.layout.nb_channels == 1
                resampler = av.AudioResampler(format="fltp", layout="mono" if mono else "stereo")
            seconds = _seconds(frame)
            if seconds >= stop:
                return
            for part in resampler.resample(frame):
                yield seconds, np.clip(part.to_ndarray(), -1, 1), frame.sample_rate
    declared = float((source.stream.duration or 0) * source.stream.time_base)
    short = source.format == "flac" and seconds < declared - LAST_PIECE
    if short or ends_early(source.path, source.format):
        raise InputError(
            f"{source.path} is damaged or cut short: its sound ends at {seconds:.2f} seconds; "
            "fetch it again"
        )


def _seconds(frame: Any) -> float:
    return float(frame.pts * frame.time_base) if frame.pts is not None else 0.0
