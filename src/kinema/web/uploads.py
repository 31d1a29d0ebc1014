"""Files that people give to the page: only what was sent to it, and of sizes that it bears."""

from __future__ import annotations

import lzma
import re
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from kinema.data.media_folder import CLIPS
from kinema.errors import InputError
from kinema.files import FULL_DISK
from kinema.media import probe
from kinema.media.arrays import check_members
from kinema.web.limits import MB, Limits

ZIP = ".zip"
ENTRY = b"PK\x01\x02"  # begins each entry in the table of a zip file
MOST_ENTRIES = 1000
BROKEN_ZIP = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(NotImplementedError, RuntimeError, ValueError, EOFError, OSError),
)
CHUNK = 1 << 20
LONGEST_NAME = 80


class Uploads:
    """The folder of what was sent.

    Args:
        folder: where sent files lie; no other file is taken.
        limits: of sizes and counts.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder.resolve(), limits

    def file(self, value: Any) -> Path:
        """A file that was sent.

        Raises:
            InputError: it was not, or it is too large.
        """
        try:
            path = Path(value).resolve(strict=True)
            inside = path.is_relative_to(self.folder) and path.is_file()
        except (OSError, ValueError, TypeError, RuntimeError):
            inside = False
        if not inside:
            raise InputError("this file was not sent to the page; choose it again")
        if path.stat().st_size > self.limits.file_bytes:
            raise InputError(
                f"{path.name} is larger than {self.limits.file_bytes // MB} MB; give a smaller one"
            )
        return path

    def files(self, values: Any) -> list[Path]:
        """Files that were sent, one or several.

        Raises:
            InputError: one was not, or they are too many.
        """
        values = values if isinstance(values, list) else [values] if values else []
        if len(values) > self.limits.files:
            raise InputError(f"{len(values)} files are too many; give at most {self.limits.files}")
        return [self.file(value) for value in values]

    def visual(self, path: Path, *, frames: int) -> Path:
        """A picture or clip whose size can be borne.

        Raises:
            InputError: it cannot be read, or it is too large or too long.
        """
        try:
            info = probe(path)
        except InputError as error:  # people know the file by its name alone
            raise InputError(str(error).replace(str(path), path.name)) from error
        if max(info.height, info.width) > self.limits.side:
            raise InputError(
                f"{path.name} is {info.height}x{info.width} pixels; "
                f"give at most {self.limits.side} in height and width"
            )
        if info.num_frames > frames:
            raise InputError(f"{path.name} has {info.num_frames} frames; give at most {frames}")
        return path

    def unpack(self, files: Sequence[Path], folder: Path) -> None:
        """Copies clips, and those in zip files, side by side into a new folder.

        Raises:
            InputError: a file is neither, or there are too many, too large ones or none.
        """
        folder.mkdir()
        for path in files:
            if path.suffix.lower() == ZIP:
                self._unzip(path, folder)
            else:
                with path.open("rb") as source:
                    self._take(path.name, source, folder, self.limits.file_bytes)
        if not any(folder.iterdir()):
            raise InputError("there is no clip in what was given; give some")

    def _unzip(self, path: Path, folder: Path) -> None:
        left = self.limits.file_bytes
        if path.read_bytes().count(ENTRY) > MOST_ENTRIES:  # before anything is made of them
            raise InputError(f"{path.name} holds over {MOST_ENTRIES} files; pack the clips alone")
        try:
            with zipfile.ZipFile(path) as archive:
                check_members(Path(path.name), archive)
                for entry in archive.infolist():
                    name = Path(entry.filename).name
                    if entry.is_dir() or name.startswith(".") or "__MACOSX" in entry.filename:
                        continue
                    with archive.open(entry) as source:
                        left -= self._take(name, source, folder, left)
        except InputError:
            raise
        except BROKEN_ZIP as error:
            if isinstance(error, OSError) and error.errno in FULL_DISK:
                raise  # the zip file is not to blame
            raise InputError(f"{path.name} is a broken or locked zip file; pack it anew") from error

    def _take(self, name: str, source: IO[bytes], folder: Path, most: int) -> int:
        """Copies a clip; counts what it really holds, whatever a zip file says of it."""
        if Path(name).suffix.lower() not in CLIPS:
            raise InputError(f"{name:.60} is no clip; give {', '.join(CLIPS)} or a zip of them")
        place = folder / safe_name(name)
        if place.exists():
            raise InputError(f"two clips are named {place.name}; rename one")
        if sum(1 for _ in folder.iterdir()) >= self.limits.files:
            raise InputError(f"give at most {self.limits.files} clips")
        taken = 0
        with place.open("wb") as target:
            while chunk := source.read(CHUNK):
                taken += len(chunk)
                if taken > most:
                    raise InputError(
                        f"the clips hold more than {self.limits.file_bytes // MB} MB; give fewer"
                    )
                target.write(chunk)
        self.visual(place, frames=self.limits.given_frames)
        return taken


def safe_name(name: str) -> str:
    """A name for a file that holds nothing but letters, digits, dots, hyphens and underscores."""
    stem, suffix = Path(name).stem, Path(name).suffix.lower()
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:LONGEST_NAME]
    return f"{kept or 'clip'}{suffix}"


def copied(path: Path, folder: Path, name: str) -> Path:
    """A copy of a file under another name and its own ending."""
    return Path(shutil.copyfile(path, folder / f"{name}{path.suffix.lower()}"))
