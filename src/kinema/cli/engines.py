"""Engines: who does the pieces that long work is cut into, and where.

`kinema encode` is cut into shards of latents, `kinema generate` for many clips into batches of
prompts. Each piece has files of its own, which appear under their names when they are complete.
So a piece whose files are there is left out by whoever cuts the work, and one that is done again,
because its process died, leaves the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from kinema.errors import InputError, unknown

P = TypeVar("P")
R = TypeVar("R")
Advance = Callable[[int], None]
Work = Callable[[P, Advance], R]
"""Does a piece, tells how many units of it are done, and gives what JSON can say.

In other processes a copy of it works, made by pickle; so it must load there what it needs.
"""
ENGINES = ("local", "ray")


class Engine(Protocol):
    """Does pieces of work.

    Attributes:
        in_process: whether it does them in this process.
        threads: of the processor for each process that works; torch decides if None.
    """

    @property
    def in_process(self) -> bool: ...

    @property
    def threads(self) -> int | None: ...

    def each(
        self, work: Work[P, R], pieces: Sequence[P], advance: Advance
    ) -> Iterator[tuple[P, R]]:
        """Does every piece once, and gives each with its result when it is done, in any order.

        Raises:
            InputError: a piece cannot be done; those that were given are.
        """


@dataclass(frozen=True)
class Local:
    """One piece after another, in this process."""

    threads: int | None
    in_process = True

    def each(
        self, work: Work[P, R], pieces: Sequence[P], advance: Advance
    ) -> Iterator[tuple[P, R]]:
        """Does every piece, in order."""
        for piece in pieces:
            yield piece, work(piece, advance)


def engine_of(name: str, workers: int, *, threads: int | None, device: str) -> Engine:
    """The engine that options name.

    Args:
        name: ``local`` or ``ray``.
        workers: processes of Ray.
        threads: of each process.
        device: where a process computes.

    Raises:
        InputError: there is no such engine, its package is not installed, or the options do not go
            together.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    if name == "local":
        if workers > 1:
            raise InputError(f"--workers {workers} needs --engine ray; local works alone")
        return Local(threads)
    if ":" in device:
        raise InputError(f"--engine ray chooses the devices: pass --device {device.split(':')[0]}")
    try:
        from kinema.cli.ray_engine import Ray
    except ImportError as error:
        raise InputError("--engine ray needs a package: pip install kinema[ray]") from error
    return Ray(workers=workers, threads=threads or 1, on_gpu=device == "cuda")
