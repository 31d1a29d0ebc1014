"""The command line in a process that is killed as soon as so many files have appeared."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from kinema.cli.main import main

CONTEXT = multiprocessing.get_context("forkserver")
PRELOAD = ["kinema.cli.generate", "kinema.cli.story", "kinema.systems.ltx_video"]


def killed_after(renames: int, arguments: Sequence[object]) -> None:
    """Runs a command in this folder; kills it when so many files, but windows, have their names."""
    CONTEXT.set_forkserver_preload(PRELOAD)
    words = [str(argument) for argument in arguments]
    process = CONTEXT.Process(target=_run, args=(Path.cwd(), renames, words))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def _run(folder: Path, renames: int, arguments: Sequence[str]) -> None:
    os.chdir(folder)
    rename, left = os.replace, renames

    def replace(source: Path, target: Path) -> None:
        nonlocal left
        rename(source, target)
        is_final = not target.name.startswith(".") and target.parent.suffix != ".parts"
        left -= is_final
        if is_final and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    sys.exit(main(list(arguments)))
