"""An index of clips: what a model saw in each file of a folder, to be compared with texts later.

Paper, code and licence: see `frozen_in_time.py`. Letters: N files, E width of the embeddings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from kinema.data.media_folder import CLIPS, PICTURES
from kinema.errors import InputError
from kinema.sample import Table, expect_array
from kinema.training.contrastive import cosines
from kinema.weights.files import open_checkpoint, read_finite, save
from kinema.worlds.folder import SHEET

KIND = "kinema index of clips"
ENDINGS = (*CLIPS, *PICTURES, ".bmp", ".mpg", ".ogv", ".wmv")


def files_of(folder: Path) -> list[Path]:
    """Every video and picture in a folder and below it, by name, but no contact sheet.

    Raises:
        InputError: there is none.
    """
    found = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS)
    paths = [path for path in found if path.name != SHEET]
    if not paths:
        raise InputError(f"{folder} holds no video or picture; name a folder that does")
    return paths


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

    def ranking(self, text: Tensor, count: int) -> Table:
        """The files nearest to the embedding (1, E) of a text, with cosines, the nearest first.

        Args:
            text: float32.
            count: how many lines at most.
        """
        scores = cosines(text.cpu(), torch.from_numpy(self.embeddings))[0]
        order = scores.sort(descending=True, stable=True).indices[:count].tolist()
        rows = tuple(
            (rank, round(float(scores[i]), 6), self.files[i]) for rank, i in enumerate(order, 1)
        )
        return Table(("rank", "cosine", "file"), rows)

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
