"""Figures of a long run, kept in a file as it goes, so that one that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kinema.files import write_text

Figures = dict[str, Any]


def begun(path: Path | None, asked: Mapping[str, Any]) -> Figures:
    """The figures that a file holds, of a run that is not at its end or is; none without a file.

    Args:
        path: of the file, if figures are kept.
        asked: what fixes the run; the figures begin with it.
    """
    if path is None or not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    others = [name for name, value in asked.items() if found.get(name) != value]
    if others:
        raise SystemExit(f"{path} is of a run with another {others[0]}; remove it or name another")
    return found


def keep(path: Path | None, figures: Figures) -> None:
    """Writes figures to a file, if there is one to be; it is whole at any time."""
    if path is not None:
        write_text(path, json.dumps(figures, indent=1) + "\n", overwrite=True)
