"""What retrievers share: texts and clips lie in one space, near to what means the same.

`index` looks at the files of a folder and keeps what it saw (`retriever_index.py`), so that later
it looks only at what has changed; `search` ranks them for a text.

Letters: B batch, N files, E width of the embeddings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.sample import Folder, Table, Text
from kinema.systems.model import Model
from kinema.systems.retriever_index import Facts, Index, IndexPlace, expect_model
from kinema.systems.retriever_update import Change, State, files_of, writing
from kinema.systems.system import Job
from kinema.training.clip_folder import shown
from kinema.training.contrastive import directions
from kinema.weights.digest import digest

NAMED = 20  # files that were left out, of those that are told


@dataclass(frozen=True)
class Listing(Table):
    """The files of a folder with what is wrong with those that were left out of its index.

    Args:
        told: what has changed since the index was last brought up to date; it is not written, so
            that equal folders have equal listings.
    """

    told: str

    def __str__(self) -> str:
        return self.told


class Retriever(Model):
    """A model that embeds texts and clips: a subclass writes `embed_texts`, `embed_file`, `seen`.

    Its configuration has ``shown``, the most lines of a ranking.
    """

    JOBS: ClassVar = {
        "index": Job(takes={"clips": Folder, "index": IndexPlace}, gives={"files": Listing}),
        "search": Job(takes={"index": Index, "query": Text}, gives={"ranking": Table}),
    }
    config: Any

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (B, E)."""
        raise NotImplementedError

    def embed_file(self, path: Path) -> Tensor:
        """The embedding (E,) of a video or a picture, float32 on the CPU; takes no gradient.

        Raises:
            InputError: the file cannot be read.
        """
        raise NotImplementedError

    @property
    def seen(self) -> tuple[int, int]:
        """How many frames of a file `embed_file` sees, at most, and their side in pixels."""
        raise NotImplementedError

    @torch.inference_mode()
    def embed_query(self, text: str) -> Tensor:
        """The embedding (E,) of a text, float32 on the CPU.

        Raises:
            InputError: the model knows no word of it, or it is too long.
        """
        self.unknown_words(text)
        return self.embed_texts([text])[0].float().cpu()

    def indexing(self, paths: Iterable[Path], folder: Path, place: Path) -> Iterator[Change]:
        """Brings the index in `place` up to date with a folder; tells each file when it is on disk.

        Args:
            paths: what the index is to hold of the folder, as `files_of` gives them.
            folder: of the clips.
            place: of the index, which is begun where it is missing.

        Raises:
            InputError: as `writing`.
        """

        def embed(path: Path) -> np.ndarray:
            return self.embed_file(path).numpy()

        facts = Facts(digest(self.parts), folder.resolve())
        with writing(place, facts) as index:
            yield from index.update(folder, paths, embed)

    def run_index(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Listing]:
        """Looks at every video and picture in a folder and below it that is new or has changed.

        Raises:
            InputError: as `indexing`, or no file of the folder can be used.
        """
        folder, place = inputs["clips"].path, inputs["index"].path
        paths = shown(files_of(folder), "indexing")
        changes = list(self.indexing(paths, folder, place))
        left_out = [change for change in changes if change.state == "left out"]
        files = [change for change in changes if change.state != "gone"]
        if len(left_out) == len(files):
            raise InputError(f"no file of {folder} can be used: {left_out[0].why}")
        counts = Counter(change.state for change in changes)
        said = ", ".join(f"{counts[state]} {state}" for state in get_args(State) if state in counts)
        lines = [f"left out: {change.why}" for change in left_out[:NAMED]]
        rows = tuple((change.name, change.why) for change in files)
        told = "\n".join([f"{len(files) - len(left_out)} files are in the index: {said}", *lines])
        return {"files": Listing(("file", "fault"), rows, told)}

    def searching(self, index: Index) -> Search:
        """Opens an index to any number of searches.

        Raises:
            InputError: another model made it.
        """
        return Search(self, index)

    def run_search(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Table]:
        """The files that are nearest to a text, with their cosines, the nearest first."""
        return {"ranking": self.searching(inputs["index"])(inputs["query"].text)}


class Search:
    """An index that answers one text after another; it compares weights with the model's once.

    Args:
        model: as it was when it made the index.
        index: as it was read.

    Raises:
        InputError: another model made it.
    """

    def __init__(self, model: Retriever, index: Index) -> None:
        expect_model(index.place, index.model, digest(model.parts))
        self.model, self.files = model, index.files
        self.clips = directions(torch.from_numpy(index.embeddings))

    def __call__(self, text: str) -> Table:
        """The files that are nearest to a text, with their cosines, the nearest first.

        Raises:
            InputError: as `Retriever.embed_query`.
        """
        scores = self.clips @ directions(self.model.embed_query(text))
        order = scores.sort(descending=True, stable=True).indices[: self.model.config.shown]
        rows = enumerate(order.tolist(), start=1)
        return Table(
            ("rank", "cosine", "file"),
            tuple((rank, round(float(scores[i]), 6), self.files[i]) for rank, i in rows),
        )
