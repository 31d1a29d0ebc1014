"""The field as a picture: how many methods each task has in each year.

A row for each task, a column for each year, and in each field a disk whose area is the count; above
and on the right the sums as bars.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from kinema.catalog.methods import AREAS, CATEGORIES, TASKS, Method
from kinema.errors import InputError
from kinema.files import atomic

SCALE = 2  # drawn twice as large as it is described here, for screens with fine pixels
WIDTH, MARGIN = 1080, 36
LABELS, TOTALS = 190, 210  # width of the names of tasks, of the bars on the right
TOP, BARS, FOOT = 96, 96, 112  # height of the heading, of the bars above, of the foot
ROW, RADIUS = 54, 25  # height of a row, largest radius of a disk
EARLIEST = 2021  # what is older shares one column
TITLE, TEXT, SMALL = 26, 15, 13
LONGEST_HEADING = 68  # letters

PAPER, INK, GREY, LINE = (255, 255, 255), (28, 32, 40), (104, 110, 122), (226, 229, 234)
COLORS = {
    "resources": (122, 132, 150),
    "generation": (37, 99, 190),
    "editing": (205, 92, 30),
    "understanding": (30, 138, 96),
    "unknown": (150, 134, 170),
}
AREA_OF = {category.task: category.area for category in CATEGORIES.values()}

Year = int | None
Color = tuple[int, int, int]
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def picture(methods: Sequence[Method], heading: str) -> Image.Image:
    """Draws methods by year and task.

    Args:
        methods: at least one; a method with several tasks is in the row of each.
        heading: what these methods are.

    Raises:
        InputError: there is no method.
    """
    if not methods:
        raise InputError("no method is left to be drawn; ask for less")
    return _Sheet(methods, heading).image


def write_picture(
    path: str | Path, methods: Sequence[Method], heading: str, *, overwrite: bool
) -> None:
    """Writes `picture` as a png.

    Raises:
        InputError: as `picture`; the file is no .png, or exists and `overwrite` is false.
    """
    if Path(path).suffix.lower() != ".png":
        raise InputError(f"cannot write the picture as {path}; end the name in .png")
    image = picture(methods, heading)
    with atomic(path, overwrite=overwrite) as partial:
        image.save(partial, optimize=True)


def by_task_and_year(methods: Sequence[Method]) -> dict[str, dict[Year, int]]:
    """{task: {year: methods}} in the order of `TASKS`; the year of a method may be None."""
    counts = Counter((task, method.year) for method in methods for task in method.tasks)
    years = sorted({year for _, year in counts}, key=lambda year: year or 9999)
    return {
        task: {year: counts[task, year] for year in years if counts[task, year]}
        for task in TASKS
        if any(counts[task, year] for year in years)
    }


class _Sheet:
    """The picture while it is drawn; lengths are in its own units, `SCALE` pixels each."""

    def __init__(self, methods: Sequence[Method], heading: str) -> None:
        self.counts = by_task_and_year(methods)
        self.columns = _columns(methods)
        self.totals = Counter(_column(method.year) for method in methods)
        size = WIDTH, TOP + BARS + 30 + ROW * len(self.counts) + FOOT
        self.image = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.left = MARGIN + LABELS
        self.step = (WIDTH - self.left - TOTALS - MARGIN) / len(self.columns)
        self.first_row = TOP + BARS + 30
        self.text((MARGIN, 30), textwrap.shorten(heading, LONGEST_HEADING), TITLE, INK, "lt")
        several = sum(len(method.tasks) > 1 for method in methods)
        note = f"{len(methods)} methods by task and year"
        if several:
            note += f"; {several} with several tasks are in the row of each"
        self.text((MARGIN, 66), note, TEXT, GREY, "lt")
        self.years()
        self.tasks()
        self.foot(size[1])

    def years(self) -> None:
        """Bars of all methods of a year, and the years below them."""
        most = max(self.totals.values())
        floor = TOP + BARS
        for index, column in enumerate(self.columns):
            x = self.left + (index + 0.5) * self.step
            height = (BARS - 20) * self.totals[column] / most
            half = min(self.step * 0.28, 24)
            if height:
                self.box((x - half, floor - max(height, 1), x + half, floor), GREY)
            self.text((x, floor - height - 5), str(self.totals[column] or ""), TEXT, INK, "mb")
            self.text((x, floor + 20), column, TEXT, INK, "ms")
        self.text((WIDTH - MARGIN - TOTALS + 16, floor + 20), "all years", TEXT, INK, "ls")

    def tasks(self) -> None:
        """A row for each task: its name, disks, and the bar of its sum."""
        sums = {task: sum(years.values()) for task, years in self.counts.items()}
        cells = {task: _in_columns(years) for task, years in self.counts.items()}
        largest = max(max(row.values()) for row in cells.values())
        right = WIDTH - MARGIN - TOTALS
        for index, (task, row) in enumerate(cells.items()):
            top = self.first_row + index * ROW
            y = top + ROW / 2
            color = COLORS[AREA_OF[task]]
            self.box((MARGIN, top, WIDTH - MARGIN, top + 1), LINE)
            self.text((MARGIN, y), _label(task), TEXT + 1, color, "lm")
            for column, count in row.items():
                x = self.left + (self.columns.index(column) + 0.5) * self.step
                self.disk((x, y), RADIUS * (count / largest) ** 0.5, count, color)
            length = (TOTALS - 60) * sums[task] / max(sums.values())
            self.box((right + 16, y - 9, right + 16 + length, y + 9), color)
            self.text((right + 16 + length + 8, y), str(sums[task]), TEXT, INK, "lm")

    def disk(self, at: tuple[float, float], radius: float, count: int, color: Color) -> None:
        """A disk with its count in it, or beside it where it is too small."""
        x, y = at
        edges = tuple(round(v * SCALE) for v in (x - radius, y - radius, x + radius, y + radius))
        self.draw.ellipse(edges, fill=color)
        if radius >= 11:
            self.text((x, y), str(count), SMALL, PAPER, "mm")
        else:
            self.text((x + radius + 4, y), str(count), SMALL, INK, "lm")

    def foot(self, bottom: int) -> None:
        """What the colors mean and where the facts come from."""
        x, y = float(MARGIN), bottom - FOOT + 34
        shown = {AREA_OF[task] for task in self.counts}
        for area in (area for area in AREAS if area in shown):
            self.disk_of_legend((x + 7, y), COLORS[area])
            said = "no category listed" if area == "unknown" else area
            self.text((x + 20, y), said, TEXT, INK, "lm")
            x += 20 + self.font(TEXT).getlength(said) / SCALE + 28
        source = (
            "Source: lists of papers of two surveys, arXiv 2310.10647 and arXiv 2405.03150. "
            "Area of a disk: number of methods."
        )
        self.text((MARGIN, y + 32), source, SMALL, GREY, "lm")

    def disk_of_legend(self, at: tuple[float, float], color: Color) -> None:
        """A small disk without a count."""
        x, y = at
        self.draw.ellipse([round(v * SCALE) for v in (x - 7, y - 7, x + 7, y + 7)], fill=color)

    def box(self, edges: tuple[float, float, float, float], color: Color) -> None:
        """A filled rectangle: left, top, right, bottom."""
        left, top, right, bottom = (round(v * SCALE) for v in edges)
        self.draw.rectangle((left, top, right - 1, bottom - 1), fill=color)

    def text(
        self, at: tuple[float, float], said: str, size: int, color: Color, anchor: str
    ) -> None:
        """One line of text; `anchor` as Pillow has it."""
        x, y = at
        self.draw.text((x * SCALE, y * SCALE), said, color, self.font(size), anchor=anchor)

    def font(self, size: int) -> Font:
        """Pillow's own font."""
        return ImageFont.load_default(size * SCALE)


def _columns(methods: Sequence[Method]) -> list[str]:
    """The columns from left to right: older years, each year without gaps, no year."""
    years = [method.year for method in methods]
    known = [year for year in years if year is not None and year > EARLIEST]
    recent = [str(year) for year in range(min(known), max(known) + 1)] if known else []
    older = [_column(EARLIEST)] if any(year and year <= EARLIEST for year in years) else []
    return older + recent + ([_column(None)] if None in years else [])


def _column(year: Year) -> str:
    if year is None:
        return "no date"
    return str(year) if year > EARLIEST else f"to {EARLIEST}"


def _in_columns(years: dict[Year, int]) -> Counter[str]:
    cells: Counter[str] = Counter()
    for year, count in years.items():
        cells[_column(year)] += count
    return cells


def _label(task: str) -> str:
    return "unclassified" if task == "unknown" else task
