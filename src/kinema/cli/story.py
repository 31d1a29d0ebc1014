"""`kinema generate --story`: one long clip, told window by window; killed, it goes on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinema.cli.clips import Maker
from kinema.cli.generate import answer, report_unknown
from kinema.cli.machine import versions
from kinema.cli.outputs import CLIPS_ON_SHEET, check_clip_file, save_together, write_record
from kinema.cli.progress import sampling
from kinema.cli.terminal import Invocation, say
from kinema.clip import Clip
from kinema.errors import InputError
from kinema.files import alone, check_writable
from kinema.media import Mp4Writer, write_contact_sheet
from kinema.media.writing import CRF
from kinema.metrics.drift import FEWEST_FRAMES
from kinema.rollout import Rollout, Segment, read_story
from kinema.rollout.instruments import Instruments, summary
from kinema.rollout.parts import Parts
from kinema.rollout.picture import write_drift_picture
from kinema.systems.image_to_video import ImageToVideo

DRIFT = ".drift.png"
SHOWN = 8  # frames of a segment on the sheet


def make_story(
    file: Path,
    make_maker: Callable[[], Maker],
    place: Path,
    run: Invocation,
    *,
    seed: int,
    negative: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Tells a story, or what is left of it, and writes clip, sheet, drift and record together.

    Raises:
        InputError: the story or what is there already cannot be used, or the model cannot tell it.
    """
    segments = read_story(file)
    if place.suffix.lower() != ".mp4":
        raise InputError(f"cannot write a story as {place}; end the name in .mp4")
    check_clip_file(place, overwrite=overwrite)
    check_writable(place.with_suffix(DRIFT), overwrite=overwrite)
    maker = make_maker()
    teller = Teller(file, maker, segments, seed=seed, negative=negative)
    folder = place.with_suffix(".parts")
    try:
        with alone(folder):
            parts = Parts(folder, teller.settings, fps=maker.sampling.fps, overwrite=overwrite)
            begin = time.perf_counter()
            teller.tell(parts, run)
            told = Told.look(parts, teller.rollout)
            record = teller.record(told, seconds=time.perf_counter() - begin)
            told.write(place, parts, record, overwrite=overwrite)
            parts.remove()
    finally:
        with suppress(OSError):  # it holds finished windows, or was never made
            folder.rmdir()
    run.saved = f"{place} is written"
    say(told.report())
    answer(place, record, as_json=as_json)


class Teller:
    """A model that tells a story, and what must be told to repeat it.

    Args:
        file: of the story.
        maker: the loaded model.
        segments: what the file says.
        seed: of the noise.
        negative: what to move away from.

    Raises:
        InputError: the model cannot go on from frames or cannot read a prompt, or the story does
            not fit its windows.
    """

    def __init__(
        self, file: Path, maker: Maker, segments: Sequence[Segment], *, seed: int, negative: str
    ) -> None:
        if not isinstance(maker.model, ImageToVideo):
            raise InputError(f"{maker.name} cannot go on from given frames; choose another --model")
        self.file, self.maker, self.seed, self.negative = file, maker, seed, negative
        self.unknown_words = [self._unknown(segment) for segment in segments]
        self.rollout = Rollout(
            maker.model,
            segments,
            seed=seed,
            sampling=maker.sampling,
            negative=negative,
            image=maker.keyframes[0].clip if maker.keyframes else None,
        )
        if self.rollout.num_frames < FEWEST_FRAMES:
            raise InputError(
                f"{file} tells {self.rollout.num_frames} frames; tell {FEWEST_FRAMES} or more"
            )

    def _unknown(self, segment: Segment) -> tuple[str, ...]:
        try:
            words = self.maker.unknown_words(segment.prompt, self.negative)
        except InputError as error:
            raise InputError(f"{segment.place}: {error}") from error
        if words:
            report_unknown(segment.place, words)
        return words

    @property
    def settings(self) -> dict[str, Any]:
        """What fixes the frames."""
        return {
            **self.maker.shared_settings(),
            "story": [[segment.prompt, segment.seconds] for segment in self.rollout.segments],
            "negative": self.negative,
            "seed": self.seed,
        }

    def tell(self, parts: Parts, run: Invocation) -> None:
        """Makes the windows that are not finished."""
        windows = self.rollout.windows
        if parts.count:
            run.saved = self._saved(parts)
            say(f"going on after {parts.count} of {len(windows)} windows in {parts.folder}")
        left = windows[parts.count :]
        with sampling(passes=len(left)):
            for window in left:
                before = parts.last(self.rollout.carried)
                parts.add(self.rollout.make(window, before))
                run.saved = self._saved(parts)

    def _saved(self, parts: Parts) -> str:
        done = f"{parts.count} of {len(self.rollout.windows)} windows"
        return f"{done} are in {parts.folder}; the same command goes on"

    def record(self, told: Told, *, seconds: float) -> dict[str, Any]:
        """Everything that is needed to tell it again, and what was measured."""
        options = self.maker.options(self.seed, self.negative)
        options += [word for p in self.maker.given.pictures for word in ("--image", str(p.path))]
        return {
            "command": shlex.join(["kinema", "generate", "--story", str(self.file), *options]),
            "model": self.maker.name,
            **self.settings,
            **self.maker.adapters.names(),
            **self.maker.given.names(),
            "unknown_words": [word for words in self.unknown_words for word in words],
            "frames": self.rollout.num_frames,
            **told.record(),
            "threads": torch.get_num_threads(),
            "seconds": round(seconds, 3),
            **versions(),
        }


