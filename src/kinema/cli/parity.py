"""`kinema parity`: our networks against recorded cases of the authors' code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def parity(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="folders of cases, or above cases")
    ],
) -> None:
    """Compare networks with recorded cases.

    Every stage and output is compared. The last line says how many passed; the exit status is 1 if
    one failed.
    """
    from kinema.parity.runner import lines, run_cases, summary

    results = []
    for result in run_cases(folders):
        results.append(result)
        print("\n".join(lines(result)), flush=True)
    print(summary(results))
    if not all(result.passed for result in results):
        raise typer.Exit(1)
