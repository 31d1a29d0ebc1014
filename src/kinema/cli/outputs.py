"""What a run leaves: the artefact, the record that tells how to make it again, a contact sheet."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kinema.cli.terminal import slug
from kinema.clip import Clip
from kinema.errors import InputError
from kinema.files import atomic, check_writable, parse_json
from kinema.media import write_contact_sheet

RECORD, SHEET = ".json", ".png"
FOLDER_SHEET = "contact_sheet.png"
CLIPS_ON_SHEET = 64
CLIP_ENDINGS = (".mp4", ".gif")


def clip_name(number: int, prompt: str, negative: str, seed: int) -> str:
    """The name of one of several clips, as ``0007-words-of-the-prompt-1a2b3c4d.mp4``.

    At the end is a digest of what is asked for, so that no clip gets the name of another one,
    whatever else was generated into its folder.
    """
    asked = json.dumps([prompt, negative, seed]).encode()
    digest = hashlib.blake2b(asked, digest_size=4).hexdigest()
    return f"{number:04d}-{slug(prompt)}-{digest}.mp4"


def check_clip_file(path: Path, *, overwrite: bool) -> None:
    """Says before long work whether a clip, its record and its sheet could be written.

    Raises:
        InputError: the ending is not one of a clip, a file exists, or the folder cannot be written.
    """
    if path.suffix.lower() not in CLIP_ENDINGS:
        raise InputError(f"cannot write a clip as {path}; end the name in .mp4 or .gif")
    for file in (path, path.with_suffix(RECORD), path.with_suffix(SHEET)):
        check_writable(file, overwrite=overwrite)


def check_clip_folder(folder: Path) -> None:
    """Says before long work whether many clips could be written into a folder, and makes it.

    Raises:
        InputError: it is a file or named like one, or it cannot be made or written.
    """
    if folder.is_file() or folder.suffix.lower() in CLIP_ENDINGS:
        raise InputError(f"--output {folder} names a file; several clips need a folder")
    check_writable(folder / FOLDER_SHEET, overwrite=True)


def is_cut_short(path: Path) -> bool:
    """Whether a record of ours stands there without its clip, as a kill between them leaves it."""
    record = path.with_suffix(RECORD)
    if os.path.lexists(path):
        return False
    try:
        return "command" in parse_json(record.read_text(encoding="utf-8"), str(record))
    except (OSError, ValueError, TypeError):
        return False


def is_left_out(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the record that stands there without its clip is of these settings.

    Raises:
        InputError: it is of others.
    """
    return is_cut_short(path) and not is_finished(path, settings)


def is_finished(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the clip at `path` is there and was made with these settings.

    Raises:
        InputError: it was made with others, or something stands there whose making is not known.
    """
    mend = "pass --overwrite or choose another --output"
    record = path.with_suffix(RECORD)
    if not record.exists():
        if path.exists():
            raise InputError(f"{path} exists and nothing tells how it was made; {mend}")
        return False
    try:
        old = _flat(parse_json(record.read_text(encoding="utf-8"), str(record)))
    except (OSError, ValueError, AttributeError):
        raise InputError(f"{record} exists and is no record of ours; {mend}") from None
    for name, value in _flat(settings).items():
        if old.get(name) != value:
            raise InputError(
                f"{path} was made with {name} {old.get(name)!r}, not {value!r}; {mend}"
            )
    return path.exists()


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat


def save_clip(path: Path, clip: Clip, record: Mapping[str, Any], *, overwrite: bool) -> None:
    """Writes a clip and its record, which appear together."""
    save_together(
        {
            path: lambda partial: clip.write(partial, overwrite=True),
            path.with_suffix(RECORD): lambda partial: write_record(partial, record),
        },
        overwrite=overwrite,
    )


def save_clip_with_sheet(
    path: Path, clip: Clip, record: Mapping[str, Any], label: str, *, overwrite: bool
) -> None:
    """Writes a clip, its contact sheet and its record, which appear together."""
    save_together(
        {
            path: lambda partial: clip.write(partial, overwrite=True),
            path.with_suffix(SHEET): lambda partial: draw_sheet(partial, clip, label),
            path.with_suffix(RECORD): lambda partial: write_record(partial, record),
        },
        overwrite=overwrite,
    )


def draw_sheet(path: Path, clip: Clip, label: str) -> None:
    """Draws the contact sheet of one clip."""
    write_contact_sheet(path, [clip], [label], columns=1, frames_per_clip=8, overwrite=True)


def save_together(files: Mapping[Path, Callable[[Path], None]], *, overwrite: bool) -> None:
    """Writes files that appear under their names when all are complete, the first one last.

    What stood under the first name goes before any of them appears: a process that is killed in
    between leaves a record without its clip, never one beside a clip of another.
    """
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(atomic(path, overwrite=overwrite)) for path in files]
        for path, place in zip(files, places):
            try:
                files[path](place)
            except InputError as error:  # it names the place that only we know of
                raise InputError(str(error).replace(str(place), str(path))) from error
        if overwrite and len(places) > 1:
            next(iter(files)).unlink(missing_ok=True)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a record as JSON."""
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_folder_sheet(folder: Path, paths: Sequence[Path], labels: Sequence[str]) -> None:
    """Draws the first clips of a folder, as they are stored, on one sheet."""
    clips = [Clip.read(path) for path in paths[:CLIPS_ON_SHEET]]
    write_contact_sheet(
        folder / FOLDER_SHEET,
        clips,
        labels[:CLIPS_ON_SHEET],
        columns=2,
        frames_per_clip=6,
        overwrite=True,
    )
