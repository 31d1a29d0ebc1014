"""What all systems share: a card, and jobs that they do for a person. It needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from kinema.card import Card
from kinema.errors import InputError, unknown
from kinema.sample import Artefact, Text


@dataclass(frozen=True)
class Job:
    """One thing that a system does for a person.

    Args:
        takes: {input: its kind}, in the order of the command line.
        gives: {artefact: its kind}, the main one first.
    """

    takes: Mapping[str, type]
    gives: Mapping[str, type]


class System:
    """A system: what it is, and what it does for a person.

    A subclass names its `CARD` and its `JOBS`, and has a method ``run_<job>(inputs, seed)`` that
    returns artefacts by name for each of them.
    """

    CARD: ClassVar[Card]
    JOBS: ClassVar[Mapping[str, Job]]
    """By name; the first is the main job."""

    def run(
        self, inputs: Mapping[str, Any], seed: int, job: str | None = None
    ) -> Mapping[str, Artefact]:
        """Does a job.

        Args:
            inputs: by name, of the kinds that the job takes.
            seed: fixes whatever is drawn.
            job: one of `JOBS`; the main one if None.

        Raises:
            InputError: there is no such job; an input is missing, too many, or does not fit.
        """
        job = job or next(iter(self.JOBS))
        if job not in self.JOBS:
            raise unknown(f"job of {self.CARD.name}", job, self.JOBS)
        takes = self.JOBS[job].takes
        for name in inputs:
            if name not in takes:
                raise unknown(f"input of {self.CARD.name} {job}", name, takes)
        if missing := [name for name in takes if name not in inputs]:
            raise InputError(f"{self.CARD.name} {job} needs {', '.join(missing)} too")
        self.ignored_words(inputs)
        return getattr(self, f"run_{job}")(inputs, seed)

    def ignored_words(self, inputs: Mapping[str, Any]) -> list[str]:
        """Words in the texts of inputs that the system does not know and leaves out.

        Raises:
            InputError: a text is too long, or no word of it is known.
        """
        texts = [value.text for value in inputs.values() if isinstance(value, Text)]
        return [word for text in texts for word in self.unknown_words(text)]

    def unknown_words(self, text: str) -> list[str]:
        """The words of a text that the system does not know; none, where it reads them itself."""
        return []

    def merge_lora(self, path: str | Path, *, scale: float, reversible: bool = True) -> None:
        """Adds low-rank adapters to the weights; a system without networks has none.

        Raises:
            InputError: this system takes no adapters.
        """
        raise InputError(f"{self.CARD.name} takes no low-rank adapters")

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """Inputs for a job, drawn by a world.

        Args:
            job: one of `JOBS`.
            folder: files that the inputs name are written there.
        """
        raise NotImplementedError
