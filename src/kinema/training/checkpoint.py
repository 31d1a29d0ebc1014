"""Checkpoints: one file that holds everything, atomic, and never taken for good when it is not."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kinema.errors import InputError
from kinema.weights import files

PATTERN = "step-*.safetensors"
LOGGER = logging.getLogger(__name__)


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
    return tensors, json.loads(text)


def latest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest whole checkpoint of a run, None if it has written none.

    A damaged one is passed over with a warning in the log.

    Raises:
        InputError: there are checkpoints, but none of them is whole.
    """
    paths = sorted(folder.glob(PATTERN), reverse=True)
    for path in paths:
        try:
            return load(path)
        except InputError as error:
            LOGGER.warning("%s; the one before it is taken", error)
    if paths:
        raise InputError(
            f"no checkpoint in {folder} is whole; remove {PATTERN} there to begin anew"
        )
    return None


def keep(folder: Path, paths: set[Path]) -> None:
    """Removes all other checkpoints of a run."""
    for path in {*folder.glob(PATTERN)} - paths:
        path.unlink()


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
