"""The latent cache: what a codec makes of a data set, written once in shards, read every epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kinema.errors import InputError
from kinema.files import write_text
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
    """

    codec: str
    source: str
    num_frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class Encoded:
    """One sample on its way into the cache: latents (C, t, h, w), and what is true of the clip."""

    latents: Tensor
    captions: tuple[str, ...]
    labels: Mapping[str, str]


def write(
    folder: Path,
    key: LatentKey,
    count: int,
    encode: Callable[[range], Iterable[Encoded]],
    *,
    progress: Callable[[int], None],
) -> None:
    """Writes latents of samples 0 ... count - 1 in shards; whole shards that are there are kept.

    Args:
        folder: of the cache.
        key: what the latents depend on.
        count: samples, 1 or more.
        encode: gives the samples of a range, in order.
        progress: told how many samples are done.

    Raises:
        InputError: the folder holds latents of another codec or source, or cannot be written.
    """
    index = folder / "index.json"
    if index.exists():
        _check(folder, key)
    write_text(index, json.dumps({"key": asdict(key), "count": count}, indent=1), overwrite=True)
    for number, first in enumerate(range(0, count, SHARD)):
        samples = range(first, min(first + SHARD, count))
        path = _shard(folder, number)
        if _size(path) < len(samples):
            _write_shard(path, list(encode(samples)))
        progress(samples.stop)


class LatentCache:
    """Batches of cached latents, in a new order every epoch.

    A batch holds ``latents`` (B, C, t, h, w), the ``captions`` of each clip, and ``fps``.

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
        firsts = range(0, count, SHARD)
        paths = [_shard(folder, number) for number in range(len(firsts))]
        short = [p.name for p, first in zip(paths, firsts) if _size(p) < min(SHARD, count - first)]
        if short:
            raise InputError(
                f"{folder} lacks samples in {', '.join(short[:5])}; `kinema encode` goes on there"
            )
        loaded = [_read_shard(path) for path in paths]
        self.latents = torch.cat([latents for latents, _ in loaded])
        self.samples = [sample for _, samples in loaded for sample in samples]
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def __len__(self) -> int:
        return self.count

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some indices; every epoch of `len(self)` indices visits each sample once."""
        rows = [int(self._epoch(i // self.count)[i % self.count]) for i in samples]
        return {
            "latents": self.latents[rows].float(),
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
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        return LatentKey(**index["key"]), int(index["count"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no latents; `kinema encode` writes them") from error


def _shard(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.safetensors"


def _write_shard(path: Path, samples: list[Encoded]) -> None:
    latents = torch.stack([sample.latents for sample in samples]).to(torch.bfloat16)
    said = json.dumps([{"captions": s.captions, "labels": dict(s.labels)} for s in samples])
    files.save(path, {"latents": latents}, {"samples": said}, overwrite=True)


def _read_shard(path: Path) -> tuple[Tensor, list[dict[str, Any]]]:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("latents"), json.loads(file.metadata()["samples"])


def _size(path: Path) -> int:
    """The samples in a shard; 0 if it is missing or cut."""
    try:
        with safe_open(path, framework="pt") as file:
            return int(file.get_slice("latents").get_shape()[0])
    except (SafetensorError, OSError):
        return 0
