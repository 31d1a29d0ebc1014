"""The latent cache: what a codec makes of a data set, written once in shards, read every epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kinema.errors import InputError
from kinema.files import parse_json, write_text
from kinema.noise import Noise
from kinema.weights import files

SHARD = 256  # samples in a file


@dataclass(frozen=True, kw_only=True)
class LatentKey:
    """What latents depend on; a cache is refused when any of it differs.

    Args:
        codec: digest of the codec's weights.
        source: where the clips came from, with all options.
        num_frames, height, width, fps: of the clips.
        stills: frames of each clip that are kept beside its latents.
    """

    codec: str
    source: str
    num_frames: int
    height: int
    width: int
    fps: float
    stills: int = 0


@dataclass(frozen=True)
class Encoded:
    """One sample on its way into the cache: latents (C, t, h, w), and what is true of the clip.

    `beside` are other tensors by name, of the same names and shapes in all samples of a cache.
    """

    latents: Tensor
    captions: tuple[str, ...]
    labels: Mapping[str, str]
    beside: Mapping[str, Tensor] = field(default_factory=dict)


def write(
    folder: Path,
    key: LatentKey,
    count: int,
    encode: Callable[[range], Iterable[Encoded]],
) -> None:
    """Writes latents of samples 0 ... count - 1 in shards; whole shards that are there are kept.

    Args:
        folder: of the cache.
        key: what the latents depend on.
        count: samples, 1 or more.
        encode: gives the samples of a range, in order.

    Raises:
        InputError: the folder holds latents of another codec or source, or cannot be written.
    """
    for samples in begin(folder, key, count):
        write_shard(folder, samples, encode(samples))


def begin(folder: Path, key: LatentKey, count: int) -> list[range]:
    """Makes a folder ready for latents of samples 0 ... count - 1.

    Args:
        folder: of the cache.
        key: what the latents depend on.
        count: samples, 1 or more.

    Returns:
        The samples of each shard that is not there, in order; `write_shard` takes them in any.

    Raises:
        InputError: the folder holds latents of another codec or source, or cannot be written.
    """
    index = folder / "index.json"
    if index.exists():
        _check(folder, key)
    write_text(index, json.dumps({"key": asdict(key), "count": count}, indent=1), overwrite=True)
    return list(_lacking(folder, count))


def write_shard(folder: Path, samples: range, encoded: Iterable[Encoded]) -> None:
    """Writes the shard of some samples that `begin` named; it appears when it is complete.

    Raises:
        InputError: it cannot be written.
    """
    held = list(encoded)
    rows = [{"latents": sample.latents, **sample.beside} for sample in held]
    stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    tensors = {n: x.bfloat16() if x.is_floating_point() else x for n, x in stacked.items()}
    said = json.dumps([{"captions": s.captions, "labels": dict(s.labels)} for s in held])
    files.save(_shard(folder, samples), tensors, {"samples": said}, overwrite=True)


class LatentCache:
    """Batches of cached latents, in a new order every epoch.

    A batch holds ``latents`` (B, C, t, h, w), the ``captions`` of each clip, ``fps``, and whatever
    else was encoded, by name.

    Args:
        folder: what `write` wrote.
        codec: digest of the codec that the latents must come from.
        seed: of the order.

    Raises:
        InputError: the folder is no cache, is not finished, or belongs to another codec.
    """

    def __init__(self, folder: Path, *, codec: str, seed: int) -> None:
        key, count = _read_index(folder)
        if key.codec != codec:
            raise InputError(
                f"the latents in {folder} come from codec {key.codec}, not {codec}: encode again"
            )
        self.key, self.count, self.seed = key, count, seed
        if short := list(islice(_lacking(folder, count), 5)):
            names = ", ".join(_shard(folder, samples).name for samples in short)
            raise InputError(f"{folder} lacks samples in {names}; `kinema encode` goes on there")
        loaded = [_read_shard(_shard(folder, samples)) for samples in _ranges(count)]
        if len({_kinds(tensors) for tensors, _ in loaded}) > 1:
            raise InputError(f"the shards in {folder} hold tensors of several kinds; encode again")
        self.tensors = {n: torch.cat([tensors[n] for tensors, _ in loaded]) for n in loaded[0][0]}
        self.samples = [sample for _, samples in loaded for sample in samples]
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def __len__(self) -> int:
        return self.count

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some indices; every epoch of `len(self)` indices visits each sample once."""
        rows = [int(self._epoch(i // self.count)[i % self.count]) for i in samples]
        tensors = {name: tensor[rows] for name, tensor in self.tensors.items()}
        return {
            **{n: x.float() if x.is_floating_point() else x for n, x in tensors.items()},
            "captions": [self.samples[row]["captions"] for row in rows],
            "fps": self.key.fps,
        }

    def _epoch(self, epoch: int) -> Tensor:
        if self._order[0] != epoch:
            self._order = (epoch, Noise(self.seed, (epoch,)).permutation(self.count, "epoch"))
        return self._order[1]


def in_batches(samples: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """Sample indices in groups of at most `size`."""
    remaining = iter(samples)
    while batch := tuple(islice(remaining, size)):
        yield batch


def _check(folder: Path, key: LatentKey) -> None:
    old, new = asdict(_read_index(folder)[0]), asdict(key)
    for name in new:
        if old[name] != new[name]:
            raise InputError(
                f"{folder} holds latents with {name}={old[name]}, not {new[name]}; "
                "use another folder"
            )


def _read_index(folder: Path) -> tuple[LatentKey, int]:
    try:
        index = parse_json((folder / "index.json").read_text(encoding="utf-8"), "its index.json")
        key, count = LatentKey(**index["key"]), int(index["count"])
        if count < 1:
            raise ValueError(f"count {count}")
        return key, count
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{folder} holds no latents; `kinema encode` writes them") from error


def _ranges(count: int) -> Iterator[range]:
    """The samples of each shard, one after another: a damaged index may name very many."""
    return (range(first, min(first + SHARD, count)) for first in range(0, count, SHARD))


def _lacking(folder: Path, count: int) -> Iterator[range]:
    """The samples of each shard that is missing or cut."""
    return (samples for samples in _ranges(count) if _size(_shard(folder, samples)) < len(samples))


def _shard(folder: Path, samples: range) -> Path:
    return folder / f"shard-{samples.start // SHARD:05d}.safetensors"


def _read_shard(path: Path) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    opened = files.open_checkpoint(path)
    tensors = {name: value.read() for name, value in opened.tensors.items()}
    samples = parse_json(opened.metadata.get("samples", "[]"), f"the metadata of {path}")
    said = isinstance(samples, list) and all(
        isinstance(sample, dict) and isinstance(sample.get("captions"), list) for sample in samples
    )
    if not said or any(x.shape[:1] != (len(samples),) for x in tensors.values()):
        raise InputError(f"{path} does not hold the samples that it names; encode again")
    return tensors, samples


def _kinds(tensors: Mapping[str, Tensor]) -> tuple[tuple[object, ...], ...]:
    """Name, type and shape of each tensor without its samples."""
    return tuple((n, x.dtype, *x.shape[1:]) for n, x in sorted(tensors.items()))


def _size(path: Path) -> int:
    """The samples in a shard; 0 if it is missing or cut."""
    try:
        with safe_open(path, framework="pt") as file:
            return int(file.get_slice("latents").get_shape()[0])
    except (SafetensorError, OSError):
        return 0
