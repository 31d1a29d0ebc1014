"""Arrays in .npy and .npz files: what a file declares is checked before memory is taken.

Neither objects, whose reading could run code, nor archives with paths that lead out are read.
"""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.lib import format as npy

from kinema.errors import InputError
from kinema.media.source import MAX_BYTES, allocate

ZIP = b"PK\x03\x04", b"PK\x05\x06"
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# What zipfile, zlib and the parser of the header raise at damaged files.
DAMAGE = (
    *(ValueError, TypeError, KeyError, IndexError, OverflowError, EOFError, OSError),
    *(SyntaxError, RuntimeError, MemoryError, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def read_array(path: str | Path) -> np.ndarray:
    """The array of a .npy file, or the single one of a .npz file.

    Raises:
        InputError: the file is missing or damaged, holds objects or several arrays, or declares
            more than `MAX_BYTES`.
    """
    path = Path(path)
    with _damage(path), path.open("rb") as file:
        if not file.read(4).startswith(ZIP):
            file.seek(0)
            return _array(path, file, path.stat().st_size)
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise InputError(f"{path} holds {len(arrays)} arrays; store one alone")
    return next(iter(arrays.values()))


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name.

    Raises:
        InputError: as `read_array`; or a path in the archive leads out of it.
    """
    path = Path(path)
    with _damage(path), zipfile.ZipFile(path) as archive:
        check_members(path, archive)
        total = sum(member.file_size for member in archive.infolist())
        if total > MAX_BYTES:
            raise _too_large(path, total)
        arrays = {}
        for member in archive.infolist():
            with archive.open(member) as file:
                name = member.filename.removesuffix(".npy")
                arrays[name] = _array(path, file, member.file_size)
                if file.read(1):  # at a member's end, and only there, zipfile looks at its checksum
                    raise ValueError("it holds more than it declares")
        return arrays


def check_members(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises InputError if a path in an archive is absolute or leads out of it by ``..``."""
    for name in archive.namelist():
        inside = PurePosixPath(name.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts:
            raise InputError(f"{path} holds {name!r}, a path that leads out of it; get it again")


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except DAMAGE as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        reason = said.splitlines()[0] if said else type(error).__name__
        raise InputError(f"{path} cannot be read as numpy arrays: {reason}") from error


def _array(path: Path, file: IO[bytes], size: int) -> np.ndarray:
    """The array that begins where `file` stands; `size` bytes are there, header and all."""
    version = npy.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"version {version} of the format is not known")
    shape, by_columns, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it holds objects, which may run code; store numbers")
    if any(length < 0 for length in shape):
        raise ValueError(f"a shape of {shape}")
    declared = math.prod(shape) * dtype.itemsize
    if declared > MAX_BYTES:
        raise _too_large(path, declared)
    if declared > size - file.tell():
        raise ValueError(f"cut short: it declares {declared} bytes of numbers")
    content = allocate(path, "numbers", (declared,), np.uint8)
    place = content.data
    while len(place):
        piece = file.read(min(len(place), 2**20))
        if not piece:
            raise ValueError("cut short")
        place[: len(piece)] = piece
        place = place[len(piece) :]
    return np.ndarray(shape, dtype, content, order="F" if by_columns else "C")


def _too_large(path: Path, declared: int) -> InputError:
    return InputError(
        f"{path} declares {declared / 1e9:.1f} GB of numbers, more than {MAX_BYTES / 1e9:g} GB; "
        "store fewer in a file"
    )
