"""Checkpoints: one file that holds everything, atomic, and never taken for good when it is not.

Those of several processes are folders; see `shards.py`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kinema.errors import InputError
from kinema.files import parse_json
from kinema.training import distributed, shards
from kinema.training.shards import Room
from kinema.weights import files

PATTERN = "step-*.safetensors"
LOGGER = logging.getLogger(__name__)


class Saved(NamedTuple):
    """A checkpoint that is whole.

    Attributes:
        read: gives its tensors; those of several processes are read into the room made for them.
        values: what it holds beside them.
        path: the file or folder.
    """

    read: Callable[[Room], dict[str, Tensor]]
    values: dict[str, Any]
    path: Path


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}.safetensors"


def save(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Writes tensors and JSON values with a digest over both.

    Raises:
        InputError: the file cannot be written, for example because the disk is full.
    """
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(values, sort_keys=True)
    files.save(path, ready, {"values": text, "digest": _digest(ready, text)}, overwrite=True)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a checkpoint back.

    Raises:
        InputError: the file is cut, changed, or no checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text, digest = metadata["values"], metadata["digest"]
    except (SafetensorError, OSError, KeyError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is not a whole checkpoint ({error})") from error
    if _digest(tensors, text) != digest:
        raise InputError(f"{path} was changed after it was written")
    return tensors, shards.checked(parse_json(text, f"what {path} says"), path)


def write(
    folder: Path, step: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> Path:
    """Writes the checkpoint of a step, a file or, of several processes, a folder; says where.

    Raises:
        InputError: it cannot be written; those that were written before stay.
    """
    if distributed.count() == 1:
        path = path_of(folder, step)
        save(path, tensors, values)
    else:
        path = shards.path_of(folder, step)
        shards.write(path, tensors, values)
    return path


def paths(folder: Path) -> list[Path]:
    """The checkpoints of a run, whole or not, the newest first."""
    return sorted((*folder.glob(PATTERN), *folder.glob(shards.PATTERN)), reverse=True)


def latest(folder: Path) -> Saved | None:
    """The newest whole checkpoint of a run, None if it has written none.

    A damaged one is passed over with a warning in the log.

    Raises:
        InputError: there are checkpoints, but none of them is whole; or processes that train
            together see different ones.
    """
    found = paths(folder)
    names = [path.name for path in found]
    if any(others != names for others in distributed.of_all(names)):
        raise InputError(
            f"the processes see different files in {folder}; name a folder that all of them share"
        )
    for path in found:
        try:
            return _opened(path)
        except InputError as error:
            LOGGER.warning("%s; the one before it is taken", error)
    if found:
        raise InputError(f"no checkpoint in {folder} is whole; remove step-* there to begin anew")
    return None


def _opened(path: Path) -> Saved:
    if path.match(shards.PATTERN):
        return Saved(lambda room: shards.read(path, room), shards.check(path), path)
    tensors, values = load(path)
    return Saved(lambda room: tensors, values, path)


def keep(folder: Path, kept: set[Path]) -> None:
    """Removes all other checkpoints of a run."""
    for path in {*paths(folder)} - kept:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
