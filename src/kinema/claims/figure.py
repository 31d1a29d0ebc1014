"""One picture for each claim, drawn from its record."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

from kinema.claims.record import Record
from kinema.errors import InputError
from kinema.files import atomic

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise InputError("figures of claims need matplotlib: pip install matplotlib") from error

INCHES = (8.0, 4.8)
DPI = 150
LETTERS = 92  # in a line of the heading


def write_figure(path: Path, record: Record, draw: Callable[[Record, Figure], None]) -> None:
    """Draws a record under its statement and verdict into a picture, in the place of an old one."""
    figure = Figure(figsize=INCHES, layout="constrained")
    draw(record, figure)
    statement = textwrap.fill(record.claim.told, LETTERS)
    verdict = textwrap.fill(f"{record.outcome}; {record.figures}", LETTERS)
    figure.suptitle(f"{statement}\n{verdict}", fontsize=9)
    with atomic(path, overwrite=True) as partial:
        figure.savefig(partial, dpi=DPI)


def draw_pairs(record: Record, figure: Figure) -> None:
    """The measure that decides, arm by arm; a line for each seed joins what belongs together."""
    axes = figure.add_subplot()
    measure, names = record.claim.measure, list(record.arms)
    for seed in range(len(record.gains)):
        values = [record.arms[name].measured[seed][measure] for name in names]
        axes.plot(names, values, marker="o", label=f"seed {seed}")
    axes.set_ylabel(f"{measure} ({record.claim.better} is better)")
    axes.margins(x=0.2)
    axes.legend()
