"""The methods of the catalog, read from the packaged list and joined to the systems of Kinema.

The list has one row for each (title, category). Rows with the same arXiv id, the same title, or the
same name and repository are one `Method`, which keeps all its rows. What a category tells of its
methods stands in `CATEGORIES`; what it does not tell is `UNKNOWN`.

Source: "A Survey on Video Diffusion Models" (arXiv 2310.10647) and "Video Diffusion Models: A
Survey" (arXiv 2405.03150); facts from the lists of papers that go with them.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from kinema import registry
from kinema.card import Card

DATA = Path(__file__).parent / "data" / "methods.tsv"
COLUMNS = ("title", "arxiv", "github", "category", "date", "list")
SURVEYS = ("04", "28", "04+28")
UNKNOWN = "unknown"

ARXIV = re.compile(r"[0-9]{2}(0[1-9]|1[0-2])\.[0-9]{4,5}")
GITHUB = re.compile(r"[A-Za-z0-9-]+/[\w.-]+")
MONTH = "Jan|Feb|Mar|March|Apr|May|Jun|Jul|July|Aug|Sep|Oct|Nov|Dec"
SUBMITTED = re.compile(rf"(?:(?:{MONTH})\.?,? |Arxiv, )?(?P<year>[0-9]{{4}})")
PUBLISHED = re.compile(r"(?P<venue>[A-Za-z]+)(?:, ?| )(?P<year>[0-9]{4})")
LONGEST_NAME = 4  # words before a colon


class Category(NamedTuple):
    """What the place of a row in a survey's list tells of a method.

    Args:
        area: one of the survey's three, or what serves them.
        task: what the method is for.
        conditioning: what steers it, beyond the noise.
    """

    area: str
    task: str
    conditioning: tuple[str, ...]


_OTHER = "Video Generation > Video Generation with other conditions"
CATEGORIES: Mapping[str, Category] = {
    "Video Generation > Text-to-Video Generation > Training-based": Category(
        "generation", "text-to-video", ("text",)
    ),
    "Video Generation > Text-to-Video Generation > Training-free": Category(
        "generation", "text-to-video", ("text",)
    ),
    f"{_OTHER} > Pose-guided Video Generation": Category("generation", "controlled", ("pose",)),
    f"{_OTHER} > Motion-guided Video Generation": Category("generation", "controlled", ("motion",)),
    f"{_OTHER} > Sound-guided Video Generation": Category("generation", "controlled", ("sound",)),
    f"{_OTHER} > Image-guided Video Generation": Category("generation", "controlled", ("image",)),
    f"{_OTHER} > Brain-guided Video Generation": Category("generation", "controlled", ("brain",)),
    f"{_OTHER} > Depth-guided Video Generation": Category("generation", "controlled", ("depth",)),
    f"{_OTHER} > Multi-modal guided Video Generation": Category(
        "generation", "controlled", ("multi-modal",)
    ),
    "Video Generation > Unconditional Video Generation > U-Net based": Category(
        "generation", "unconditional", ("none",)
    ),
    "Video Generation > Unconditional Video Generation > Transformer based": Category(
        "generation", "unconditional", ("none",)
    ),
    "Video Generation > Video Completion > Video Enhancement and Restoration": Category(
        "generation", "restoration", ("video",)
    ),
    "Video Generation > Video Completion > Video Prediction": Category(
        "generation", "prediction", ("video",)
    ),
    "Video Editing > General Editing Model": Category("editing", "editing", ("video",)),
    "Video Editing > Training-free Editing Model": Category("editing", "editing", ("video",)),
    "Video Editing > One-shot Editing Model": Category("editing", "editing", ("video",)),
    "Video Editing > Instruct-guided Video Editing": Category(
        "editing", "editing", ("video", "text")
    ),
    "Video Editing > Motion-guided Video Editing": Category(
        "editing", "editing", ("video", "motion")
    ),
    "Video Editing > Sound-guided Video Editing": Category(
        "editing", "editing", ("video", "sound")
    ),
    "Video Editing > Multi-modal Control Editing Model": Category(
        "editing", "editing", ("video", "multi-modal")
    ),
    "Video Editing > Domain-specific Editing Model": Category("editing", "editing", ("video",)),
    "Video Editing > Non-diffusion Editing model": Category("editing", "editing", ("video",)),
    "Video Understanding": Category("understanding", "understanding", ()),
    "Video Generation > Data > Caption-level": Category("resources", "data", ()),
    "Video Generation > Data > Category-level": Category("resources", "data", ()),
    "Video Generation > Data > Metric and BenchMark": Category("resources", "metric", ()),
    "Toolboxes and foundation models": Category("resources", "toolbox", ()),
    "(survey 28 list, unclassified)": Category(UNKNOWN, UNKNOWN, ()),
}
AREAS = tuple(dict.fromkeys(category.area for category in CATEGORIES.values()))
TASKS = tuple(dict.fromkeys(category.task for category in CATEGORIES.values()))
CONDITIONINGS = (
    *dict.fromkeys(name for category in CATEGORIES.values() for name in category.conditioning),
    UNKNOWN,
)


@dataclass(frozen=True)
class Row:
    """One line of the list, as it stands there.

    Args:
        title: of the paper, or the name of a toolbox.
        arxiv: id, or "".
        github: ``owner/name`` of the code, or "".
        category: a key of `CATEGORIES`.
        date: a month, a venue or a year; "" for toolboxes.
        survey: which survey lists it, by the number of its dossier; one of `SURVEYS`.
    """

    title: str
    arxiv: str
    github: str
    category: str
    date: str
    survey: str

    def __post_init__(self) -> None:
        assert self.title == self.title.strip() != "", f"no title: {self}"
        assert not self.arxiv or ARXIV.fullmatch(self.arxiv), f"no arXiv id: {self}"
        assert not self.github or GITHUB.fullmatch(self.github), f"no repository: {self}"
        assert self.category in CATEGORIES, f"no such category: {self}"
        assert not self.date or self._dated, f"no date: {self}"
        assert self.survey in SURVEYS, f"no such list: {self}"

    @property
    def name(self) -> str:
        """The title up to its colon, if that is at most four words; else the title."""
        head, colon, _ = self.title.partition(":")
        return head.strip() if colon and len(head.split()) <= LONGEST_NAME else self.title

    @property
    def venue(self) -> str:
        """Where the paper was published: ``CVPR``; "" if the date does not tell."""
        dated = self._dated
        return dated.groupdict().get("venue", "") if dated else ""

    @property
    def year(self) -> int | None:
        """The year in the date."""
        dated = self._dated
        return int(dated["year"]) if dated else None

    @property
    def _dated(self) -> re.Match[str] | None:
        # In this order: "Arxiv, 2026" and "May 2023" have the form of a venue too.
        return SUBMITTED.fullmatch(self.date) or PUBLISHED.fullmatch(self.date)


@dataclass(frozen=True)
class Method:
    """One method, data set, metric or toolbox, with every row that lists it.

    Args:
        rows: at least one, in the order of the list.
        system: the system of Kinema that it is; "" if it is none.
    """

    rows: tuple[Row, ...]
    system: str = ""

    @property
    def title(self) -> str:
        """Of its paper; its name if the list has no paper."""
        return self._first.title

    @property
    def name(self) -> str:
        """What it is called for short."""
        return self._first.name

    @property
    def arxiv(self) -> str:
        """Its arXiv id; "" if the list has none."""
        return next((row.arxiv for row in self.rows if row.arxiv), "")

    @property
    def github(self) -> str:
        """``owner/name`` of its code; "" if the list has none."""
        return next((row.github for row in self.rows if row.github), "")

    @property
    def year(self) -> int | None:
        """When it came out; None if the list does not tell.

        The year of the venue or month that is listed. Where rows differ, the arXiv id decides, and
        so it does where a month is listed that is not the year of the arXiv id: that is an error of
        the list.
        """
        submitted = submission_year(self.arxiv) if self.arxiv else None
        listed = {
            row.year
            for row in self.rows
            if row.year and (row.venue or submitted in (None, row.year))
        }
        return listed.pop() if len(listed) == 1 else submitted

    @property
    def venues(self) -> tuple[str, ...]:
        """Where it was published, as listed: ``CVPR``."""
        return tuple(dict.fromkeys(row.venue for row in self.rows if row.venue))

    @property
    def categories(self) -> tuple[str, ...]:
        """Its places in the survey's list."""
        return tuple(dict.fromkeys(row.category for row in self.rows))

    @property
    def areas(self) -> tuple[str, ...]:
        """The areas of its categories; `UNKNOWN` only if it has no other."""
        areas = dict.fromkeys(CATEGORIES[name].area for name in self.categories)
        return tuple(area for area in areas if area != UNKNOWN) or (UNKNOWN,)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of its categories; `UNKNOWN` only if it has no other."""
        tasks = dict.fromkeys(CATEGORIES[name].task for name in self.categories)
        return tuple(task for task in tasks if task != UNKNOWN) or (UNKNOWN,)

    @property
    def conditioning(self) -> tuple[str, ...]:
        """What its categories say that it is steered by; `UNKNOWN` if none does."""
        told = (name for place in self.categories for name in CATEGORIES[place].conditioning)
        return tuple(dict.fromkeys(told)) or (UNKNOWN,)

    @property
    def _first(self) -> Row:
        return next((row for row in self.rows if row.arxiv), self.rows[0])

    @property
    def links(self) -> tuple[str, ...]:
        """Addresses of its paper and its code, as far as they are known."""
        paper = f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else ""
        code = f"https://github.com/{self.github}" if self.github else ""
        return tuple(link for link in (paper, code) if link)


@functools.cache
def catalog() -> tuple[Method, ...]:
    """Every method, in the order of the list, with the systems that Kinema has of them."""
    return linked(merged(rows(DATA.read_text(encoding="utf-8"))), registry.cards().values())


def rows(text: str) -> tuple[Row, ...]:
    """The rows of a list: tab separated below a header; lines that begin with # are comments."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert tuple(lines[0].split("\t")) == COLUMNS, f"the columns must be {COLUMNS}"
    for line in lines[1:]:
        assert line.count("\t") == len(COLUMNS) - 1, f"{len(COLUMNS)} fields expected: {line!r}"
    found = tuple(Row(*line.split("\t")) for line in lines[1:])
    ((title, category), times), *_ = Counter((r.title, r.category) for r in found).most_common(1)
    assert times == 1, f"listed twice: {title} in {category}"
    return found


