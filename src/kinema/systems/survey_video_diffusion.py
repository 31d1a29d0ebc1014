"""A Survey on Video Diffusion Models (arXiv 2310.10647), Xing et al. 2023, ACM Computing Surveys.

Authors' list: github.com/ChenHsing/Awesome-Video-Diffusion-Models (no license file: facts are
taken, no sentences). It has no code and no networks: the system is the catalog of `kinema.catalog`,
in the taxonomy of the survey, searched as `kinema catalog` does.

Verified: counts of rows for each category. Different: rows of the same paper, or of the same name
and repository, are one method. Inferred: what steers a method, from its category alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from kinema.card import Card
from kinema.catalog import Facets, catalog, search
from kinema.catalog.methods import UNKNOWN, Method
from kinema.sample import Table, Text
from kinema.systems.system import Job, System

CARD = Card(
    name="survey_video_diffusion",
    number=4,
    title="A Survey on Video Diffusion Models",
    arxiv="2310.10647",
    year=2023,
    kind="catalog",
    job="words become a table of the methods that have them, the best first",
    code="github.com/ChenHsing/Awesome-Video-Diffusion-Models",
    code_license="none given; facts of the list only",
    weights_license="no weights",
    claim="the taxonomy of generation, editing and understanding places every method of the field",
    applies=("run", "claim"),
    verified=(
        "rows for each of the 27 categories of the list, by count",
        "planted queries, and the way from rows to JSON and back",
    ),
    inferred=("what steers a method: from its category alone, unknown where that does not tell",),
    deviations=(
        "the list that goes with the survey is newer than its text, and so is the catalog",
        "rows of one paper, title, or name and repository are one method with several tasks",
        "35 methods come from the list of another survey (arXiv 2405.03150) and have no category",
        "markup of two titles and one repository of the list are corrected",
    ),
)

LONGEST = 20
COLUMNS = ("year", "task", "conditioning", "arxiv", "github", "system", "title")


class SurveyVideoDiffusion(System):
    """The survey's list of methods, to be searched."""

    CARD = CARD
    JOBS: ClassVar = {"search": Job(takes={"query": Text}, gives={"methods": Table})}

    def run_search(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Table]:
        """The twenty methods that fit the ``query`` best; nothing is drawn.

        Raises:
            InputError: the query is like nothing in the catalog.
        """
        found = search(catalog(), inputs["query"].text, Facets())
        return {"methods": Table(COLUMNS, tuple(row(method) for method in found.methods[:LONGEST]))}

    def example(self, job: str, folder: Path) -> dict[str, Any]:
        """A query."""
        return {"query": Text("training-free text-guided editing, cross-frame attention")}


def row(method: Method) -> tuple[str | int, ...]:
    """A method as a row of the table."""
    return (
        method.year or UNKNOWN,
        ", ".join(method.tasks),
        ", ".join(method.conditioning),
        method.arxiv,
        method.github,
        method.system,
        method.title,
    )


SYSTEM = SurveyVideoDiffusion
