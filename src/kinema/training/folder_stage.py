"""Stages that read worlds or a folder of clips, which is looked at once and must stay as it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

from kinema.data.class_folder import EVERY, ClassFolder, Labelled, check_files
from kinema.errors import InputError
from kinema.files import write_text
from kinema.training import checkpoint
from kinema.training.stage import Data, Stage

FILES = "files.txt"  # in the folder of a run: what it learns from
LOGGER = logging.getLogger(__name__)


def is_folder(named: str | None, worlds: Sequence[str]) -> TypeGuard[str]:
    """Whether what the user named is a folder, and none of these worlds."""
    return named is not None and named.partition(":")[0] not in worlds and Path(named).is_dir()


class FolderStage(Stage):
    """A stage whose `--data` may also be a folder of clips; a subclass writes `files`."""

    def files(self, named: str | None) -> ClassFolder | None:
        """Those of a folder that the user named; None where a world is meant."""
        raise NotImplementedError

    def read(self, system: Any, recipe: Any, named: str | None) -> Data:
        """The data that the user named; those of the first world if None.

        Raises:
            InputError: it is neither world nor folder, or files cannot be read.
        """
        files = self.files(named)
        if named is None or files is None:
            return super().read(system, recipe, named)
        source, unseen = self.data(system, recipe, named)
        return Data(source, unseen(tuple(range(min(recipe.held_out, len(files.held_out))))))


def check_once(files: ClassFolder, run: Path) -> None:
    """Reads through the files of a run that begins; one that goes on must have the same.

    Args:
        files: that are learned from.
        run: its folder, where their names are kept.

    Raises:
        InputError: files cannot be read, or are not those that the run began with.
    """
    listed = "".join(f"{name}\n" for name in files.names)
    kept = run / FILES
    known = kept.read_text(encoding="utf-8") if kept.is_file() else None
    if known != listed:
        if known is not None and checkpoint.paths(run):
            raise InputError(
                f"{files.path} holds other files since the run in {run} began; use another --output"
            )
        check_files(files)
        write_text(kept, listed, overwrite=True)
    LOGGER.info("data: %s", files.described())


def unsorted(folder: str | Path, files: Sequence[Path]) -> ClassFolder:
    """Files however they lie in a folder, each with its number in the place of a class.

    Every tenth is held out.
    """
    numbered = tuple(Labelled(path, number) for number, path in enumerate(files))
    train = tuple(file for file in numbered if file.label % EVERY != EVERY - 1)
    # Of a few none can be spared: they are looked at too.
    return ClassFolder(Path(folder), ("file",), train, numbered[EVERY - 1 :: EVERY] or train)
