"""Low-rank adapters that the command line adds to a model: which files, how strongly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.cli.machine import sha256
from kinema.errors import InputError


@dataclass(frozen=True)
class Adapters:
    """Files of adapters with the scale of each."""

    files: tuple[tuple[Path, float], ...]

    def merge(self, model: Any) -> None:
        """Adds them to the weights of a model, for good.

        Raises:
            InputError: a file is none of adapters of this model, or it takes none.
        """
        for path, scale in self.files:
            model.merge_lora(path, scale=scale, reversible=False)

    def settings(self) -> dict[str, Any]:
        """What of them fixes a clip."""
        return {"lora": [{"sha256": sha256(path), "scale": scale} for path, scale in self.files]}

    def names(self) -> dict[str, Any]:
        """The files, for the record."""
        return {"lora_files": [str(path) for path, _ in self.files]}

    def options(self) -> list[str]:
        """The words of a command that adds the same."""
        return [word for path, scale in self.files for word in ("--lora", f"{path}:{scale}")]


def read_adapters(words: Sequence[str]) -> Adapters:
    """What ``--lora FILE`` and ``--lora FILE:SCALE`` name; the scale is 1 where there is none.

    Raises:
        InputError: there is no such file, or the scale is no number.
    """
    files = []
    for word in words:
        name, _, number = word.rpartition(":")
        path, scale = Path(word), 1.0
        if name and not path.is_file():
            path, scale = Path(name), _scale(word, number)
        if not path.is_file():
            raise InputError(f"--lora {word}: there is no file {path}")
        files.append((path, scale))
    return Adapters(tuple(files))


def _scale(word: str, number: str) -> float:
    try:
        scale = float(number)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise InputError(
            f"--lora {word!r} is not of the form FILE or FILE:SCALE, as a.safetensors:0.8"
        )
    return scale
