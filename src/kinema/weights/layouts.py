"""Checkpoints in the layouts of others: parts by prefix, folders as diffusers has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.files import write_text
from kinema.weights import files

V = TypeVar("V")
STEM = "diffusion_pytorch_model"  # of diffusers' weight files
SHARD = 5 * 10**9  # bytes of the largest file, unless told otherwise


def below(tensors: Mapping[str, V], prefix: str) -> dict[str, V]:
    """Of some tensors those whose names begin with `prefix`, without it: one layer, or one part."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def stored(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A tensor as it is stored: numbers with a point in `dtype`, unless that is None."""
    return value if dtype is None or not value.is_floating_point() else value.to(dtype)


def check_new_folder(folder: Path) -> None:
    """Raises InputError if there is anything in the place of a folder that is to be written."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty; choose another name")


def save_part(
    folder: Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    dtype: torch.dtype | None,
    shard_bytes: int,
) -> None:
    """Writes one network of a pipeline: weights, in shards where they are large, and configuration.

    Args:
        folder: of the network.
        tensors: by diffusers' names.
        config: arguments of diffusers' class.
        dtype: of the stored weights; as they are if None.
        shard_bytes: of a file at most, but for a single tensor that is larger.
    """
    shards = list(_shards(tensors, dtype, shard_bytes))
    names = [f"{STEM}-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = [f"{STEM}.safetensors"]
    for name, keys in zip(names, shards):
        held = {key: stored(tensors[key], dtype) for key in keys}
        files.save(folder / name, held, {"format": "pt"}, overwrite=False)
    if len(shards) > 1:
        total = sum(_size(value, dtype) for value in tensors.values())
        places = {key: name for name, keys in zip(names, shards) for key in keys}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        write_text(folder / f"{STEM}.safetensors.index.json", json.dumps(index, indent=2))
    write_text(folder / "config.json", json.dumps(config, indent=2, sort_keys=True))


def _shards(
    tensors: Mapping[str, Tensor], dtype: torch.dtype | None, shard_bytes: int
) -> Iterator[list[str]]:
    """The names in turn, cut where a file would be too large."""
    keys: list[str] = []
    held = 0
    for key, value in tensors.items():
        size = _size(value, dtype)
        if keys and held + size > shard_bytes:
            yield keys
            keys, held = [], 0
        keys.append(key)
        held += size
    yield keys


def _size(value: Tensor, dtype: torch.dtype | None) -> int:
    """Bytes in a file."""
    changed = dtype is not None and value.is_floating_point()
    return value.numel() * (dtype.itemsize if changed and dtype else value.element_size())
