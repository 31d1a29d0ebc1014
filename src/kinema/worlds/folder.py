"""Writes samples of a world to a folder, so that a person can look and other programs can read.

Layout: `000123.mp4` the clip, `000123.txt` its canonical caption, `000123.masks.npz` its masks
(array `masks`, (T, N, H, W) bool), `000123.flow.npz` its forward optical flow (array `flow`,
(T - 1, H, W, 2) float32, in pixels), `metadata.jsonl` one line per finished clip (file_name, index,
captions, detailed, labels, graph, boxes, tracks, visible; pixels rounded to 1/1000, null in the
boxes of an object that is out of the frame), `world.json` the world and its options,
`contact_sheet.png` the first clips.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kinema.config import to_dict
from kinema.errors import InputError
from kinema.files import LOCK, alone, atomic, write_text
from kinema.media.sheets import write_contact_sheet
from kinema.worlds.world import World, WorldSample

METADATA = "metadata.jsonl"
WORLD = "world.json"
SHEET = "contact_sheet.png"
CLIPS_ON_SHEET = 24


def write_folder(
    world: World, indices: Iterable[int], folder: str | Path, *, overwrite: bool = False
) -> int:
    """Writes the samples of these indices; those that the folder already holds are skipped.

    A clip counts as finished when its line is in `metadata.jsonl`, which is written after all its
    files: a run that was killed is continued by the same call. Indices are taken one at a time, so
    that a progress bar can be wrapped around them.

    Args:
        world: the world.
        indices: of the samples; any order, any holes.
        folder: made when it does not exist.
        overwrite: draw these samples again, and use the folder even if it holds something else:
            files of the same names are replaced, the others stay.

    Returns:
        The number of clips written, without the skipped ones.

    Raises:
        InputError: the folder holds another world or anything else and `overwrite` is false, its
            metadata cannot be read, it cannot be written, or another process writes there.
    """
    folder = Path(folder)
    with alone(folder):
        return _write(world, indices, folder, overwrite=overwrite)


def _write(world: World, indices: Iterable[int], folder: Path, *, overwrite: bool) -> int:
    finished = _open(world, folder, overwrite=overwrite)
    skipped = set() if overwrite else finished
    written = 0
    for index in indices:
        if _file_name(index) not in skipped:
            _append(folder / METADATA, _write_sample(world.sample(index), index, folder))
            finished.add(_file_name(index))
            written += 1
    if overwrite:
        _compact(folder)
    if written:
        _write_sheet(world, sorted(finished)[:CLIPS_ON_SHEET], folder / SHEET)
    return written


def read_metadata(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a folder's `metadata.jsonl`, one per finished clip, in the order of writing.

    A last line that was cut off by a kill is left out: its clip does not count as finished.

    Raises:
        InputError: there is no such file, or a line is broken.
    """
    path = Path(folder) / METADATA
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    entries = []
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            entry = json.loads(line)
            entry["file_name"]
        except (ValueError, RecursionError, TypeError, KeyError) as error:
            raise InputError(
                f"{path} line {number} is not JSON with a file_name ({error}); mend or delete it"
            ) from error
        entries.append(entry)
    return entries


def _open(world: World, folder: Path, *, overwrite: bool) -> set[str]:
    """Makes the folder ready and gives the names of the clips that need not be drawn."""
    described = json.dumps({"name": world.name, **world.options}, indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        same = (folder / WORLD).is_file() and (folder / WORLD).read_text("utf-8") == described
        empty = all(path.name == LOCK for path in folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot write in {folder}: {error.strerror}") from error
    if not (same or empty or overwrite):
        held = "clips of another world" if (folder / WORLD).exists() else "other files"
        raise InputError(f"{folder} holds {held}; choose another folder or pass --overwrite")
    if not same:
        # Lines go before the new world.json comes: a kill in between must not make clips of the old
        # world pass for finished ones of the new.
        (folder / METADATA).unlink(missing_ok=True)
        write_text(folder / WORLD, described, overwrite=True)
    return _compact(folder) if (folder / METADATA).exists() else set()


def _compact(folder: Path) -> set[str]:
    """Keeps the last line of every clip that is there; gives the names of these clips."""
    kept = {
        entry["file_name"]: json.dumps(entry) + "\n"
        for entry in read_metadata(folder)
        if (folder / entry["file_name"]).is_file()
    }
    write_text(folder / METADATA, "".join(kept.values()), overwrite=True)
    return set(kept)


def _append(path: Path, entry: dict[str, Any]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _file_name(index: int) -> str:
    return f"{index:06d}.mp4"


def _write_sheet(world: World, names: list[str], path: Path) -> None:
    samples = [world.sample(int(Path(name).stem)) for name in names]
    write_contact_sheet(
        path,
        [sample.clip for sample in samples],
        [sample.captions[0] for sample in samples],
        columns=2,
        frames_per_clip=6,
        overwrite=True,
    )


def _write_sample(sample: WorldSample, index: int, folder: Path) -> dict[str, Any]:
    """Writes the files of one sample and gives its line of metadata."""
    file_name = _file_name(index)
    name = Path(file_name).stem
    # What stands there under these names is a leftover of a killed run, or may be overwritten.
    sample.clip.write(folder / file_name, overwrite=True)
    write_text(folder / f"{name}.txt", sample.captions[0] + "\n", overwrite=True)
    with atomic(folder / f"{name}.masks.npz", overwrite=True) as partial:
        np.savez_compressed(partial, masks=sample.masks.x)
    with atomic(folder / f"{name}.flow.npz", overwrite=True) as partial:
        np.savez_compressed(partial, flow=sample.flow)
    return {
        "file_name": file_name,
        "index": index,
        "captions": list(sample.captions),
        "detailed": sample.detailed,
        "labels": dict(sample.labels),
        "graph": to_dict(sample.graph),
        "boxes": _rounded(sample.boxes.xyxy),
        "tracks": _rounded(sample.tracks.xy),
        "visible": sample.tracks.visible.tolist(),
    }


def _rounded(x: np.ndarray) -> list[Any]:
    """Nested lists; a box that is NaN is null, which JSON has."""
    plain = x.astype(np.float64).round(3).astype(object)
    plain[np.isnan(x)] = None
    return list(plain.tolist())
