"""Latents of a folder of clips: encoded once, kept beside the run, read every epoch by bucket.

A file of latents is named after what it depends on: the codec, the content of the clip, the bucket,
the windows, and how many frames of each are encoded alone too. So a run that was stopped goes on
where it was, and a clip that did not change is never encoded again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kinema.clip import Clip
from kinema.data.buckets import Bucket, BucketOrder, Shaper, windows
from kinema.data.media_folder import Media, content_digest
from kinema.errors import InputError
from kinema.files import parse_json, write_text
from kinema.media import stream
from kinema.noise import Noise
from kinema.weights import files

INDEX = "index.json"
HELD_OUT = 20  # one file of so many is held out, in the largest bucket


@dataclass(frozen=True)
class Planned:
    """How a file is cut and encoded.

    Args:
        media: the file.
        bucket: length and size of its windows.
        starts: the first frame of each window.
        latents: name of the file with their latents.
    """

    media: Media
    bucket: Bucket
    starts: tuple[int, ...]
    latents: str

    @property
    def number(self) -> int:
        """A number that belongs to the content of the file."""
        return int(self.latents[:8], 16)

    @property
    def entry(self) -> dict[str, Any]:
        """What the index says of it."""
        return {
            "name": self.media.file.name,
            "captions": list(self.media.file.captions),
            "bucket": list(self.bucket),
            "windows": len(self.starts),
            "latents": self.latents,
        }


def plan(media: Media, shaper: Shaper, *, codec: str, fps: float, stills: int) -> Planned:
    """How a file is cut and encoded for a model.

    Args:
        media: the file, inspected at `fps`.
        shaper: of the model.
        codec: digest of its codec.
        fps: frame rate of its clips.
        stills: frames of each window that are encoded alone too.
    """
    bucket = shaper.bucket(media.num_frames, media.height, media.width)
    starts = windows(media.num_frames, bucket.num_frames)
    key = [codec, content_digest(media.file.path), bucket, starts, fps, stills]
    name = hashlib.blake2b(json.dumps(key).encode(), digest_size=12).hexdigest()
    return Planned(media, bucket, starts, f"{name}.safetensors")


def write(
    folder: Path,
    planned: Iterable[Planned],
    *,
    fps: float,
    encode: Callable[[Tensor, int], Mapping[str, Tensor]],
) -> list[str]:
    """Encodes the files whose latents are not there yet.

    Args:
        folder: of the latents.
        planned: the files.
        fps: frame rate of the windows.
        encode: gives the tensors of a clip (3, T, H, W) in [-1, 1], ``latents`` (C, t, h, w) among
            them; it is told a number that belongs to the clip.

    Returns:
        A line for each file that cannot be decoded to its end.

    Raises:
        InputError: the latents cannot be written.
    """
    faults = []
    for file in planned:
        path = folder / file.latents
        if not _is_whole(path, len(file.starts)):
            try:
                tensors = {
                    f"{i}.{name}": tensor.bfloat16() if tensor.is_floating_point() else tensor
                    for i, clip in enumerate(_cut(file, fps))
                    for name, tensor in encode(torch.from_numpy(clip), file.number + i).items()
                }
            except InputError as error:
                faults.append(str(error))
                continue
            files.save(path, tensors, {"name": file.media.file.name}, overwrite=True)
    return faults


def write_index(folder: Path, planned: Sequence[Planned], *, codec: str, fps: float) -> None:
    """Writes what the latents in a folder are, which makes it readable as `FolderLatents`."""
    index = {"codec": codec, "fps": fps, "files": [file.entry for file in planned]}
    write_text(folder / INDEX, json.dumps(index, indent=1) + "\n", overwrite=True)


def difference(folder: Path, planned: Sequence[Planned]) -> str:
    """What has changed since the index of a folder was written, in a few words, or ""."""
    before = {entry["name"]: entry for entry in _read_index(folder)["files"]}
    now = {file.media.file.name: file.entry for file in planned}
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            change = "changed" if name in before and name in now else "is new"
            return f"{name} {change if name in now else 'is gone'}"
    return ""


def is_written(folder: Path) -> bool:
    """Whether a folder holds an index that `write_index` wrote."""
    return (folder / INDEX).is_file()


class FolderLatents:
    """Batches of a folder's latents, each of one bucket, in an order that depends on the seed.

    A batch holds ``latents`` (B, C, t, h, w) and what else was encoded, the ``captions`` of each
    clip, and ``fps``. One file of twenty in the largest bucket is held out.

    Args:
        folder: what `write` and `write_index` wrote.
        codec: digest of the codec that the latents must come from.
        batch_size: rows of a step.
        seed: of the order.

    Raises:
        InputError: the folder holds no latents, lacks some, or they belong to another codec.
    """

    def __init__(self, folder: Path, *, codec: str, batch_size: int, seed: int) -> None:
        index = _read_index(folder)
        if index["codec"] != codec:
            raise InputError(
                f"the latents in {folder} come from codec {index['codec']}, not {codec}; "
                "remove the folder, and they are made anew"
            )
        self.folder, self.fps = folder, index["fps"]
        entries: list[dict[str, Any]] = index["files"]
        if not entries:
            raise InputError(f"{folder} holds no latents of any clip; train again")
        for entry in entries:
            if not _is_whole(folder / entry["latents"], entry["windows"]):
                raise InputError(f"{folder} lacks the latents of {entry['name']}; train again")
        self.unseen = held_out(entries)
        names = {entry["name"] for entry in self.unseen}
        by_bucket: dict[Bucket, list[dict[str, Any]]] = defaultdict(list)
        for entry in entries:
            if entry["name"] not in names:
                by_bucket[Bucket(*entry["bucket"])].append(entry)
        self.buckets = {bucket: _rows(by_bucket[bucket]) for bucket in sorted(by_bucket)}
        self._rows = list(self.buckets.values())
        self._order = BucketOrder(
            [len(rows) for rows in self._rows], batch_size=batch_size, seed=seed
        )

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices of one step."""
        bucket, places = self._order(samples)
        return self._batch([self._rows[bucket][place] for place in places])

    def held_out(self, count: int) -> dict[str, Any]:
        """A batch of so many rows of files that are not trained on, repeated where they are few.

        Where no file can be spared, they are rows that are trained on.
        """
        rows = _rows(self.unseen) or max(self._rows, key=len)
        return self._batch([rows[i % len(rows)] for i in range(count)])

    def _batch(self, rows: Sequence[tuple[Mapping[str, Any], int]]) -> dict[str, Any]:
        read = [_read(self.folder / entry["latents"], window) for entry, window in rows]
        return {
            **{name: torch.stack([tensors[name] for tensors in read]) for name in read[0]},
            "captions": [tuple(entry["captions"]) for entry, _ in rows],
            "fps": self.fps,
        }


