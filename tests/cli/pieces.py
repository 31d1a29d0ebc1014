"""Work that processes of Ray can import, as they import that of the library."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from kinema.cli.engines import Advance
from kinema.errors import InputError
from kinema.files import atomic


@dataclass(frozen=True)
class Squares:
    """Writes the square of a number into a file of its name, and a line for each time it did.

    Args:
        folder: of the files.
        deadly: the number in whose writing a process dies.
        times: how often it does.
    """

    folder: Path
    deadly: int = -1
    times: int = 0

    def __call__(self, number: int, advance: Advance) -> dict[str, int]:
        """Squares one; a number below 0 cannot be."""
        if number < 0:
            raise InputError(f"{number} is below 0; give another")
        with atomic(self.folder / f"{number}.txt", overwrite=True) as partial:
            partial.write_text(str(number**2))
            advance(2)
            if number == self.deadly and self.dies():
                os.kill(os.getpid(), signal.SIGKILL)
        with (self.folder / "done").open("a") as done:
            done.write(f"{number}\n")
        return {"process": os.getpid(), "square": number**2}

    def dies(self) -> bool:
        """Whether it is to die this time; counts."""
        with (self.folder / "deaths").open("a+") as deaths:
            deaths.write("x")
            deaths.flush()
            return os.fstat(deaths.fileno()).st_size <= self.times
