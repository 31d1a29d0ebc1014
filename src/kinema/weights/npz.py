"""Files of NumPy arrays, in which Chainer keeps its weights."""

from __future__ import annotations

from pathlib import Path

import torch

from kinema.errors import InputError
from kinema.media.arrays import read_arrays
from kinema.weights.keymap import Lazy, lazy


def open_npz(path: str | Path) -> dict[str, Lazy]:
    """The arrays of an ``.npz`` file by name, in memory.

    Raises:
        InputError: there is no such file, or it is no archive of plain arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    try:
        return lazy({name: torch.from_numpy(x) for name, x in read_arrays(path).items()})
    except TypeError as error:  # torch has no words, and no such numbers
        raise InputError(f"{path} is no .npz file of numbers: {error}") from None
    except InputError as error:
        raise InputError(f"{path} is no .npz file of numbers, or it is cut off ({error})") from None
