"""Bringing an index up to date with its folder of clips; see `retriever.py`.

What was seen in a file is committed before the next one is looked at, so a kill costs the file in
hand. A file whose size and times are as they were is taken as it was; else its content decides, so
what was moved or only touched is not looked at again.

Letters: E width of the embeddings.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from kinema.data.media_folder import CLIPS, PICTURES, content_digest
from kinema.errors import InputError
from kinema.files import alone
from kinema.systems.retriever_index import (
    FLOATS,
    KIND,
    TABLES,
    Facts,
    connected,
    expect_model,
    read_facts,
    readable,
    write_facts,
)
from kinema.worlds.folder import SHEET

ENDINGS = (*CLIPS, *PICTURES, ".bmp", ".mpg", ".ogv", ".wmv")
Embed = Callable[[Path], np.ndarray]
State = Literal["new", "changed", "moved", "same", "gone", "left out"]


class Change(NamedTuple):
    """What an update found of a file; when it is told, it is on disk.

    Attributes:
        name: of the file, from the folder of clips on.
        state: beside what the index held of it; ``moved`` is known content under another name.
        why: it was left out; empty otherwise.
    """

    name: str
    state: State
    why: str = ""


def files_of(folder: Path) -> list[Path]:
    """Every video and picture in a folder and below it, by name; no contact sheet, nothing hidden.

    Raises:
        InputError: there is none.
    """
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in ENDINGS
        and path.name != SHEET
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise InputError(f"{folder} holds no video or picture; name a folder that does")
    return found


@contextlib.contextmanager
def writing(place: Path, facts: Facts) -> Iterator[IndexWriter]:
    """Opens an index to bring it up to date, or begins one.

    Args:
        place: the folder of the index.
        facts: the model, and the folder of the clips: the one that the index is of, or the one that
            it was moved to.

    Raises:
        InputError: another process writes there; the index is damaged, of another model or of
            another folder that is still there, or it cannot be written.
    """
    with alone(place), connected(place, "rwc") as database:
        with database:
            database.execute("BEGIN IMMEDIATE")
            if database.execute("PRAGMA schema_version").fetchone() == (0,):  # it is new
                for statement in (f"PRAGMA application_id = {KIND}", *TABLES):
                    database.execute(statement)
                write_facts(database, facts)
        before = read_facts(database, place)
        expect_model(place, before.model, facts.model)
        if before.folder != facts.folder and before.folder.is_dir():
            raise InputError(
                f"the index {place} is of {before.folder}, not of {facts.folder}; name another one"
            )
        with database:
            write_facts(database, facts)
        database.execute("PRAGMA journal_mode = WAL")  # commits wait for the disk once, not thrice
        yield IndexWriter(database)
        with contextlib.suppress(sqlite3.OperationalError):  # somebody reads, and may
            database.execute("PRAGMA journal_mode = DELETE")  # one file, which needs no writing


class IndexWriter:
    """An index that no other process changes meanwhile; `writing` gives one."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def update(self, folder: Path, paths: Iterable[Path], embed: Embed) -> Iterator[Change]:
        """Looks at what is new or has changed, forgets what is gone; tells each when it is on disk.

        A file that cannot be read is left out, and what was known under its name is forgotten.

        Args:
            folder: of the clips.
            paths: of all that the index is to hold, below the folder.
            embed: gives the embedding (E,) of a file, float32; raises InputError if it cannot.
        """
        gone = {name for (name,) in self.database.execute("SELECT name FROM clips")}
        for path in paths:
            name = os.fsencode(path.relative_to(folder).as_posix())
            gone.discard(name)
            try:
                change = Change(readable(name), self._look(name, path, embed))
            except InputError as error:
                self._forget(name)
                change = Change(readable(name), "left out", str(error))
            yield change
        for name in sorted(gone):
            self._forget(name)
            yield Change(readable(name), "gone")

    def put(self, name: bytes, stamp: str, content: str, embedding: bytes) -> None:
        """Keeps a file, once the caller commits: E numbers of the type `FLOATS` under its name.

        Args:
            name: from the folder of clips on.
            stamp, content: what `stamp_of` and `digest_of` said of it before it was looked at.
            embedding: what was seen.
        """
        row = (name, stamp, content, embedding)
        self.database.execute("INSERT OR REPLACE INTO clips VALUES (?, ?, ?, ?)", row)

    def _forget(self, name: bytes) -> None:
        with self.database:
            self.database.execute("DELETE FROM clips WHERE name = ?", (name,))

    def _look(self, name: bytes, path: Path, embed: Embed) -> State:
        stamp = stamp_of(path)
        old = self._known("name", name)
        if old and old.stamp == stamp:
            return "same"
        content = digest_of(path)
        touched = old is not None and old.content == content
        found = old if touched else self._known("content", content)
        embedding = found.embedding if found else embed(path).astype(FLOATS).tobytes()
        if stamp_of(path) != stamp:
            raise InputError(f"{path} changed while it was read; index again when it is complete")
        with self.database:
            self.put(name, stamp, content, embedding)
        if touched:
            return "same"
        return "moved" if found else "changed" if old else "new"

    def _known(self, column: str, value: bytes | str) -> _Row | None:
        query = f"SELECT stamp, content, embedding FROM clips WHERE {column} = ?"
        row = self.database.execute(query, (value,)).fetchone()
        return _Row(*row) if row else None


class _Row(NamedTuple):
    stamp: str
    content: str
    embedding: bytes


def stamp_of(path: Path) -> str:
    """What of a file changes with anything in it: size, times of its content and of its entry.

    Raises:
        InputError: it is gone, or may not be looked at.
    """
    try:
        seen = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns}"


def digest_of(path: Path) -> str:
    """A hash over the bytes of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return content_digest(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
