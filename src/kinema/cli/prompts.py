"""Prompts from a file: one in each line, as plain text or as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.errors import InputError, unknown

FIELDS = {"prompt": str, "negative": str, "seed": int}
FOR_SCORES = ("scene", "labels")  # what a prompt asks for; scores read it


@dataclass(frozen=True, kw_only=True)
class Request:
    """A prompt that somebody asked for.

    Attributes:
        place: where it was read, as ``prompts.txt:7``; empty for the command line.
        prompt: what to show.
        negative: what to move away from; None leaves it to the model.
        seed: of the first clip.
        broken: why it cannot be used; empty if it can.
    """

    place: str = ""
    prompt: str = ""
    negative: str | None = None
    seed: int = 0
    broken: str = ""


def check_prompt(prompt: str) -> None:
    """Raises InputError unless the prompt is text, and not blank."""
    if not prompt.strip():
        raise InputError("the prompt is empty; write at least one word")
    if not _is_text(prompt):
        raise InputError("the prompt is not UTF-8 text")


def read_prompts(path: Path, *, negative: str | None, seed: int) -> list[Request]:
    """The prompts of a file, one for each line that is neither blank nor begins with ``#``.

    A line of a ``.jsonl`` file is ``{"prompt": ..., "seed": ..., "negative": ...}``, the last two
    optional; the fields `FOR_SCORES` may be there too and are passed over. A broken line becomes a
    request that says so, and the others are read.

    Args:
        path: the file.
        negative, seed: of prompts that bring none of their own.

    Raises:
        InputError: the file cannot be read or holds no prompt.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the prompts in {path}: {error.strerror}") from error
    requests = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        place = f"{path}:{number}"
        try:
            fields = {"negative": negative, "seed": seed, **_fields(line, path.suffix == ".jsonl")}
            requests.append(Request(place=place, **fields))
        except InputError as error:
            requests.append(Request(place=place, broken=str(error)))
    if not requests:
        raise InputError(f"{path} holds no prompt; write one in each line")
    return requests


def _fields(line: bytes, is_json: bool) -> dict[str, Any]:
    try:
        text = line.decode().strip()
        fields = json.loads(text) if is_json else {"prompt": text}
    except UnicodeDecodeError:
        raise InputError("the line is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"the line is no JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InputError('the line must be a JSON object, as {"prompt": "a red circle"}')
    fields = {name: value for name, value in fields.items() if name not in FOR_SCORES}
    for name, value in fields.items():
        if name not in FIELDS:
            raise unknown("field", name, FIELDS)
        if type(value) is not FIELDS[name] or (isinstance(value, int) and value < 0):
            kind = "text" if FIELDS[name] is str else "a whole number from 0"
            raise InputError(f"{name} must be {kind}, not {value!r:.60}")
    check_prompt(fields.get("prompt", ""))
    if not _is_text(fields.get("negative", "")):
        raise InputError("negative is not UTF-8 text")
    return fields


def _is_text(text: str) -> bool:
    """False for text with lone surrogates: bytes of another encoding, or a broken JSON escape."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
