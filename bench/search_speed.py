"""How long a text takes to find its clips among 10,000, in a process that has the index in memory.

    python bench/search_speed.py --json runs/search_speed.json

The index holds rows of normal noise in the place of embeddings: features that stand for clips, made
because how long a search takes does not depend on what was seen. All else is real: the index is
written and read by the library, the call that is timed is `Retriever.searching(index)(text)`, with
the text encoder in it, and its answers are compared with a ranking in float64. The texts are
captions of the world `shapes`, each asked once.

- ``tiny``: the preset's word encoder and width of 32;
- ``full``: DistilBERT at its published size, random weights, a vocabulary of as many made-up words,
  and the published width of 256. The video encoder, which no search calls, is that of tiny.

Wall-clock and processor milliseconds of a query; the bar is on the median of the former.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinema import worlds
from kinema.files import write_text
from kinema.networks.distilbert import base
from kinema.noise import Noise
from kinema.systems.frozen_in_time import FrozenInTime
from kinema.systems.frozen_in_time_config import FrozenInTimeConfig, ProjectionsConfig, tiny
from kinema.systems.retriever import Search
from kinema.systems.retriever_index import FLOATS, Facts, Index
from kinema.systems.retriever_update import writing
from kinema.weights.digest import digest

BAR = 50.0  # milliseconds, at most
WARM = 5  # queries before those that are timed
CLOSE = 1e-5  # of a cosine
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def config(size: str, folder: Path) -> FrozenInTimeConfig:
    """Of the model; the tokenizer of the large one is written to the folder."""
    if size == "tiny":
        return tiny()
    text = base(str(folder))
    known = [*SPECIAL, *tiny().text.vocabulary]
    words = [*known, *(f"word{i}" for i in range(text.vocabulary - len(known)))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "config.json").write_text('{"model_type": "distilbert"}')
    widths = ProjectionsConfig(text_width=text.width, video_width=tiny().video.width, width=256)
    return replace(tiny(), text=text, projections=widths)


def captions(count: int) -> list[str]:
    """As many different ones."""
    size = {"num_frames": 1, "height": 32, "width": 32, "fps": 8.0}
    world = worlds.load("shapes", seed=0, split="all", **size)
    found: dict[str, None] = {}
    index = 0
    while len(found) < count:
        found |= dict.fromkeys(world.sample(index).captions)
        index += 1
    return list(found)[:count]


def write_features(place: Path, model: FrozenInTime, count: int) -> None:
    """Writes an index of so many rows of noise."""
    width = model.config.projections.width
    rows = Noise(0, tuple(range(count))).normal((count, width), "features").numpy()
    with writing(place, Facts(digest(model.parts), place / "features")) as index, index.database:
        for number, row in enumerate(rows):
            name = f"{number:06d}.mp4".encode()
            index.put(name, "features", str(number), row.astype(FLOATS).tobytes())


def check(search: Search, index: Index, text: str) -> None:
    """Compares an answer with a ranking in float64."""
    with torch.no_grad():
        query = search.model.embed_texts([text])[0].double().numpy()
    x = index.embeddings.astype(np.float64)
    cosines = x @ query / np.linalg.norm(x, axis=1) / np.linalg.norm(query)
    rows = search(text).rows
    best = np.sort(cosines)[::-1][: len(rows)]
    assert np.abs(best - [row[1] for row in rows]).max() < CLOSE
    assert all(abs(cosines[index.files.index(name)] - c) < CLOSE for _, c, name in rows)


def measured(size: str, count: int, texts: list[str]) -> dict[str, Any]:
    """The figures of one model."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = FrozenInTime(config(size, folder))
        write_features(folder / "index", model, count)
        begin = time.perf_counter()
        index = Index.given(folder / "index")
        read = time.perf_counter()
        search = model.searching(index)
        opened = time.perf_counter()
        for text in texts[:WARM]:
            check(search, index, text)
        wall, processor = [], []
        for text in texts[WARM:]:
            start = time.perf_counter(), time.process_time()
            search(text)
            wall.append(1e3 * (time.perf_counter() - start[0]))
            processor.append(1e3 * (time.process_time() - start[1]))
    return {
        "size": size,
        "text_parameters": sum(p.numel() for p in model.text.parameters()),
        "width": index.embeddings.shape[1],
        "rows": len(index.files),
        "queries": len(wall),
        "read_index_s": round(read - begin, 3),
        "compare_weights_s": round(opened - read, 3),
        "median_ms": round(statistics.median(wall), 2),
        "p95_ms": round(float(np.quantile(wall, 0.95)), 2),
        "processor_median_ms": round(statistics.median(processor), 2),
    }


def main() -> int:
    """Prints a line for each model; the exit status says whether the bar is kept."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=("tiny", "full"), default=["tiny", "full"])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    texts = captions(WARM + given.queries)
    found = [measured(size, given.rows, texts) for size in given.sizes]
    for figures in found:
        print(json.dumps(figures), flush=True)
    kept = all(figures["median_ms"] < BAR for figures in found)
    if given.json:
        record = {"bar_ms": BAR, "kept": kept, "threads": given.threads, "models": found}
        record["versions"] = {"kinema": version("kinema"), "torch": str(torch.__version__)}
        write_text(given.json, json.dumps(record, indent=1) + "\n", overwrite=True)
    print(f"median below {BAR:g} ms: {'yes' if kept else 'no'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
