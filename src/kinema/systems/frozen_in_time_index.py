"""An index of clips: what a model saw in each file, so that texts can be compared with it later.

Paper, code and licence: see `frozen_in_time.py`. Letters: N files, E width of the embeddings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch

from kinema.errors import InputError
from kinema.sample import expect_array
from kinema.weights.files import open_checkpoint, read_finite, save

KIND = "kinema index of clips"


@dataclass(frozen=True, eq=False)
class Index:
    """Embeddings of files.

    Args:
        embeddings: (N, E) float32.
        files: their names, relative to the folder that was read.
        model: digest of the networks that made them; an index is of no use to others.
    """

    SUFFIXES: ClassVar[tuple[str, ...]] = (".safetensors",)
    embeddings: np.ndarray
    files: tuple[str, ...]
    model: str

    def __post_init__(self) -> None:
        expect_array("embeddings", self.embeddings, np.float32, "N E", (len(self.files), None))

    def __str__(self) -> str:
        return f"{len(self.files)} files, {self.embeddings.shape[1]} numbers each"

    @classmethod
    def given(cls, value: str) -> Self:
        """Reads a file that `write` wrote.

        Raises:
            InputError: it is missing or damaged, or holds something else.
        """
        stored = open_checkpoint(value)
        if stored.metadata.get("kind") != KIND:
            raise InputError(f"{value} holds no index; make one with the job `index`")
        try:
            files = tuple(map(str, json.loads(stored.metadata["files"])))
            embeddings = read_finite("embeddings", stored.tensors["embeddings"], where=value)
            return cls(embeddings.numpy(), files, stored.metadata["model"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the index {value} is damaged ({error}); make it again") from error

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes a safetensors file, with names and digest in its metadata."""
        metadata = {"kind": KIND, "files": json.dumps(self.files), "model": self.model}
        tensors = {"embeddings": torch.from_numpy(self.embeddings)}
        save(path, tensors, metadata, overwrite=overwrite)
