"""A told story: what is seen of it, and its files: clip, sheet, curves of drift and record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinema.cli.outputs import CLIPS_ON_SHEET, save_together, write_record
from kinema.clip import Clip
from kinema.media import Mp4Writer, write_contact_sheet
from kinema.media.sheets import fitted
from kinema.media.writing import CRF
from kinema.rollout import Rollout, Segment
from kinema.rollout.instruments import Instruments, summary
from kinema.rollout.parts import Parts
from kinema.rollout.picture import write_drift_picture
from kinema.rollout.windows import Window

DRIFT = ".drift.png"
SHOWN = 8  # frames of a segment on the sheet


@dataclass(frozen=True, eq=False)
class Told:
    """A finished story: what is seen of it, without its frames and without the model.

    Attributes:
        segments: what was told.
        windows: in which.
        fps: frames per second.
        rows: some frames of each segment, in the size of the sheet.
        curves: of the drift instruments, (6, T).
        seams: change at each border of windows over the median change.
        features: what identity and repetition rest on.
    """

    segments: Sequence[Segment]
    windows: Sequence[Window]
    fps: float
    rows: list[Clip]
    curves: torch.Tensor
    seams: list[float]
    features: str

    @classmethod
    def look(cls, parts: Parts, rollout: Rollout) -> Told:
        """Goes once through the frames."""
        instruments, wanted = Instruments(rollout.num_frames), _shown(rollout.windows)
        rows: dict[int, list[np.ndarray]] = {segment: [] for segment in wanted}
        for window, frames in zip(rollout.windows, parts):
            instruments.add(frames)
            for number in wanted.get(window.segment, ()):
                if window.start <= number < window.start + window.frames:
                    rows[window.segment].append(fitted(frames[number - window.start]))
        return cls(
            segments=rollout.segments,
            windows=rollout.windows,
            fps=parts.fps,
            rows=[Clip(np.stack(shown), parts.fps) for shown in rows.values()],
            curves=instruments.curves(),
            seams=instruments.seams([window.start for window in rollout.windows[1:]]),
            features=instruments.name,
        )

    @property
    def starts(self) -> list[int]:
        """The first frame of each segment."""
        firsts = {window.segment: window.start for window in reversed(self.windows)}
        return [firsts[segment] for segment in range(len(self.segments))]

    def record(self) -> dict[str, Any]:
        """Segments, windows and what was measured."""
        ends = [*self.starts[1:], self.curves.shape[1]]
        return {
            "segments": [
                {
                    "prompt": segment.prompt,
                    "start_seconds": round(start / self.fps, 4),
                    "stop_seconds": round(end / self.fps, 4),
                }
                for segment, start, end in zip(self.segments, self.starts, ends)
            ],
            "windows": [
                {"segment": w.segment, "start": w.start, "frames": w.frames} for w in self.windows
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
        labels = [segment.prompt for segment in self.segments]
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
                    partial, self.curves, self.starts, self.fps, overwrite=True
                ),
                place.with_suffix(".json"): lambda partial: write_record(partial, record),
            },
            overwrite=overwrite,
        )


def _shown(windows: Sequence[Window]) -> dict[int, list[int]]:
    """Numbers of the frames on the sheet, for each segment that has a row there."""
    frames: dict[int, range] = {}
    for window in windows:
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
