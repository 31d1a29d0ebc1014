"""Reading safetensors files: the header is checked as a whole, values are read tensor by tensor.

The safetensors package checks the header but not reads the values: for torch it maps the whole file
privately, which fails where the file is larger than the memory that is left.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kinema.errors import InputError
from kinema.weights.keymap import Lazy

T = TypeVar("T")

# Names of the safetensors format.
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def open_tensors(path: Path) -> tuple[dict[str, Lazy], dict[str, str]]:
    """The tensors and the metadata of a file, after its header was checked against its size.

    Raises:
        InputError: the file is damaged or none of this format.
    """
    return _reading(path, lambda: _open(path))


def _open(path: Path) -> tuple[dict[str, Lazy], dict[str, str]]:
    with safe_open(path, framework="np"):  # checks the header; for numpy it may share the mapping
        pass
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    in_order = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return {name: _lazy(path, 8 + length, name, entry) for name, entry in in_order}, metadata


def _lazy(path: Path, start: int, name: str, entry: dict[str, Any]) -> Lazy:
    if entry["dtype"] not in DTYPES:
        raise InputError(f"{path}: {name} is of type {entry['dtype']}, which is not read here")
    shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
    place = (start + begin, end - begin)
    read = functools.partial(_values, path, place, DTYPES[entry["dtype"]], shape)
    return Lazy(shape, lambda: _reading(path, read), is_own=True)


def _values(path: Path, place: tuple[int, int], dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    begin, size = place
    held = torch.empty(size, dtype=torch.uint8)
    with path.open("rb", buffering=0) as file:
        file.seek(begin)
        view, filled = held.numpy().data, 0
        while filled < size:
            count = file.readinto(view[filled:])
            if not count:
                raise ValueError(f"it ends {size - filled} bytes too early")
            filled += count
    return held.view(dtype).reshape(shape)


def _reading(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} is damaged or no safetensors file ({reason}); get it again"
        ) from None
