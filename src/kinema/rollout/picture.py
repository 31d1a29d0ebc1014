"""Curves of the drift instruments as a picture: of a story with its segments, or of many clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from kinema.files import atomic
from kinema.metrics.drift import INSTRUMENTS

COLUMNS = 2
PANEL, MARGIN, HEAD = (520, 170), 16, 22  # pixels: of a curve, around it, for its name
FONT_SIZE = 13
PAPER, INK, GREY, LINE = (255, 255, 255), (28, 32, 40), (104, 110, 122), (226, 229, 234)
CURVE, ONE_OF_MANY = (37, 99, 190), (196, 202, 212)
FLAT = 1e-3  # height of the axis at least, so that rounding does not fill a panel


def drift_picture(curves: Tensor, starts: Sequence[int], fps: float | None) -> Image.Image:
    """A panel for each instrument over time, from its least to its largest value.

    Args:
        curves: (6, T) as of `drift.curves`, or (N, 6, T) of N clips, whose mean stands before them.
        starts: frames at which segments begin, drawn as upright lines.
        fps: frames per second; None where it is not known, then frames are told.
    """
    width, height = (side + 2 * MARGIN for side in PANEL)
    rows = -(-len(INSTRUMENTS) // COLUMNS)
    image = Image.new("RGB", (COLUMNS * width, rows * (height + HEAD)), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_SIZE)
    clips = curves.reshape(-1, *curves.shape[-2:])
    num_frames = clips.shape[-1]
    span = f"{num_frames / fps:.1f} s" if fps else f"{num_frames} frames"
    for number, (name, lines) in enumerate(zip(INSTRUMENTS, clips.unbind(1))):
        left = number % COLUMNS * width + MARGIN
        top = number // COLUMNS * (height + HEAD) + MARGIN + HEAD
        low, high = float(lines.min()), float(lines.max())
        title = f"{name}: {low:.3g} to {high:.3g} in {span}"
        draw.text((left, top - HEAD), title, INK if high - low > FLAT else GREY, font)
        draw.rectangle((left, top, left + PANEL[0], top + PANEL[1]), outline=LINE)
        across = PANEL[0] / max(num_frames - 1, 1)
        for start in starts:
            x = left + start * across
            draw.line((x, top, x, top + PANEL[1]), LINE)
        up = PANEL[1] / max(high - low, FLAT)
        shown = [(line, ONE_OF_MANY, 1) for line in lines if len(lines) > 1]
        for line, color, thickness in [*shown, (lines.mean(0), CURVE, 2)]:
            points = [
                (left + frame * across, top + PANEL[1] - (value - low) * up)
                for frame, value in enumerate(line.tolist())
            ]
            draw.line(points, color, thickness)
    return image


def write_drift_picture(
    path: str | Path,
    curves: Tensor,
    starts: Sequence[int],
    fps: float | None,
    *,
    overwrite: bool,
) -> None:
    """Writes `drift_picture` as a png.

    Raises:
        InputError: the file exists and `overwrite` is false, or it cannot be written.
    """
    image = drift_picture(curves, starts, fps)
    with atomic(path, overwrite=overwrite) as partial:
        image.save(partial, optimize=True)
