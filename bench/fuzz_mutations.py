"""Ways to spoil a file, each drawn from `Draws`: the same draws spoil it in the same way."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping

from kinema.worlds.world import Draws

Files = Mapping[str, bytes]
"""The files of an input by their paths in its folder."""
Mutation = Callable[[bytes, bytes, Draws], bytes]
"""(content, content of some other file, draws) -> spoilt content."""

HEAD = 512  # bytes: headers lie here in most formats; half of all places are drawn from it
HUGE = (0, 1, 0x7FFF, 0xFFFF, 0x10000, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, -1)
NUMBERS = (
    "0",
    "-1",
    "100000",
    "65535",
    "2147483648",
    "99999999999",
    "1e308",
    "NaN",
    "null",
    "[]",
    '"x"',
)
NUMBER = re.compile(rb"-?\d+(\.\d+)?")
WORDS = ("", "../../outside", "/etc/passwd", "a\\u0000b", "\\ud800", "x" * 5000, "\\n")
WORD = re.compile(rb'"([^"\\]*)"')
DEEP = 100_000  # brackets
ENDINGS = (".mp4", ".gif", ".png", ".jpg", ".webp", ".wav", ".npy", ".mkv", ".avi", ".mid", "")
SMALL = 2**20  # bytes of an archive that is written anew
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError)
SAFETENSORS, ZIP = ".safetensors", b"PK\x03\x04"


def spoil(files: Files, others: Files, draws: Draws, *, rename: bool) -> dict[str, bytes]:
    """Files of which one is spoilt, in one to three ways.

    Args:
        files: of the input.
        others: files of other inputs, which are spliced in.
        draws: the random choices.
        rename: whether the file may be given the ending of another format.
    """
    name = draws.choice(tuple(sorted(files)))
    other = others[draws.choice(tuple(sorted(others)))]
    content = files[name]
    for _ in range(draws.choice((1, 1, 2, 3))):
        content = inside(name, content, other, draws)
    spoilt = {**files, name: content}
    if rename and draws.uniform(0, 1) < 0.03:
        del spoilt[name]
        spoilt[name.rpartition(".")[0] + draws.choice(ENDINGS)] = content
    return spoilt


def inside(name: str, content: bytes, other: bytes, draws: Draws) -> bytes:
    """Spoils a file as bytes, or what is stored in it, with sizes and checksums made right again.

    Without that, every change of a safetensors header that alters its length, and every change in a
    zip archive, would be found out by the first check alone.
    """
    mend = draws.uniform(0, 1) < 0.5
    if mend and name.endswith(SAFETENSORS) and len(content) > 8:
        end = 8 + int.from_bytes(content[:8], "little")
        text = _in_header(content[8:end], other, draws)
        return len(text).to_bytes(8, "little") + text + content[end:]
    if mend and content.startswith(ZIP):
        return _in_archive(content, other, draws)
    text_like = content[:1] in b"{[" or name.endswith((".jsonl", ".txt", ".csv", ".ply", ".npy"))
    ways = TEXT if text_like and draws.uniform(0, 1) < 0.5 else BYTES
    return draws.choice(ways)(content, other, draws)


def _in_header(text: bytes, other: bytes, draws: Draws) -> bytes:
    """Spoils the header of a safetensors file, or one text in its metadata alone."""
    way = draws.choice((numbers, numbers, words, deep))
    try:
        header = json.loads(text)
        metadata = header["__metadata__"]
        name = draws.choice(tuple(sorted(metadata)))
        metadata[name] = way(metadata[name].encode(), other, draws).decode("utf-8", "replace")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return way(text, other, draws)
    return json.dumps(header).encode()


def _in_archive(content: bytes, other: bytes, draws: Draws) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            small = sum(member.file_size for member in archive.infolist()) <= SMALL
            members = {m: archive.read(m) for m in archive.namelist()} if small else {}
    except BROKEN_ZIP:
        members = {}
    if not members:
        return flip(content, other, draws)
    member = draws.choice(tuple(members))
    members[member] = draws.choice((*BYTES, *TEXT))(members[member], other, draws)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for path, stored in members.items():
            archive.writestr(path if draws.uniform(0, 1) < 0.95 else f"../{path}", stored)
    return written.getvalue()


def _place(content: bytes, draws: Draws) -> int:
    end = len(content) if draws.uniform(0, 1) < 0.5 else min(HEAD, len(content))
    return int(draws.uniform(0, max(end, 1)))


def _span(content: bytes, draws: Draws) -> tuple[int, int]:
    begin = _place(content, draws)
    return begin, begin + int(2 ** draws.uniform(0, 10))


def flip(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Turns 1 to 32 bits over."""
    spoilt = bytearray(content or b"\0")
    for _ in range(int(2 ** draws.uniform(0, 5))):
        spoilt[_place(spoilt, draws)] ^= 1 << int(draws.uniform(0, 8))
    return bytes(spoilt)