def merged(listed: Iterable[Row]) -> tuple[Method, ...]:
    """Rows as methods: those with the same paper, title, or name and code belong together.

    The name alone is not enough: two methods are called ControlVideo.
    """
    groups: list[list[Row]] = []
    known: dict[str, list[Row]] = {}
    for row in listed:
        code = f"{letters(row.name)} in {row.github.lower()}" if row.github else ""
        keys = [key for key in (row.arxiv, letters(row.title), code) if key]
        group = next((known[key] for key in keys if key in known), None)
        if group is None:
            groups.append(group := [])
        group.append(row)
        known |= dict.fromkeys(keys, group)
    return tuple(Method(tuple(group)) for group in groups)


def linked(methods: Iterable[Method], cards: Iterable[Card]) -> tuple[Method, ...]:
    """The methods with the names of the systems whose arXiv id or title is theirs."""
    papers: dict[str, str] = {}
    for card in cards:
        papers |= {key: card.name for key in (card.arxiv, letters(card.title)) if key}
    found = []
    for method in methods:
        keys = [method.arxiv, *(letters(row.title) for row in method.rows)]
        found.append(Method(method.rows, next((papers[key] for key in keys if key in papers), "")))
    return tuple(found)


def submission_year(arxiv: str) -> int:
    """The year in an arXiv id of the form that holds since 2007."""
    return 2000 + int(arxiv[:2])


