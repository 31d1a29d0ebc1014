"""The packaged list: its rows, how they become methods, what is counted, how systems are linked."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import astuple, replace

import pytest

from kinema import registry
from kinema.catalog.methods import (
    AREAS,
    CATEGORIES,
    COLUMNS,
    CONDITIONINGS,
    DATA,
    TASKS,
    UNKNOWN,
    Method,
    Row,
    as_dict,
    by_category,
    by_conditioning,
    by_task,
    by_year,
    catalog,
    linked,
    merged,
    rows,
)

TEXT = DATA.read_text(encoding="utf-8")
HEADER = "\t".join(COLUMNS)
EDITING = "Video Editing > One-shot Editing Model"
TOOLBOX = "Toolboxes and foundation models"
ROW = Row("One: a Method", "2301.00001", "lab/one", EDITING, "Jan., 2023", "04")
CARD = replace(registry.card("ltx_video"), name="one", arxiv="2301.00001", title="The Title")


def method(arxiv: str) -> Method:
    """The method of a paper."""
    (found,) = (method for method in catalog() if method.arxiv == arxiv)
    return found


# -- rows ------------------------------------------------------------------------------------


def test_the_list_is_complete() -> None:
    found = rows(TEXT)
    assert len(found) == 410
    assert sum(bool(row.arxiv) for row in found) == 377
    assert sum(bool(row.github) for row in found) == 183
    lists = [row.survey for row in found]
    assert [lists.count(name) for name in ("04", "04+28", "28")] == [308, 66, 36]


def test_rows_are_written_as_they_were_read() -> None:
    lines = ["\t".join(astuple(row)) for row in rows(TEXT)]
    assert [HEADER, *lines] == [line for line in TEXT.splitlines() if line[0] != "#"]


def test_rows_survive_json() -> None:
    said = json.loads(json.dumps([as_dict(method) for method in catalog()]))
    back = {Row(**row) for entry in said for row in entry["rows"]}
    assert back == set(rows(TEXT))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("title", "", "no title"),
        ("title", " One", "no title"),
        ("arxiv", "2313.00001", "no arXiv id"),
        ("arxiv", "2301.0001x", "no arXiv id"),
        ("github", "https://github.com/lab/one", "no repository"),
        ("category", "Video Editing", "no such category"),
        ("date", "Jan., 23", "no date"),
        ("date", "soon", "no date"),
        ("survey", "05", "no such list"),
    ],
)
def test_a_damaged_row_is_caught(field: str, value: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        replace(ROW, **{field: value})


def test_a_damaged_list_is_caught() -> None:
    line = "\t".join(astuple(ROW))
    assert rows(f"# a comment\n{HEADER}\n{line}\n") == (ROW,)
    with pytest.raises(AssertionError, match="columns"):
        rows(f"{line}\n")
    with pytest.raises(AssertionError, match="6 fields"):
        rows(f"{HEADER}\n{line}\t\n")
    with pytest.raises(AssertionError, match="listed twice: One"):
        rows(f"{HEADER}\n{line}\n{line}\n")


@pytest.mark.parametrize(
    ("date", "venue", "year"),
    [
        ("Apr., 2024", "", 2024),
        ("Jan. 2024", "", 2024),
        ("July, 2023", "", 2023),
        ("Arxiv, 2026", "", 2026),
        ("2022", "", 2022),
        ("ICLR, 2024", "ICLR", 2024),
        ("CVPR,2018", "CVPR", 2018),
        ("NeurIPS 2022", "NeurIPS", 2022),
        ("", "", None),
    ],
)
def test_dates_in_mixed_forms(date: str, venue: str, year: int | None) -> None:
    row = replace(ROW, date=date)
    assert (row.venue, row.year) == (venue, year)


# -- methods ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dates", "arxiv", "year"),
    [
        (["ICLR 2023"], "2209.00001", 2023),  # a venue may be later than the paper
        (["May, 2023"], "2003.00196", 2020),  # a month that contradicts the paper may not
        (["CVPR, 2024", "Dec., 2023"], "2312.00001", 2023),  # where rows differ: the paper
        (["Nov., 2022", "Mar., 2023"], "2211.00001", 2022),
        (["Oct, 2024"], "", 2024),
        (["", ""], "", None),
        (["", ""], "2405.00001", 2024),
    ],
)
def test_the_year_of_a_method(dates: list[str], arxiv: str, year: int | None) -> None:
    assert Method(tuple(replace(ROW, date=date, arxiv=arxiv) for date in dates)).year == year


def test_rows_of_one_method_are_merged() -> None:
    other = replace(ROW, category="Video Understanding", github="")
    for same in (
        replace(other, title="One, Revised"),  # the same paper
        replace(other, title="ONE: A method", arxiv=""),  # the same title
        replace(other, title="One", arxiv="", github="Lab/One"),  # the same name and code
    ):
        (found,) = merged([same, ROW])
        assert found.rows == (same, ROW)
        assert found.tasks == ("understanding", "editing")
        assert (found.arxiv, found.github.lower()) == (ROW.arxiv, "lab/one")
        assert found.title == (same.title if same.arxiv else ROW.title)
    for another in (
        replace(other, title="One: another", arxiv="2301.00002"),  # the same name alone
        replace(other, title="Two", arxiv="2301.00002", github="lab/one"),  # the same code alone
    ):
        assert len(merged([ROW, another])) == 2


def test_a_method_is_named_by_what_stands_before_a_colon() -> None:
    assert replace(ROW, title="Frozen in Time: A Joint Encoder").name == "Frozen in Time"
    long = "Redefining Temporal Modeling in Video Diffusion: The Vectorized Timestep Approach"
    assert replace(ROW, title=long).name == long
    assert replace(ROW, title="Video Diffusion Models").name == "Video Diffusion Models"


def test_what_the_list_does_not_tell_is_unknown() -> None:
    toolbox = Method((replace(ROW, category=TOOLBOX, date="", arxiv="", github=""),))
    assert toolbox.conditioning == (UNKNOWN,)
    assert toolbox.year is None
    assert toolbox.links == ()
    unclassified = method("2207.12598")
    assert unclassified.tasks == unclassified.areas == unclassified.conditioning == (UNKNOWN,)
    both = Method((replace(ROW, category="(survey 28 list, unclassified)"), ROW))
    assert (both.tasks, both.areas, both.conditioning) == (("editing",), ("editing",), ("video",))


def test_links() -> None:
    assert method("2307.04725").links == (
        "https://arxiv.org/abs/2307.04725",
        "https://github.com/guoyww/AnimateDiff",
    )
    assert method("2210.02399").links == ("https://arxiv.org/abs/2210.02399",)


def test_every_method_has_its_facets() -> None:
    for each in catalog():
        assert each.name
        assert set(each.areas) <= set(AREAS)
        assert set(each.tasks) <= set(TASKS)
        assert set(each.conditioning) <= set(CONDITIONINGS)
        assert each.year is None or 2012 <= each.year <= 2026
        assert each.year or each.tasks == ("toolbox",)
        assert len({row.arxiv for row in each.rows} - {""}) <= 1


# -- counts ----------------------------------------------------------------------------------


def test_methods_of_each_category() -> None:
    # The counts of the list itself; in the order of CATEGORIES.
    counts = [68, 19, 16, 12, 6, 20, 2, 3, 20, 5, 5, 8, 11, 16, 29, 15, 8, 5, 2, 9, 10, 3, 30]
    counts += [10, 3, 13, 26, 36]
    assert by_category(catalog()) == dict(zip(CATEGORIES, counts, strict=True))
    assert sum(counts) == 410


def test_methods_of_each_year_task_and_conditioning() -> None:
    assert len(catalog()) == 388
    years = {2012: 1, 2016: 1, 2018: 1, 2020: 1, 2021: 2, 2022: 27, 2023: 231, 2024: 91}
    assert by_year(catalog()) == years | {2025: 7, 2026: 6, None: 20}
    generation = {"text-to-video": 87, "controlled": 77, "unconditional": 10, "restoration": 8}
    resources = {"data": 13, "metric": 13, "toolbox": 26}
    others = {"prediction": 11, "editing": 93, "understanding": 30, UNKNOWN: 35}
    assert by_task(catalog()) == generation | resources | others
    guides = {"text": 95, "pose": 16, "motion": 17, "sound": 8, "image": 20, "brain": 2, "depth": 3}
    rest = {"multi-modal": 29, "none": 10, "video": 112, UNKNOWN: 105}
    assert by_conditioning(catalog()) == guides | rest


# -- systems ---------------------------------------------------------------------------------


def test_a_system_is_linked_by_paper_or_title() -> None:
    for card in (CARD, replace(CARD, arxiv="", title="ONE - A Method")):
        assert [each.system for each in linked(merged([ROW]), [card])] == ["one"]
    for card in (replace(CARD, arxiv="2301.00002"), replace(CARD, arxiv="", title="One")):
        assert [each.system for each in linked(merged([ROW]), [card])] == [""]


def test_every_system_of_the_list_is_linked() -> None:
    papers = {card.arxiv: name for name, card in registry.cards().items() if card.arxiv}
    for each in catalog():
        assert each.system == papers.get(each.arxiv, each.system)
        assert not each.system or each.system in registry.cards()


def test_the_catalog_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\nfrom kinema.catalog import Facets, catalog, search\n"
        "search(catalog(), 'pose', Facets())\n"
        "print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout == "set()\n", answer.stderr