def truncate(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Cuts the end off."""
    return content[: int(draws.uniform(0, len(content)))]


def empty(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Leaves nothing, or nothing but zeros."""
    return draws.choice((b"", bytes(len(content))))


def concatenate(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Puts another file, or the same once more, behind it."""
    return content + draws.choice((content, other))


def splice(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Puts a part of another file into it, in the place of what is there or between."""
    begin, end = _span(content, draws)
    first, last = _span(other, draws)
    return content[:begin] + other[first:last] + content[draws.choice((begin, end)) :]


def overwrite(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Overwrites a block with zeros, ones or noise."""
    begin, end = _span(content, draws)
    end = min(end, len(content))
    noise = bytes(int(draws.uniform(0, 256)) for _ in range(end - begin))
    block = draws.choice((bytes(end - begin), b"\xff" * (end - begin), noise))
    return content[:begin] + block + content[end:]


def remove(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Takes a block out."""
    begin, end = _span(content, draws)
    return content[:begin] + content[end:]


def huge(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Sets one to eight binary fields to extreme values."""
    spoilt = bytearray(content)
    for _ in range(int(2 ** draws.uniform(0, 3))):
        width = draws.choice((1, 2, 4, 8))
        value = draws.choice(HUGE) & ((1 << 8 * width) - 1)
        place = _place(content, draws)
        spoilt[place : place + width] = value.to_bytes(width, draws.choice(("little", "big")))
    return bytes(spoilt)


def sizes(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Makes one four-byte number that could be a size larger by a factor."""
    place = _place(content, draws)
    order = draws.choice(("<", ">"))
    if place + 4 > len(content):
        return huge(content, other, draws)
    (value,) = struct.unpack_from(f"{order}I", content, place)
    grown = min(value * int(2 ** draws.uniform(1, 24)), 2**32 - 1)
    return content[:place] + struct.pack(f"{order}I", grown) + content[place + 4 :]


def numbers(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Replaces a number in a text."""
    return _replaced(NUMBER, content, draws.choice(NUMBERS), draws)


def words(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Replaces a word in quotation marks in a text."""
    return _replaced(WORD, content, f'"{draws.choice(WORDS)}"', draws)


def deep(content: bytes, other: bytes, draws: Draws) -> bytes:
    """Replaces a number by a list in a list in a list, or all of it."""
    nested = draws.choice(("[" * DEEP + "]" * DEEP, '{"a":' * DEEP, "9" * 5000))
    if draws.uniform(0, 1) < 0.3:
        return nested.encode()
    return _replaced(NUMBER, content, nested, draws)


def _replaced(pattern: re.Pattern[bytes], content: bytes, by: str, draws: Draws) -> bytes:
    found = list(pattern.finditer(content[:65536]))
    if not found:
        return by.encode()
    match = draws.choice(tuple(found))
    return content[: match.start()] + by.encode() + content[match.end() :]


BYTES: tuple[Mutation, ...] = (
    *(flip, flip, flip, truncate, truncate, concatenate, splice, splice),
    *(overwrite, remove, huge, huge, sizes, sizes, empty),
)
TEXT: tuple[Mutation, ...] = (numbers, numbers, words, words, deep)