@dataclass(frozen=True, eq=False)
class Told:
    """A finished story: what is seen of it without holding its frames.

    Attributes:
        rollout: that made it.
        rows: some frames of each segment.
        curves: of the drift instruments, (6, T).
        seams: change at each border of windows over the median change.
        features: what identity and repetition rest on.
    """

    rollout: Rollout
    rows: list[Clip]
    curves: torch.Tensor
    seams: list[float]
    features: str

    @classmethod
    def look(cls, parts: Parts, rollout: Rollout) -> Told:
        """Goes once through the frames."""
        instruments, wanted = Instruments(rollout.num_frames), _shown(rollout)
        rows: dict[int, list[np.ndarray]] = {segment: [] for segment in wanted}
        for window, frames in zip(rollout.windows, parts):
            instruments.add(frames)
            for number in wanted.get(window.segment, ()):
                if window.start <= number < window.start + window.frames:
                    rows[window.segment].append(frames[number - window.start].copy())
        return cls(
            rollout=rollout,
            rows=[Clip(np.stack(shown), parts.fps) for shown in rows.values()],
            curves=instruments.curves(),
            seams=instruments.seams([window.start for window in rollout.windows[1:]]),
            features=instruments.name,
        )

    @property
    def starts(self) -> list[int]:
        """The first frame of each segment."""
        windows = self.rollout.windows
        firsts = {window.segment: window.start for window in reversed(windows)}
        return [firsts[segment] for segment in range(len(self.rollout.segments))]

    def record(self) -> dict[str, Any]:
        """Segments, windows and what was measured."""
        fps = self.rollout.sampling.fps
        ends = [*self.starts[1:], self.rollout.num_frames]
        return {
            "segments": [
                {
                    "prompt": segment.prompt,
                    "start_seconds": round(start / fps, 4),
                    "stop_seconds": round(end / fps, 4),
                }
                for segment, start, end in zip(self.rollout.segments, self.starts, ends)
            ],
            "windows": [
                {"segment": w.segment, "start": w.start, "frames": w.frames}
                for w in self.rollout.windows
            ],
            "seams": [round(seam, 4) for seam in self.seams],
            "drift": {name: round(value, 6) for name, value in summary(self.curves).items()},
            "drift_features": self.features,
        }

    def report(self) -> str:
        """The measured numbers as lines."""
        values = "  ".join(f"{name} {value:.3g}" for name, value in summary(self.curves).items())
        seams = "no seam: one window"
        if self.seams:
            seams = (
                f"{len(self.seams)} seams: {np.median(self.seams):.2f} times the median change "
                f"from frame to frame, at most {max(self.seams):.2f}"
            )
        return f"{seams}\ndrift: {values}"

    def write(self, place: Path, parts: Parts, record: dict[str, Any], *, overwrite: bool) -> None:
        """Writes all files, which appear together, the clip last."""
        labels = [segment.prompt for segment in self.rollout.segments]
        fps = parts.fps
        save_together(
            {
                place: lambda partial: _write_clip(partial, parts),
                place.with_suffix(".png"): lambda partial: write_contact_sheet(
                    partial,
                    self.rows,
                    labels[: len(self.rows)],
                    columns=1,
                    frames_per_clip=SHOWN,
                    overwrite=True,
                ),
                place.with_suffix(DRIFT): lambda partial: write_drift_picture(
                    partial, self.curves, self.starts, fps, overwrite=True
                ),
                place.with_suffix(".json"): lambda partial: write_record(partial, record),
            },
            overwrite=overwrite,
        )


def _shown(rollout: Rollout) -> dict[int, list[int]]:
    """Numbers of the frames on the sheet, for each segment that has a row there."""
    frames: dict[int, range] = {}
    for window in rollout.windows:
        first = frames[window.segment].start if window.segment in frames else window.start
        frames[window.segment] = range(first, window.start + window.frames)
    chosen = {}
    for segment, own in list(frames.items())[:CLIPS_ON_SHEET]:
        places = np.linspace(own.start, own.stop - 1, min(SHOWN, len(own))).round()
        chosen[segment] = [int(place) for place in places]
    return chosen


def _write_clip(path: Path, parts: Parts) -> None:
    height, width = next(iter(parts)).shape[1:3]
    with Mp4Writer(
        path, fps=parts.fps, height=height, width=width, sound=None, crf=CRF, overwrite=True
    ) as writer:
        for frames in parts:
            for frame in frames:
                writer.add(frame)