def held_out(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The files that are not trained on: one of twenty in the bucket with most files, so none if it
    has fewer.
    """
    buckets = Counter(tuple(entry["bucket"]) for entry in entries)
    largest = max(sorted(buckets), key=buckets.__getitem__)
    inside = [entry for entry in entries if tuple(entry["bucket"]) == largest]
    order = Noise(0, (0,)).permutation(len(inside), "held out").tolist()
    return [inside[place] for place in order[: len(inside) // HELD_OUT]]


def _rows(entries: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    return [(entry, window) for entry in entries for window in range(entry["windows"])]


def _cut(file: Planned, fps: float) -> Iterator[np.ndarray]:
    """The windows of a file, (3, T, H, W) float32 in [-1, 1]; a few frames more are in memory."""
    length, *size = file.bucket
    frames = stream(
        file.media.file.path,
        start_seconds=0.0,
        stop_seconds=math.inf,
        fps=fps,
        size=(size[0], size[1]),
    )
    held: deque[np.ndarray] = deque()
    starts = list(file.starts)
    for index, frame in enumerate(frames):
        if index >= starts[0]:
            held.append(frame)
        if len(held) == length:
            yield Clip(np.stack(held), fps).to_float()
            begin = starts.pop(0)
            if not starts:
                return
            for _ in range(min(starts[0] - begin, length)):
                held.popleft()
    raise InputError(f"{file.media.file.path} ends before its time; fetch it again")


def _read(path: Path, window: int) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        mine = [key for key in file.keys() if key.startswith(f"{window}.")]  # noqa: SIM118
        found = {key.partition(".")[2]: file.get_tensor(key) for key in sorted(mine)}
    return {n: x.float() if x.is_floating_point() else x for n, x in found.items()}


def _is_whole(path: Path, count: int) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return sum(key.endswith(".latents") for key in file.keys()) == count  # noqa: SIM118
    except (SafetensorError, OSError):
        return False


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        index = parse_json((folder / INDEX).read_text(encoding="utf-8"), f"its {INDEX}")
        for entry in index["files"]:
            _check_entry(**entry)
        return {"codec": index["codec"], "fps": float(index["fps"]), "files": index["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no latents of clips ({error}); train again") from error


def _check_entry(
    *, name: str, captions: list[str], bucket: list[int], windows: int, latents: str
) -> None:
    """Raises ValueError or TypeError unless these are the fields of a file in an index."""
    texts = isinstance(captions, list) and all(isinstance(c, str) for c in (name, *captions))
    numbers = all(type(n) is int and n > 0 for n in (*bucket, windows)) and len(bucket) == 3
    if not (texts and numbers and Path(latents).name == latents):
        raise ValueError(f"a file that is {name!r:.60}")