def letters(text: str) -> str:
    """A text by its letters and digits alone, in lower case: titles differ in the rest."""
    return re.sub(r"[^a-z0-9]", "", plain(text))


def plain(text: str) -> str:
    """A text in lower case without accents."""
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def by_category(methods: Sequence[Method]) -> dict[str, int]:
    """How many methods each category has; one may have several categories."""
    return _counts(CATEGORIES, (method.categories for method in methods))


def by_task(methods: Sequence[Method]) -> dict[str, int]:
    """How many methods each task has; one may have several tasks."""
    return _counts(TASKS, (method.tasks for method in methods))


def by_conditioning(methods: Sequence[Method]) -> dict[str, int]:
    """How many methods are steered by what; one may be steered by several."""
    return _counts(CONDITIONINGS, (method.conditioning for method in methods))


def _counts(order: Iterable[str], values: Iterable[Iterable[str]]) -> dict[str, int]:
    counts = Counter(value for each in values for value in each)
    return {value: counts[value] for value in order if counts[value]}


def by_year(methods: Sequence[Method]) -> dict[int | None, int]:
    """How many methods each year has, the first year first and None, without a year, last."""
    counts = Counter(method.year for method in methods)
    return {year: counts[year] for year in sorted(counts, key=lambda year: year or 9999)}


def as_dict(method: Method) -> dict[str, object]:
    """Everything known of a method, for JSON."""
    return {
        "name": method.name,
        "title": method.title,
        "year": method.year,
        "venues": list(method.venues),
        "areas": list(method.areas),
        "tasks": list(method.tasks),
        "conditioning": list(method.conditioning),
        "arxiv": method.arxiv,
        "github": method.github,
        "links": list(method.links),
        "system": method.system,
        "rows": [asdict(row) for row in method.rows],
    }
