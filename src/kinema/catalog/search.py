"""Search of the catalog: facets decide what is shown, BM25 in which order.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009).
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kinema.catalog.methods import AREAS, CONDITIONINGS, TASKS, Method, letters, plain
from kinema.errors import InputError, unknown

SATURATION, LENGTH = 1.2, 0.75  # k1 and b of BM25, as its authors advise
SIMILAR = 0.5  # as `kinema.errors.unknown` has it for the nearest name
YEARS = re.compile(r"(?P<first>[0-9]{4})?(?P<range>\.\.)?(?P<last>[0-9]{4})?")


@dataclass(frozen=True, kw_only=True)
class Facets:
    """What a method must be; what is None may be anything.

    Args:
        task: a task or an area of them.
        years: ``2023``, ``2023..2024``, ``2023..`` or ``..2022``; methods whose year is not known
            are in no range.
        conditioning: what steers it.
        code: whether its repository is known.
        system: only systems of Kinema.

    Raises:
        InputError: there is no such task or conditioning, or `years` is no range.
    """

    task: str | None = None
    years: str | None = None
    conditioning: str | None = None
    code: bool | None = None
    system: bool = False

    def __post_init__(self) -> None:
        if self.task not in (None, *TASKS, *AREAS):
            raise unknown("task", str(self.task), {*TASKS, *AREAS})
        if self.conditioning not in (None, *CONDITIONINGS):
            raise unknown("conditioning", str(self.conditioning), CONDITIONINGS)
        self.span()

    def span(self) -> tuple[int, int]:
        """The first and the last year.

        Raises:
            InputError: `years` is no range.
        """
        text = ".." if self.years is None else self.years
        found = YEARS.fullmatch(text)
        if found is None or not any(found.groups()) or (found["last"] and not found["range"]):
            raise InputError(f"{text!r} is no year; give 2023, 2023..2024, 2023.. or ..2022")
        first = int(found["first"] or 0)
        last = int(found["last"] or 9999) if found["range"] else first
        if last < first:
            raise InputError(f"{text!r} ends before it begins; give the earlier year first")
        return first, last

    def fits(self, method: Method) -> bool:
        """Whether a method is all that."""
        first, last = self.span()
        return (
            (self.task is None or self.task in (*method.tasks, *method.areas))
            and (self.years is None or first <= (method.year or -1) <= last)
            and (self.conditioning is None or self.conditioning in method.conditioning)
            and (self.code is None or self.code == bool(method.github))
            and (bool(method.system) or not self.system)
        )


@dataclass(frozen=True)
class Found:
    """The answer to a search.

    Args:
        methods: the best first; without a query the newest first.
        read_as: the name that was searched for in the place of the query; "" if the query was.
        ignored: words of the query that no method has.
    """

    methods: tuple[Method, ...]
    read_as: str = ""
    ignored: tuple[str, ...] = ()


def search(methods: Sequence[Method], query: str | None, facets: Facets) -> Found:
    """Methods that have any word of a query, the best first.

    A query without a known word is read as the name that is nearest to it: typing errors are found.

    Args:
        methods: all there are; how rare a word is, is counted over them.
        query: words of titles, categories and facets, or a name; None: all methods.
        facets: what the methods must be.

    Raises:
        InputError: the query has no word, or is like nothing in the catalog.
    """
    if query is None:
        newest = sorted(methods, key=lambda m: (m.year or 0, m.arxiv), reverse=True)
        return Found(tuple(method for method in newest if facets.fits(method)))
    wanted = {*split(query), letters(query)} - {""}  # in one word: "make a video" is a name
    if not wanted:
        raise InputError(f"the query {query!r} has no word; give one, or none to list everything")
    ranking = BM25([terms(method) for method in methods])
    known, read_as = wanted & ranking.documents.keys(), ""
    if not known:
        read_as = nearest_name(query, methods)
        known = {letters(read_as)}
    scores = ranking.scores(sorted(known))
    best = sorted(range(len(methods)), key=lambda i: (-scores[i], -(methods[i].year or 0)))
    chosen = tuple(methods[i] for i in best if scores[i] > 0 and facets.fits(methods[i]))
    ignored = () if read_as else tuple(word for word in split(query) if word not in known)
    return Found(chosen, read_as, ignored)


class BM25:
    """Scores of documents for a query (the cited paper, section 3.4).

    Args:
        corpus: the terms of each document.
    """

    def __init__(self, corpus: Iterable[Sequence[str]]) -> None:
        self.counts = [Counter(document) for document in corpus]
        self.documents = Counter(term for counts in self.counts for term in counts)
        sizes = [counts.total() for counts in self.counts]
        mean = sum(sizes) / len(sizes)
        self.damping = [SATURATION * (1 - LENGTH + LENGTH * size / mean) for size in sizes]

    def scores(self, query: Iterable[str]) -> list[float]:
        """The score of each document; 0 if it has no term of the query."""
        weights = {term: self.rarity(term) for term in query}
        return [
            sum(
                weight * counts[term] / (counts[term] + damping) for term, weight in weights.items()
            )
            for counts, damping in zip(self.counts, self.damping)
        ]

    def rarity(self, term: str) -> float:
        """How much a term tells; above 0, however common it is."""
        present = self.documents[term]
        return math.log(1 + (len(self.counts) - present + 0.5) / (present + 0.5))


def terms(method: Method) -> list[str]:
    """What a method is found by: its title, twice, its name in one word, categories and facets."""
    facets = (*method.tasks, *method.conditioning, *method.venues, str(method.year or ""))
    words = split(" ".join((method.title, method.title, *method.categories, *facets)))
    names = {letters(text) for text in (method.name, method.system)} - {""}
    return words + sorted(names)


def split(text: str) -> list[str]:
    """The words of a text in lower case, without accents and without the s of a plural."""
    found = re.findall(r"[a-z0-9]+", plain(text))
    return [re.sub(r"(?<=[a-z]{3})(?<!s)s$", "", word) for word in found]


def nearest_name(query: str, methods: Sequence[Method]) -> str:
    """The name of a method that is nearest to a query, by the rule of `kinema.errors.unknown`.

    Raises:
        InputError: none is near.
    """
    names = {letters(method.name): method.name for method in methods}
    near = difflib.get_close_matches(letters(query), sorted(names), n=1, cutoff=SIMILAR)
    if not near:
        raise InputError(f"nothing in the catalog is like {query!r}; try other words")
    return names[near[0]]
