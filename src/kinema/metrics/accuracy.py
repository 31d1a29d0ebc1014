"""How often a recognizer is right: top-1 and top-5 over a list of clips with their classes.

Letters: N clips, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinema.data.annotations import Annotated, class_numbers
from kinema.errors import InputError
from kinema.metrics import intervals
from kinema.metrics.clip_sets import digest_of
from kinema.metrics.feature_cache import FeatureCache
from kinema.metrics.judge import Judge
from kinema.metrics.passport import Score
from kinema.noise import Noise
from kinema.sample import Table

ACCURACIES = {"top1": 1, "top5": 5}


@dataclass(frozen=True, kw_only=True)
class Judged(Judge):
    """A recognizer.

    Attributes:
        views: what it sees of a clip, in words.
        labels: of the classes, in order.
        probabilities: of the classes (K,), from a file.
    """

    views: str
    labels: Sequence[str]
    probabilities: Callable[[Path], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """What a recognizer says of the clips of a list.

    Attributes:
        probabilities: (N, K) float32.
        classes: (N,) int64, the right ones.
        digests: hashes of the contents of the clips.
        skipped: a line for each clip that was left out.
    """

    probabilities: Tensor
    classes: Tensor
    digests: Sequence[str]
    skipped: Sequence[str]


def hits(scores: Tensor, classes: Tensor, count: int) -> Tensor:
    """Whether the class (N,) is among the `count` highest of scores (N, K): (N,) of 0 and 1.

    Among equals the lower number counts as higher. With no more classes than that all are hits.
    """
    best = scores.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return (best == classes[:, None]).any(1).float()


def answers(
    judged: Judged,
    entries: Iterable[Annotated],
    *,
    cache: Path,
    strict: bool,
    progress: Callable[[int], None],
) -> Answers:
    """Lets a recognizer look at every clip of a list, or takes what it said from the cache.

    Args:
        judged: the recognizer.
        entries: of the list.
        cache: folder in which answers are kept, by the content of the clips.
        strict: whether a clip that is missing or broken is an error.
        progress: told how many clips are done, each time one is.

    Raises:
        InputError: a class is none of the recognizer's, no clip is left, or one cannot be used and
            the caller is strict.
    """
    number = class_numbers(judged.labels)
    key: dict[str, Any] = {
        "what": "probabilities of classes",
        "system": judged.name,
        "weights": judged.weights,
        "views": judged.views,
        "made_by": judged.made_by,
    }
    known = FeatureCache(cache, key)
    rows, classes, digests, skipped = [], [], [], []
    try:
        for entry in entries:
            right = number(entry)
            try:
                content = content_of(entry.path)
                if content not in known:
                    known[content] = judged.probabilities(entry.path)
            except InputError as error:
                if strict:
                    raise InputError(f"{entry.place}: {error}; leave --strict out") from error
                skipped.append(f"{entry.place}: {error}")
            else:
                rows.append(known[content])
                classes.append(right)
                digests.append(content)
            progress(1)
    finally:
        known.flush()
    if not rows:
        raise InputError(
            f"no clip of the list can be used; {skipped[0] if skipped else 'add some'}"
        )
    return Answers(
        probabilities=torch.stack(rows),
        classes=torch.tensor(classes, device="cpu"),
        digests=digests,
        skipped=skipped,
    )


def content_of(path: Path) -> str:
    """A hash of the content of a file.

    Raises:
        InputError: there is none, or it cannot be opened.
    """
    try:
        if not path.is_file():
            raise InputError(f"there is no file {path}")
        return digest_of(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def scores(names: Sequence[str], judged: Judged, said: Answers, seed: int) -> list[Score]:
    """Accuracies in [0, 1] with their intervals and passports.

    Args:
        names: of `ACCURACIES`.
        judged, said: the recognizer and its answers.
        seed: of the intervals.
    """
    found = []
    listed = " ".join(f"{d}={c}" for d, c in zip(said.digests, said.classes.tolist()))
    for name in names:
        right = hits(said.probabilities, said.classes, ACCURACIES[name])
        passport = judged.passport(
            name,
            f"share of clips, of {len(judged.labels)} classes",
            preprocessing=judged.views,
            redrawn="clips",
            count=len(right),
            skipped=len(said.skipped),
            answered=listed,
            seed=seed,
        )
        interval = intervals.bootstrap_mean(right, Noise(seed, (0,)))
        value = float(right.double().mean())
        found.append(Score(name=name, value=value, interval=interval, passport=passport))
    return found


def by_class(labels: Sequence[str], said: Answers) -> Table:
    """For each class that the list has: how many clips, both accuracies, what it is mistaken for.

    The worst class comes first; the last column is the wrong class that was said most often.
    """
    first, fifth = (hits(said.probabilities, said.classes, k) for k in ACCURACIES.values())
    best = said.probabilities.argmax(1)
    rows = []
    for number in said.classes.unique().tolist():
        own = said.classes == number
        wrong = Counter(guess for guess in best[own].tolist() if guess != number)
        rows.append(
            (
                labels[number],
                int(own.sum()),
                round(float(first[own].mean()), 6),
                round(float(fifth[own].mean()), 6),
                labels[wrong.most_common(1)[0][0]] if wrong else "",
            )
        )
    rows.sort(key=lambda row: (row[2], row[0]))
    return Table(("class", "clips", *ACCURACIES, "mistaken for"), tuple(rows))
