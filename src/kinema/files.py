"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import platform
import re
import secrets
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kinema.errors import InputError

# A partial file is named after its writer (machine and process), so that those which a killed
# writer left behind can be told from those that are being written: .clip.<writer>.partial.mp4
PARTIAL = re.compile(r"\..*?\.(?P<machine>[0-9a-f]{8})-(?P<process>\d{1,9})-[0-9a-f]{8}\.partial")
MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
LOCK = ".lock"
DEEPEST = 100  # lists and objects inside one another; code that walks them calls itself as often


@contextlib.contextmanager
def atomic(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renames it to `path` when the block succeeds.

    The temporary file keeps the suffix, so that writers which look at it (PyAV, Pillow) work. On
    any exception it is removed and whatever stood at `path` stays as it was. What a killed process
    left in the folder is removed by the next process that writes there.

    Raises:
        InputError: `path` exists and `overwrite` is false, its folder cannot be written, or the
            disk is full.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite)
    _remove_abandoned(path.parent.resolve())
    writer = f"{MACHINE}-{os.getpid()}-{secrets.token_hex(4)}"
    partial = path.with_name(f".{path.stem[:40]}.{writer}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        check_writable(path, overwrite=overwrite)  # long work may lie between
        os.replace(partial, path)
    except OSError as error:
        left = "what stood there is intact" if os.path.lexists(path) else "nothing is left there"
        raise InputError(f"cannot write {path}: {reason(error)} ({left})") from error
    finally:
        with contextlib.suppress(OSError):  # what made the block fail is told, not what follows
            partial.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """Why something could not be written, and what to do if the disk is full."""
    return (
        "the disk is full; make room" if error.errno in FULL_DISK else error.strerror or str(error)
    )


def check_writable(path: str | Path, *, overwrite: bool = False) -> None:
    """Says early, before long work, whether a file could be written at `path`.

    Makes the folder of `path` if it is missing.

    Raises:
        InputError: the file exists (and `overwrite` is false), something else than a file stands
            there, or its folder cannot be made or written.
    """
    path = Path(path)
    if "\0" in str(path):
        raise InputError(f"no file can be named {str(path)!r}; choose another name")
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a file in it")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is a device or a pipe; name a file")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another name") from error
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path} exists; choose another name or pass --overwrite")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"cannot write in the folder {path.parent}; choose another place")


def write_text(path: str | Path, text: str, *, overwrite: bool = False) -> None:
    """Writes a UTF-8 text file atomically."""
    with atomic(path, overwrite=overwrite) as partial:
        partial.write_text(text, encoding="utf-8")


def parse_json(text: str | bytes, where: str) -> Any:
    """The value of a JSON text.

    Raises:
        InputError: `where` is no JSON, or nested more deeply than `DEEPEST`.
    """
    too_deep = InputError(f"{where} is no JSON that can be read: it is nested too deeply")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where} is no JSON: {error}") from None
    except RecursionError:
        raise too_deep from None
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [item for each in level for item in _inside(each)]
        if not level:
            return value
    raise too_deep


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


@contextlib.contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Inside the block no other process gets into a block with the same folder.

    The lock is one that the system holds on an open file, `LOCK` in the folder, so it ends with the
    process however that dies. What a killed process left is taken over.

    Raises:
        InputError: another process is in such a block, or the folder cannot be written.
    """
    path = Path(folder) / LOCK
    check_writable(path, overwrite=True)
    while True:
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"another process writes in {folder}; wait for it, or choose another folder"
                ) from error
            if not _is_at(file.fileno(), path):
                continue  # its owner removed it after we had opened it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@functools.cache  # once per process: a folder may hold very many files
def _remove_abandoned(folder: Path) -> None:
    """Removes the partial files of writers on this machine that live no more."""
    # Who may write in a folder need not be allowed to list it, or to remove what others left.
    with contextlib.suppress(PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            found = PARTIAL.match(entry.name)
            if found and found["machine"] == MACHINE and not _lives(int(found["process"])):
                Path(entry).unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
