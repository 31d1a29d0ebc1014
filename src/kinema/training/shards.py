"""Checkpoints of several processes: a folder with a file of each, read by any number of them.

Written by torch.distributed.checkpoint as safetensors files, so that no pickle is read. The folder
gets its name when it is complete; `values.json` in it holds what is no tensor, and digests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.files import write_text
from kinema.training import distributed

PATTERN = "step-*.shards"
UNFINISHED = f".{PATTERN}"
VALUES = "values.json"
Room = Callable[[str, torch.Size, torch.dtype], Tensor]
"""(name, shape, dtype) -> a tensor for the values of the whole one, or for a share of them."""


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}.shards"


def write(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Writes the shares of all processes, JSON values, and digests of everything.

    Raises:
        InputError: a process cannot write its file, for example because the disk is full.
    """
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, save
    from torch.distributed.checkpoint.api import CheckpointException

    partial = path.with_name(f".{path.name}")
    distributed.by_first(lambda: _clear(path.parent))
    writer = HuggingFaceStorageWriter(str(partial), save_distributed=True)
    try:
        save(dict(tensors), storage_writer=writer)
    except CheckpointException as error:
        (rank, (reason, _)), *_ = error.failures.items()
        distributed.by_first(lambda: _clear(path.parent))
        raise InputError(
            f"cannot write {path}: {' '.join(str(reason).split()) or type(reason).__name__} "
            f"(process {rank}; nothing is left there)"
        ) from error
    digests = _digests(partial)
    distributed.by_first(lambda: _finish(partial, path, dict(values), digests))


def check(path: Path) -> dict[str, Any]:
    """The values of a checkpoint that is whole.

    Raises:
        InputError: it is not, or it was changed.
    """
    try:
        found = json.loads((path / VALUES).read_text(encoding="utf-8"))
        values, digests, own = found["values"], found["files"], found["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a whole checkpoint ({error})") from error
    if own != _digest(values, digests) or digests != _digests(path):
        raise InputError(f"{path} was changed after it was written")
    return dict(values)


def read(path: Path, room: Room) -> dict[str, Tensor]:
    """The tensors of a checkpoint that is whole, each read into the room that is made for it."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    reader = HuggingFaceStorageReader(str(path))
    tensors = {}
    for name, entry in reader.read_metadata().state_dict_metadata.items():
        assert isinstance(entry, TensorStorageMetadata), name
        tensors[name] = room(name, entry.size, entry.properties.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # as is meant here:
        load(tensors, storage_reader=reader, no_dist=True)  # each process reads for itself
    return tensors


def _clear(folder: Path) -> None:
    """Removes what a killed training has not finished; that of the folder, since no other runs."""
    for path in folder.glob(UNFINISHED):
        shutil.rmtree(path)


def _finish(partial: Path, path: Path, values: dict[str, Any], digests: dict[str, str]) -> None:
    whole = {"values": values, "files": digests, "digest": _digest(values, digests)}
    write_text(partial / VALUES, json.dumps(whole, indent=1))
    if path.exists():
        shutil.rmtree(path)
    os.rename(partial, path)


def _digests(folder: Path) -> dict[str, str]:
    """The digest of each file of tensors; the processes share the work."""
    files = sorted(folder.glob("*.safetensors"))
    own = {}
    for number in distributed.turns(len(files)):
        with files[number].open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        own[files[number].name] = digest.hexdigest()
    return {name: digest for some in distributed.of_all(own) for name, digest in some.items()}


def _digest(values: Any, digests: Any) -> str:
    text = json.dumps([values, digests], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
