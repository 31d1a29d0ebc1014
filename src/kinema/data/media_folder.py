"""A folder of clips and pictures, as people have them: what is in it, and what is wrong.

Two layouts, in any mixture of sub-folders. ``clip.mp4`` with its caption in ``clip.txt`` beside it;
or a ``metadata.jsonl`` whose lines name a file and what is said of it, ``{"file_name": "clip.mp4",
"text": "..."}`` (the layout of Hugging Face's videofolder and imagefolder; the list ``captions`` of
a folder that `kinema draw` wrote is read too). Where a folder has a ``metadata.jsonl``, it speaks
for all below, and for nothing else: files that it does not list are no part of the data, and a path
that leads out of its folder is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from kinema.clip import frames_on_screen
from kinema.errors import InputError
from kinema.media import probe
from kinema.media.timeline import scan

CLIPS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class Captioned:
    """A file with what is said of it.

    Args:
        path: of the file.
        name: its path from the folder on.
        captions: one or more.
    """

    path: Path
    name: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Media:
    """A captioned file that can be trained on.

    Args:
        file: with its captions.
        num_frames: at the frame rate that was asked for; 1 for a picture.
        height, width: of the upright frames in pixels.
    """

    file: Captioned
    num_frames: int
    height: int
    width: int


def is_media_folder(path: str | Path) -> bool:
    """Whether a path is a folder with a clip or a picture somewhere in it."""
    folder = Path(path)
    return folder.is_dir() and any(True for _ in _media(folder))


def read_folder(folder: str | Path, *, captioned: bool) -> tuple[list[Captioned], list[str]]:
    """The files of a folder, by name, and a line for each that cannot be used.

    Args:
        folder: with clips or pictures.
        captioned: whether a file needs a caption. If not, one without is called by its name.

    Raises:
        InputError: the folder is none, or holds no clip and no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; name one with clips and captions")
    found, faults, governed = [], list[str](), set[Path]()
    for path in sorted(folder.rglob(METADATA), key=lambda path: (len(path.parts), path)):
        if not governed & {*path.parents}:
            governed.add(path.parent)
            files, wrong = _listed(folder, path, captioned)
            found += files
            faults += wrong
    for path in _media(folder):
        if governed & {*path.parents}:
            continue
        beside = path.with_suffix(".txt")
        caption = _text(beside) or ("" if captioned else path.stem)
        if caption:
            found.append(Captioned(path, os.path.relpath(path, folder), (caption,)))
        elif beside.is_file():
            faults.append(f"{beside} holds no UTF-8 text; write what {path.name} shows")
        else:
            faults.append(f"{path} has no caption; write it to {beside.name} beside it")
    if not found and not faults:
        raise InputError(f"{folder} holds no {', '.join((*CLIPS, *PICTURES))} file")
    return sorted(found, key=lambda file: file.name), faults


def inspect(file: Captioned, *, fps: float, shortest: int) -> Media:
    """What a file holds at a frame rate, from its packets and its first frame.

    Args:
        file: of the folder.
        fps: that of the model.
        shortest: the fewest frames of a clip; a single frame is a picture.

    Raises:
        InputError: the file cannot be read, is cut short, or is shorter than that.
    """
    info = probe(file.path)
    count = 1
    if info.num_frames > 1:
        line = scan(file.path, start_seconds=0.0, stop_seconds=math.inf, num_frames=math.inf)
        count = len(frames_on_screen(line.times, start=0.0, stop=line.stop_seconds, fps=fps))
        if count < shortest:
            raise InputError(
                f"{file.path} has {count} frames at {fps:g} fps; this model learns from "
                f"{shortest} ({shortest / fps:.2f} seconds) or more"
            )
    return Media(file, count, info.height, info.width)


def content_digest(path: Path) -> str:
    """A hash (16 hex digits) over the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def _media(folder: Path) -> Iterator[Path]:
    """Clips and pictures, by name; what is hidden is left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in (*CLIPS, *PICTURES) and path.is_file() and not hidden:
            yield path


def _text(path: Path) -> str:
    """The words of a text file on one line; empty if there is no such file, or no text in it."""
    try:
        return " ".join(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        return ""


def _listed(folder: Path, metadata: Path, captioned: bool) -> tuple[list[Captioned], list[str]]:
    """What the lines of a ``metadata.jsonl`` name."""
    try:
        lines = metadata.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [], [f"cannot read {metadata}: {error}"]
    files: dict[Path, Captioned] = {}
    faults = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            path, captions = _entry(metadata.parent, line, captioned)
            if path in files:
                raise InputError(f"lists {path.name} again; keep one of the lines")
            files[path] = Captioned(path, os.path.relpath(path, folder), captions)
        except InputError as error:
            faults.append(f"{metadata} line {number} {error}")
    return list(files.values()), faults


def _entry(folder: Path, line: str, captioned: bool) -> tuple[Path, tuple[str, ...]]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError("is no JSON; mend or delete it") from None
    if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
        raise InputError("has no file_name; name the clip that it speaks of")
    if (named := PurePath(entry["file_name"])).is_absolute() or ".." in named.parts:
        raise InputError(f"names {entry['file_name']!r}, which leads out of the folder; move it in")
    path = folder / named
    if path.suffix.lower() not in (*CLIPS, *PICTURES) or not path.is_file():
        raise InputError(f"names {entry['file_name']!r}, which is no clip or picture beside it")
    captions = _captions(entry) or (() if captioned else (path.stem,))
    if not captions:
        raise InputError(f"has no text; say what {entry['file_name']} shows")
    return path, captions


def _captions(entry: Mapping[str, Any]) -> tuple[str, ...]:
    said = entry.get("captions") if "text" not in entry else [entry["text"]]
    texts = [text for text in said if isinstance(text, str)] if isinstance(said, list) else []
    return tuple(" ".join(text.split()) for text in texts if text.strip())
