"""Sample sheets: what a stage has learned, beside what is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from kinema.data.clips import to_clip
from kinema.media import write_contact_sheet

FRAMES = 9  # of a clip that are shown
FPS = 1.0  # no matter on paper


def draw_sheet(
    path: Path, rows: Mapping[str, Tensor], captions: Sequence[str], *, columns: int
) -> None:
    """A contact sheet of clips that belong together, each over its kind and its caption.

    Args:
        path: of the png, which is replaced.
        rows: {kind: clips (B, 3, T, H, W) in [-1, 1]}; of each sample the kinds follow one another.
        captions: of the samples; those of more samples are left out.
        columns: clips beside one another.
    """
    samples = list(zip(*rows.values()))
    clips = [to_clip(clip, FPS) for sample in samples for clip in sample]
    labels = [f"{kind}: {said}" for said in captions[: len(samples)] for kind in rows]
    write_contact_sheet(
        path, clips, labels, columns=columns, frames_per_clip=FRAMES, overwrite=True
    )
