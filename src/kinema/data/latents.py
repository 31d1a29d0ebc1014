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
        stills: single frames of each clip that are encoded alone.
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

    `stills` are {frame number: latents (C, h, w)} of frames that were encoded alone.
    """

    latents: Tensor
    captions: tuple[str, ...]
    labels: Mapping[str, str]
    stills: Mapping[int, Tensor] = field(default_factory=dict)


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

    A batch holds ``latents`` (B, C, t, h, w), the ``captions`` of each clip, ``fps``, and single
    frames: ``stills`` (B, S, C, h, w) with their numbers ``still_frames`` (B, S).

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
        names = ("latents", "stills", "still_frames") if key.stills else ("latents",)
        self.tensors = {n: torch.cat([tensors[n] for tensors, _ in loaded]) for n in names}
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
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        return LatentKey(**index["key"]), int(index["count"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no latents; `kinema encode` writes them") from error


def _shard(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.safetensors"


def _write_shard(path: Path, samples: list[Encoded]) -> None:
    tensors = {"latents": torch.stack([s.latents for s in samples]).to(torch.bfloat16)}
    if samples[0].stills:
        stills = [torch.stack([*s.stills.values()]) for s in samples]
        tensors["stills"] = torch.stack(stills).to(torch.bfloat16)
        tensors["still_frames"] = torch.tensor([[*s.stills] for s in samples], device="cpu")
    said = json.dumps([{"captions": s.captions, "labels": dict(s.labels)} for s in samples])
    files.save(path, tensors, {"samples": said}, overwrite=True)


def _read_shard(path: Path) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["samples"])


def _size(path: Path) -> int:
    """The samples in a shard; 0 if it is missing or cut."""
    try:
        with safe_open(path, framework="pt") as file:
            return int(file.get_slice("latents").get_shape()[0])
    except (SafetensorError, OSError):
        return 0
