"""The runs of the page: a folder for each, with what was made and the record of how."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.cli.outputs import RECORD, SHEET
from kinema.cli.terminal import slug
from kinema.errors import InputError
from kinema.files import parse_json

CLIP = "clip.mp4"
SCORES = "scores.json"
NAME = re.compile(r"\d{4,9}-[a-z0-9-]{1,80}")


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        name: of its folder.
        record: the JSON that tells how it was made.
        clip, sheet: what was made; None for scores.
    """

    name: str
    record: Path
    clip: Path | None
    sheet: Path | None

    @property
    def facts(self) -> dict[str, Any]:
        """The record; raises InputError if it is no JSON."""
        return parse_json(self.record.read_bytes(), self.record.name)


class History:
    """Finished runs in a folder, numbered in the order in which they began."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()

    @contextlib.contextmanager
    def begin(self, kind: str, words: str) -> Iterator[Path]:
        """A new folder for a run, which goes again if the run does not come to its end.

        Messages of errors name files as they are called within it.
        """
        place = self._new(f"{kind}-{slug(words)}")
        try:
            yield place
        except InputError as error:
            shutil.rmtree(place)
            raise InputError(str(error).replace(f"{place}/", "")) from error
        except BaseException:
            shutil.rmtree(place)
            raise

    def names(self) -> list[str]:
        """The finished runs, the last one first."""
        found = [path.name for path in self.folder.iterdir() if self._finished(path)]
        return sorted(found, key=lambda name: int(name.split("-")[0]), reverse=True)

    def run(self, name: Any) -> Run:
        """A finished run.

        Raises:
            InputError: there is none of this name.
        """
        place = self.folder / name if isinstance(name, str) and NAME.fullmatch(name) else None
        if place is None or not self._finished(place):
            raise InputError("there is no such run; choose one of the list")
        if (place / SCORES).is_file():
            return Run(place.name, place / SCORES, None, None)
        clip = place / CLIP
        return Run(place.name, clip.with_suffix(RECORD), clip, clip.with_suffix(SHEET))

    def _finished(self, place: Path) -> bool:
        whole = any((place / name).is_file() for name in (CLIP, SCORES))
        return whole and NAME.fullmatch(place.name) is not None

    def _new(self, words: str) -> Path:
        numbers = [int(p.name.split("-")[0]) for p in self.folder.iterdir() if NAME.match(p.name)]
        number = max(numbers, default=0)
        while True:  # another page may use the same folder
            number += 1
            place = self.folder / f"{number:04d}-{words}"
            with contextlib.suppress(FileExistsError):
                place.mkdir()
                return place


def bytes_in(folder: Path) -> int:
    """The size of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it may go while we look
            total += path.stat().st_size if path.is_file() else 0
    return total
