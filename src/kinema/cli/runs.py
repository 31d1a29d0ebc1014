"""The folder of a training: which run it holds, how far that is, what it ended with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kinema.errors import InputError
from kinema.files import parse_json

RUN = "run.json"
# What makes two runs one; the length of the recipe may grow.
IDENTITY = ("system", "stage", "config", "recipe", "data", "start_from_sha256", "warm", "seed")
MAY_DIFFER = "steps"


def check_folder(folder: Path) -> None:
    """Raises InputError if a run cannot be written there; before anything is loaded."""
    from kinema.files import check_writable

    if folder.is_file():
        raise InputError(f"--output {folder} is a file; name a folder")
    check_writable(folder / RUN, overwrite=True)


def steps_done(folder: Path, result: str, described: dict[str, Any]) -> int:
    """The steps that the run in a folder has saved; `result` is the file that it ends with.

    Raises:
        InputError: the folder holds another run, or a model whose run is gone.
    """
    from kinema.training import checkpoint

    found = checkpoint.latest(folder)
    if found is None:
        if (folder / result).exists():
            raise InputError(f"{folder} holds a {result} but no checkpoint; use another --output")
        return 0
    old = read_run(folder)
    for name in IDENTITY:
        before, now = comparable(old[name]), comparable(described[name])
        if before != now:
            raise InputError(
                f"the run in {folder} has another {difference(name, before, now)}; "
                "use another --output"
            )
    return int(found.values["step"])


def read_run(folder: Path) -> dict[str, Any]:
    """What `write_run` wrote.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        run = parse_json((folder / RUN).read_text(encoding="utf-8"), RUN)
        return {name: run[name] for name in IDENTITY}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} has checkpoints but no whole {RUN}; use another --output"
        ) from error


def comparable(value: Any) -> Any:
    """A configuration or recipe without what may differ; whatever else as it is.

    What is empty is left out: an older version may have had more that could be.
    """
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key != MAY_DIFFER and item not in ([], "")}


def difference(name: str, before: Any, now: Any) -> str:
    """Where two descriptions differ, as ``config.text.width: 16, not 64``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            if before.get(key) != now.get(key):
                return difference(f"{name}.{key}", before.get(key), now.get(key))
    return f"{name}: {before!r:.60}, not {now!r:.60}"


def write_run(folder: Path, command: str, described: dict[str, Any]) -> None:
    """Writes what is needed to train the same again."""
    import torch

    from kinema.cli.machine import versions
    from kinema.files import write_text
    from kinema.training import distributed

    run = {
        "command": command,
        **described,
        "processes": distributed.count(),
        "threads": torch.get_num_threads(),
        **versions(),
    }
    write_text(folder / RUN, json.dumps(run, indent=2) + "\n", overwrite=True)


def last_report(folder: Path) -> dict[str, float]:
    """The held-out numbers that a run ended with; none where its log has no report."""
    from kinema.training.log import read_log

    held_out = [
        {k: v for k, v in line.items() if k[:9] == "held_out/"} for line in read_log(folder)
    ]
    return next(filter(None, reversed(held_out)), {})
