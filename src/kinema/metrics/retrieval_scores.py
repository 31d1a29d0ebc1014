"""How well a retriever finds the clips of a folder by their captions, and captions by their clips.

Letters: N clips, Q captions, E width of the embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinema.data.media_folder import Captioned
from kinema.errors import InputError
from kinema.metrics import intervals
from kinema.metrics.clip_sets import digest_of
from kinema.metrics.feature_cache import FeatureCache
from kinema.metrics.judge import Judge
from kinema.metrics.passport import Score
from kinema.metrics.retrieval import ranks, ranks_of_best, summary
from kinema.noise import Noise
from kinema.training.contrastive import cosines

DIRECTIONS = {"to_clip": "every caption looks for its clip", "to_text": "every clip for a caption"}


@dataclass(frozen=True, kw_only=True)
class Searched(Judge):
    """A retriever.

    Attributes:
        embed_file: embedding (E,) of a file.
        embed_text: embedding (E,) of a text.
    """

    embed_file: Callable[[Path], Tensor]
    embed_text: Callable[[str], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Embedded:
    """What a retriever made of the files of a folder and their captions.

    Attributes:
        clips: (N, E) float32.
        texts: (Q, E) float32.
        owners: (Q,) int64, the clip of each caption.
        digests: hashes of the contents of the clips.
        captions: those of each clip.
        skipped: a line for each file that was left out.
    """

    clips: Tensor
    texts: Tensor
    owners: Tensor
    digests: Sequence[str]
    captions: Sequence[Sequence[str]]
    skipped: Sequence[str]


def embedded(
    searched: Searched,
    files: Iterable[Captioned],
    faults: Iterable[str],
    *,
    cache: Path,
    strict: bool,
    progress: Callable[[int], None],
) -> Embedded:
    """Embeds the captions of a folder, and its files unless the cache knows them.

    Args:
        searched: the retriever.
        files: with their captions.
        faults: lines for files of the folder that have none.
        cache: folder in which embeddings are kept, by the content of the files.
        strict: whether a file that cannot be used is an error.
        progress: told how many files are done, each time one is.

    Raises:
        InputError: fewer than two files are left, or one cannot be used and the caller is strict.
    """
    key: dict[str, Any] = {
        "what": "embeddings of a retriever",
        "system": searched.name,
        "weights": searched.weights,
        "made_by": searched.made_by,
    }
    known, skipped = FeatureCache(cache, key), list(faults)
    if strict and skipped:
        raise InputError(f"{skipped[0]}; or leave --strict out")
    clips, texts, owners = list[Tensor](), list[Tensor](), list[int]()
    digests, captions = list[str](), list[Sequence[str]]()
    try:
        for file in files:
            try:
                said = [searched.embed_text(caption) for caption in file.captions]
                content = digest_of(file.path)
                if content not in known:
                    known[content] = searched.embed_file(file.path)
            except InputError as error:
                if strict:
                    raise InputError(f"{file.path}: {error}; leave --strict out") from error
                skipped.append(f"{file.path}: {error}")
            else:
                owners += [len(clips)] * len(said)
                texts += said
                clips.append(known[content])
                digests.append(content)
                captions.append(file.captions)
            progress(1)
    finally:
        known.flush()
    if len(clips) < 2:
        raise InputError(
            f"retrieval needs two captioned clips or more, not {len(clips)}; "
            f"{skipped[0] if skipped else 'add some'}"
        )
    return Embedded(
        clips=torch.stack(clips),
        texts=torch.stack(texts),
        owners=torch.tensor(owners, device="cpu"),
        digests=digests,
        captions=captions,
        skipped=skipped,
    )


def scores(names: Sequence[str], searched: Searched, found: Embedded, seed: int) -> list[Score]:
    """Scores of both directions with their intervals and passports.

    Args:
        names: of what `retrieval.summary` gives.
        searched, found: the retriever and what it made.
        seed: of the intervals.
    """
    similarity = cosines(found.texts, found.clips)
    own = found.owners == torch.arange(len(found.clips), device="cpu")[:, None]
    by_direction = {
        "to_clip": ranks(similarity, found.owners),
        "to_text": ranks_of_best(similarity.T, own),
    }
    listed = repr([*zip(found.digests, found.captions)])
    told = []
    for name in names:
        for direction, places in by_direction.items():
            passport = searched.passport(
                name,
                f"{DIRECTIONS[direction]}; {len(found.texts)} captions; ties are found",
                preprocessing="middle frames of equal stretches, covering a square",
                redrawn="queries",
                count=len(found.clips),
                skipped=len(found.skipped),
                answered=listed,
                seed=seed,
            )

            def of(rows: Tensor, name: str = name, places: Tensor = places) -> Tensor:
                return summary(places[rows])[name]

            interval = intervals.bootstrap(of, len(places), Noise(seed, (0,)))
            value = float(summary(places)[name])
            told.append(
                Score(name=f"{name}.{direction}", value=value, interval=interval, passport=passport)
            )
    return told
