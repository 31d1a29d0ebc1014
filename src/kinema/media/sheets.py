"""Contact sheets: clips as rows of evenly spaced frames over their captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.files import atomic
from kinema.media.pixels import resize

WHITE, DARK_GREY = (255, 255, 255), (64, 64, 64)
MARGIN, GAP, BETWEEN = 16, 3, 18  # pixels: around the sheet, between frames, between cells
FONT_SIZE, LINE, MAX_LINES = 13, 17, 4
SMALLEST, LARGEST = 96, 192  # height of a shown frame


def contact_sheet(
    clips: Sequence[Clip], labels: Sequence[str], *, columns: int, frames_per_clip: int
) -> Image.Image:
    """A picture of many clips.

    Each clip is a cell: `frames_per_clip` frames from the first to the last, evenly spaced, and its
    label below them. Small clips are enlarged by a whole factor without smoothing, so that every
    pixel can be seen; large ones are scaled down to 192 lines.

    Args:
        clips: at least one.
        labels: one for each clip; wrapped, at most four lines are shown.
        columns: cells beside each other.
        frames_per_clip: of a shorter clip all frames are shown.

    Raises:
        InputError: no clip, not one label for each, or a count below one.
    """
    if not clips or len(clips) != len(labels):
        raise InputError(
            f"a sheet needs clips and a label for each, not {len(clips)}, {len(labels)}"
        )
    if columns < 1 or frames_per_clip < 1:
        raise InputError(f"a sheet needs columns and frames, not {columns} and {frames_per_clip}")
    font = ImageFont.load_default(FONT_SIZE)
    strips = [_strip(clip, frames_per_clip) for clip in clips]
    width = max(strip.width for strip in strips)
    texts = [_wrapped(label, font, width) for label in labels]
    columns = min(columns, len(clips))
    rows = [range(i, min(i + columns, len(clips))) for i in range(0, len(clips), columns)]
    heights = [
        max(strips[i].height for i in row) + 6 + LINE * max(len(texts[i]) for i in row)
        for row in rows
    ]
    size = (
        2 * MARGIN + columns * width + (columns - 1) * BETWEEN,
        2 * MARGIN + sum(heights) + (len(rows) - 1) * BETWEEN,
    )
    sheet = Image.new("RGB", size, WHITE)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for row, height in zip(rows, heights):
        tallest = max(strips[i].height for i in row)
        for column, i in enumerate(row):
            left = MARGIN + column * (width + BETWEEN)
            sheet.paste(strips[i], (left, top + tallest - strips[i].height))
            for n, line in enumerate(texts[i]):
                draw.text((left, top + tallest + 6 + n * LINE), line, DARK_GREY, font)
        top += height + BETWEEN
    return sheet


def write_contact_sheet(
    path: str | Path,
    clips: Sequence[Clip],
    labels: Sequence[str],
    *,
    columns: int,
    frames_per_clip: int,
    overwrite: bool,
) -> None:
    """Writes `contact_sheet` as a png.

    Raises:
        InputError: as `contact_sheet`; the file is no .png, or exists and `overwrite` is false.
    """
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"cannot write a contact sheet as {path}; end the name in .png")
    sheet = contact_sheet(clips, labels, columns=columns, frames_per_clip=frames_per_clip)
    with atomic(path, overwrite=overwrite) as partial:
        sheet.save(partial, optimize=True)


def _strip(clip: Clip, count: int) -> Image.Image:
    """Evenly spaced frames beside each other, the first and the last among them."""
    chosen = np.linspace(0, clip.num_frames - 1, min(count, clip.num_frames)).round().astype(int)
    pictures = [fitted(clip.frames[i]) for i in chosen]
    height, width, _ = pictures[0].shape
    strip = np.full((height, len(pictures) * (width + GAP) - GAP, 3), 255, np.uint8)
    for n, picture in enumerate(pictures):
        strip[:, n * (width + GAP) : n * (width + GAP) + width] = picture
    return Image.fromarray(strip)


def fitted(frame: np.ndarray) -> np.ndarray:
    """A frame (H, W, 3) uint8 in the size that a sheet shows; one of that size stays as it is."""
    height, width, _ = frame.shape
    if height > LARGEST:
        return resize(frame, LARGEST, max(round(width * LARGEST / height), 1))
    factor = -(-SMALLEST // height)
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def _wrapped(
    text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int
) -> list[str]:
    """Lines of at most `width` pixels; a word longer than a line is broken."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if font.getlength(lines[-1] + letter) > width and lines[-1]:
                lines.append("")
            lines[-1] += letter
    if len(lines) > MAX_LINES:
        lines = lines[:MAX_LINES]
        while font.getlength(lines[-1] + " ...") > width and lines[-1]:
            lines[-1] = lines[-1][:-1]
        lines[-1] += " ..."
    return lines
