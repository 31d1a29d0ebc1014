"""A progress bar with rate and time left, on a terminal; nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Rate(ProgressColumn):
    """Units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """The mean over the last steps; empty before the first."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self.unit}/s" if speed else "")


@contextlib.contextmanager
def progress(total: int, what: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Shows a bar inside the block, on stderr and only on a terminal; gives what moves it on.

    Args:
        total: units in all.
        what: stands before the bar.
        unit: in plural.
    """
    bar = _bar(unit)
    task = bar.add_task(what, total=total)
    with bar:
        yield lambda units: bar.advance(task, units)


@contextlib.contextmanager
def sampling(*, passes: int) -> Iterator[None]:
    """Shows the steps of what samples inside the block, from the first one on.

    Args:
        passes: how often a sampler runs; its steps are learned from what it reports.
    """
    from kinema.processes.steps import Report, watching

    bar = _bar("steps")
    task = bar.add_task("sampling", total=None)
    done = begun = 0

    def told(report: Report) -> None:
        nonlocal done, begun
        if report.step.index == 0:
            begun += 1
            more = report.step.total * max(1, passes - begun + 1)
            bar.update(task, total=done + more)
            bar.start()
        done += 1
        bar.update(task, completed=done)
        if begun >= passes and report.step.index + 1 == report.step.total:
            bar.stop()

    try:
        with watching(told):
            yield
    finally:
        bar.stop()


def _bar(unit: str) -> Progress:
    """On stderr. The answer goes to stdout: where that is no terminal, rich must not take it."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(unit),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
