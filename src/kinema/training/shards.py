"""Checkpoints of several processes: a folder with a file of each, read by any number of them.

Written by torch.distributed.checkpoint as safetensors files, so that no pickle is read. The folder
gets its name when it is complete; `values.json` in it holds what is no tensor, and digests.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.files import parse_json, write_text
from kinema.training import distributed

if TYPE_CHECKING:  # their import takes long, and most runs are of one process
    from torch.distributed.checkpoint import HuggingFaceStorageReader
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

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
        distributed.by_first(lambda: _clear(path.parent))
        raise InputError(f"cannot write {path}: {_first(error)}; nothing is left there") from error
    digests = _digests(partial)
    distributed.by_first(lambda: _finish(partial, path, dict(values), digests))


def check(path: Path) -> dict[str, Any]:
    """The values of a checkpoint that is whole.

    Raises:
        InputError: it is not, or it was changed.
    """
    try:
        found = parse_json((path / VALUES).read_text(encoding="utf-8"), VALUES)
        values, digests, own = found["values"], found["files"], found["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a whole checkpoint ({error})") from error
    if own != _digest(values, digests) or digests != _digests(path):
        raise InputError(f"{path} was changed after it was written")
    _entries(path)
    return checked(values, path)


def checked(values: Any, path: Path) -> dict[str, Any]:
    """The values of a checkpoint, which say at least what every run has.

    A digest that fits does not tell that: anyone can compute one.

    Raises:
        InputError: they do not.
    """
    kinds = {"step": int, "seed": int, "recipe": dict}
    said = values if isinstance(values, dict) else {}
    if any(type(said.get(name)) is not kind for name, kind in kinds.items()) or said["step"] < 0:
        raise InputError(f"{path} is not a whole checkpoint (it does not say {', '.join(kinds)})")
    return said


def read(path: Path, room: Room) -> dict[str, Tensor]:
    """The tensors of a checkpoint that is whole, each read into the room that is made for it.

    Raises:
        InputError: its files do not fit together.
    """
    from torch.distributed.checkpoint import load
    from torch.distributed.checkpoint.api import CheckpointException

    reader, entries = _entries(path)
    tensors = {n: room(n, entry.size, entry.properties.dtype) for n, entry in entries.items()}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # as is meant here:
            load(tensors, storage_reader=reader, no_dist=True)  # each process reads for itself
    except CheckpointException as error:
        raise InputError(f"{path} is not a whole checkpoint ({_first(error)})") from error
    return tensors


def _entries(path: Path) -> tuple[HuggingFaceStorageReader, dict[str, TensorStorageMetadata]]:
    """What reads a checkpoint, and what its files say of each tensor.

    Raises:
        InputError: they declare more than they hold, or nothing that makes sense.
    """
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    reader = HuggingFaceStorageReader(str(path))
    try:
        entries: dict[str, Any] = dict(reader.read_metadata().state_dict_metadata)
        for name, entry in entries.items():
            held = sum(math.prod(chunk.sizes) for chunk in entry.chunks)
            if held != math.prod(entry.size):
                raise ValueError(f"{name} declares {tuple(entry.size)}, it holds {held} numbers")
    except Exception as error:  # what a header without sense leads to depends on the reader
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is not a whole checkpoint ({said:.200})") from error
    return reader, entries


def _first(error: CheckpointException) -> str:
    """What failed in the first of the processes in which something did."""
    (rank, (reason, _)), *_ = error.failures.items()
    return f"{' '.join(str(reason).split()) or type(reason).__name__} (process {rank})"


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
