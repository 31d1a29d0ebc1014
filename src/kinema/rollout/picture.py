"""Curves of the drift instruments as a picture, with the segments of the story below them."""

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
CURVE = (37, 99, 190)
FLAT = 1e-3  # height of the axis at least, so that rounding does not fill a panel


def drift_picture(curves: Tensor, starts: Sequence[int], fps: float) -> Image.Image:
    """A panel for each instrument over time, from its least to its largest value.

    Args:
        curves: (6, T), as of `drift.curves`.
        starts: frames at which segments begin, drawn as upright lines.
        fps: frames per second.
    """
    width, height = (side + 2 * MARGIN for side in PANEL)
    rows = -(-len(curves) // COLUMNS)
    image = Image.new("RGB", (COLUMNS * width, rows * (height + HEAD)), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_SIZE)
    seconds = curves.shape[1] / fps
    for number, (name, curve) in enumerate(zip(INSTRUMENTS, curves)):
        left = number % COLUMNS * width + MARGIN
        top = number // COLUMNS * (height + HEAD) + MARGIN + HEAD
        low, high = float(curve.min()), float(curve.max())
        title = f"{name}: {low:.3g} to {high:.3g} in {seconds:.1f} s"
        draw.text((left, top - HEAD), title, INK if high - low > FLAT else GREY, font)
        draw.rectangle((left, top, left + PANEL[0], top + PANEL[1]), outline=LINE)
        across = PANEL[0] / max(curves.shape[1] - 1, 1)
        for start in starts:
            x = left + start * across
            draw.line((x, top, x, top + PANEL[1]), LINE)
        up = PANEL[1] / max(high - low, FLAT)
        points = [
            (left + frame * across, top + PANEL[1] - (value - low) * up)
            for frame, value in enumerate(curve.tolist())
        ]
        draw.line(points, CURVE, 2)
    return image


def write_drift_picture(
    path: str | Path, curves: Tensor, starts: Sequence[int], fps: float, *, overwrite: bool
) -> None:
    """Writes `drift_picture` as a png.

    Raises:
        InputError: the file exists and `overwrite` is false, or it cannot be written.
    """
    image = drift_picture(curves, starts, fps)
    with atomic(path, overwrite=overwrite) as partial:
        image.save(partial, optimize=True)
