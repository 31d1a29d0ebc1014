"""The picture of the field: every count is a disk of its area, and it can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinema.catalog import Facets, catalog, search
from kinema.catalog.methods import TASKS, by_task, by_year
from kinema.catalog.picture import (
    COLORS,
    RADIUS,
    ROW,
    SCALE,
    TOTALS,
    WIDTH,
    by_task_and_year,
    picture,
    write_picture,
)
from kinema.errors import InputError

RIGHT = WIDTH - TOTALS - 36  # where the bars of the sums begin


def pixels(image: Image.Image, area: str) -> np.ndarray:
    """Where the picture has the color of an area, left of the bars; small text is not in it."""
    left = np.asarray(image)[:, SCALE * 200 : SCALE * RIGHT]
    return (left == COLORS[area]).all(-1)


def test_counts_of_tasks_and_years_add_up() -> None:
    table = by_task_and_year(catalog())
    assert list(table) == [task for task in TASKS if table.get(task)]
    assert {task: sum(years.values()) for task, years in table.items()} == by_task(catalog())
    assert table["editing"][2023] == 73
    assert table["toolbox"][None] == 20


def test_the_area_of_a_disk_is_the_count() -> None:
    # Editing in 2024: one row, one column; in 2023 and 2024 two disks, the largest of 73.
    editing = Facets(task="editing", years="2023..2024")
    methods = [m for m in search(catalog(), None, editing).methods if m.tasks == ("editing",)]
    counts = by_year(methods)
    found = pixels(picture(methods, "editing"), "editing")
    columns = np.flatnonzero(found[: -SCALE * 112].any(0))  # without the legend at the foot
    gap = int(np.argmax(np.diff(columns))) + 1
    halves = np.split(columns, [gap])
    widths = [half[-1] - half[0] + 1 for half in halves]
    assert widths[0] == pytest.approx(2 * RADIUS * SCALE, abs=3)
    assert (widths[1] / widths[0]) ** 2 == pytest.approx(counts[2024] / counts[2023], rel=0.12)


def test_a_row_for_each_task() -> None:
    one = picture(search(catalog(), None, Facets(task="editing", years="2023")).methods, "one")
    every = picture(catalog(), "every")
    assert one.width == every.width == WIDTH * SCALE
    rows = len(by_task(search(catalog(), None, Facets(task="editing", years="2023")).methods))
    assert every.height - one.height == ROW * SCALE * (len(by_task(catalog())) - rows)
    assert all(pixels(every, area).any() for area in COLORS)


def test_a_long_heading_stays_on_the_sheet() -> None:
    image = np.asarray(picture(catalog(), "many words " * 40))
    margin = image[:, -SCALE * 30 :]
    assert (margin == 255).all()


def test_methods_without_a_year_alone_can_be_drawn() -> None:
    undated = [method for method in catalog() if method.year is None]
    assert picture(undated, "undated").width == WIDTH * SCALE


def test_the_file_is_a_png_and_nothing_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "field.png"
    write_picture(path, catalog(), "field", overwrite=False)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.mode == "RGB"
    with pytest.raises(InputError, match="exists"):
        write_picture(path, catalog(), "field", overwrite=False)
    with pytest.raises(InputError, match=r"end the name in \.png"):
        write_picture(tmp_path / "field.jpg", catalog(), "field", overwrite=False)
    with pytest.raises(InputError, match="no method"):
        write_picture(tmp_path / "none.png", [], "none", overwrite=False)
    assert [file.name for file in tmp_path.iterdir()] == ["field.png"]
