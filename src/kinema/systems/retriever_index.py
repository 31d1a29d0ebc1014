"""An index: what a retriever saw in each file of a folder of clips, on disk; see `retriever.py`.

It is a folder with one SQLite database, which `retriever_update.py` keeps up to date file by file.

Letters: N files, E width of the embeddings.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np

from kinema.errors import InputError
from kinema.files import check_writable
from kinema.sample import expect_array

DATABASE = "clips.sqlite"
KIND = 0x4B494E31  # in the header of the database: that it is ours, and of which layout
TABLES = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
    "CREATE TABLE clips (name BLOB PRIMARY KEY, stamp TEXT NOT NULL, content TEXT NOT NULL, "
    "embedding BLOB NOT NULL)",
    "CREATE INDEX by_content ON clips (content)",
)
STRANGE = (  # rows that are none of ours: columns may hold anything
    "SELECT count(*) FROM clips WHERE "
    "typeof(name) || typeof(stamp) || typeof(content) || typeof(embedding) != 'blobtexttextblob'"
)
FLOATS = np.dtype("<f4")  # of an embedding


@dataclass(frozen=True)
class IndexPlace:
    """A folder in which an index is, or will be."""

    path: Path

    @classmethod
    def given(cls, value: str) -> Self:
        """The folder that a person named; it is made where it is missing.

        Raises:
            InputError: it cannot be written.
        """
        check_writable(Path(value) / DATABASE, overwrite=True)
        return cls(Path(value))


@dataclass(frozen=True, eq=False)
class Index:
    """An index as it stood when it was read, in memory.

    Args:
        place: the folder that it was read from.
        embeddings: (N, E) float32.
        files: their names, from the folder of clips on, in order.
        model: digest of the networks that made them; the index is of no use to others.
    """

    place: Path
    embeddings: np.ndarray
    files: tuple[str, ...]
    model: str

    def __post_init__(self) -> None:
        expect_array("embeddings", self.embeddings, np.float32, "N E", (len(self.files), None))

    @classmethod
    def given(cls, value: str | Path) -> Self:
        """Reads the index in a folder, while another process may be bringing it up to date.

        Raises:
            InputError: there is none, it is damaged, or nothing is in it yet.
        """
        place = Path(value)
        if not (place / DATABASE).is_file():
            raise InputError(f"{place} holds no index of clips; make one with the job `index`")
        with connected(place, "rw") as database:
            facts = read_facts(database, place)
            rows = database.execute("SELECT name, embedding FROM clips ORDER BY name").fetchall()
        if not rows:
            raise InputError(f"the index {place} holds no clip yet; run the job `index`")
        try:
            names, blobs = zip(*rows)
            if len({len(blob) for blob in blobs}) > 1:
                raise ValueError("embeddings differ in length")
            x = np.frombuffer(b"".join(blobs), FLOATS).reshape(len(names), -1).astype(np.float32)
            if not np.isfinite(x).all():
                raise ValueError("an embedding is not finite")
            return cls(place, x, tuple(map(readable, names)), facts.model)
        except ValueError as error:
            raise damaged(place, error) from error


class Facts(NamedTuple):
    """Whose an index is: the digest of the networks, and the folder of the clips."""

    model: str
    folder: Path


def read_facts(database: sqlite3.Connection, place: Path) -> Facts:
    """What `write_facts` wrote, after a check of the whole database.

    Raises:
        InputError: the database is none of ours, or damaged.
    """
    if database.execute("PRAGMA application_id").fetchone() != (KIND,):
        raise InputError(f"{place / DATABASE} holds no index of clips; name another folder")
    tables = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
    if sorted(tables) != sorted((table,) for table in TABLES):  # a view may be made to run for ever
        raise damaged(place, "its tables are others")
    found = dict(database.execute("SELECT name, value FROM facts"))
    if not all(isinstance(found.get(name), bytes) for name in Facts._fields):
        raise damaged(place, "it does not say whose it is")
    if (said := database.execute("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
        raise damaged(place, *said)
    if database.execute(STRANGE).fetchone() != (0,):
        raise damaged(place, "it holds rows of another kind")
    return Facts(readable(found["model"]), Path(os.fsdecode(found["folder"])))


def write_facts(database: sqlite3.Connection, facts: Facts) -> None:
    """Writes whose an index is, in the place of what it said before."""
    values = {"model": facts.model.encode(), "folder": os.fsencode(facts.folder)}
    database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", values.items())


def expect_model(place: Path, made: str, given: str) -> None:
    """Raises InputError unless an index was made by the networks with the digest `given`."""
    if made != given:
        raise InputError(
            f"the index {place} was made by another model ({made}, this one is {given}); "
            "search it with that one, or index the clips into another folder"
        )


@contextlib.contextmanager
def connected(place: Path, mode: Literal["rw", "rwc"]) -> Iterator[sqlite3.Connection]:
    """The database of an index inside the block; ``rwc`` makes one where there is none.

    Those who only read may write too: they undo the half of a change that a killed writer left.

    Raises:
        InputError: it cannot be used: it is damaged, locked for seconds, or the disk is full.
    """
    uri = f"{(place / DATABASE).resolve().as_uri()}?mode={mode}"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            yield database
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter of names in a damaged schema
        raise InputError(
            f"cannot use the index {place}: {error}; make room, or index into another folder"
        ) from error


def damaged(place: Path, why: object) -> InputError:
    """The error for an index that cannot be read."""
    said = str(why).splitlines()[-1]
    return InputError(f"the index {place} is damaged ({said}); index into another folder")


def readable(name: bytes) -> str:
    """A name for people; bytes in it that are no text are written out."""
    return name.decode(errors="backslashreplace")
