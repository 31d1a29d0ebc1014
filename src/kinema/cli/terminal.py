"""What every verb shares with the person at the terminal, without importing anything heavy."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from kinema.errors import InputError

Seed = Annotated[int, typer.Option("--seed", min=0, help="a whole number from 0")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="of the processor; torch decides if absent")
]
EngineName = Annotated[
    str, typer.Option("--engine", help="local, or ray: in many processes, on many machines")
]
Workers = Annotated[
    int, typer.Option("--workers", min=1, help="processes of --engine ray, each with the model")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace files that stand where ours go")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]
Size = Annotated[
    str | None, typer.Option("--size", metavar="HxW", help="height and width in pixels, as 96x96")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change the configuration; may be repeated"),
]

SIZE = re.compile(r"([0-9]{1,6})x([0-9]{1,6})")
LONGEST_SLUG = 48


@dataclass
class Invocation:
    """One call of the command line.

    Attributes:
        arguments: what follows the name of the program.
        debug: the global option.
        saved: what is safe on disk by now, told when a signal stops the command.
    """

    arguments: Sequence[str]
    debug: bool = False
    saved: str = "nothing was written"

    @property
    def command(self) -> str:
        """The command as it can be typed again."""
        return shlex.join(["kinema", *self.arguments])


def invocation(context: typer.Context) -> Invocation:
    """The invocation that a verb is part of."""
    found = context.find_object(Invocation)
    assert found is not None, "verbs run below `main`"
    return found


def say(text: str) -> None:
    """Says something on stderr: it is not part of the answer."""
    print(text, file=sys.stderr, flush=True)


class Said(logging.Handler):
    """Says each message."""

    def emit(self, record: logging.LogRecord) -> None:
        """Says one."""
        say(self.format(record))


def show_log() -> None:
    """Shows what the library reports while it works, on stderr."""
    logger = logging.getLogger("kinema")
    if not logger.handlers:
        logger.addHandler(Said())
    logger.setLevel(logging.INFO)


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from ``HxW``.

    Raises:
        InputError: the text has another form.
    """
    found = SIZE.fullmatch(text)
    if found is None:
        raise InputError(f"--size {text!r} is no size; give HEIGHTxWIDTH in pixels, as 96x96")
    return int(found[1]), int(found[2])


def slug(text: str) -> str:
    """A name for files: the first words of a text in lower case, joined by hyphens."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    name = ""
    for word in words:
        longer = f"{name}-{word}" if name else word[:LONGEST_SLUG]
        if len(longer) > LONGEST_SLUG:
            break
        name = longer
    return name or "clip"
