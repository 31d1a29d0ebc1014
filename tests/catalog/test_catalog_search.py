"""Search: planted queries, BM25 against its formula, facets, misspelled names."""

from __future__ import annotations

import math

import pytest

from kinema.catalog import Facets, catalog, search
from kinema.catalog.methods import CONDITIONINGS, TASKS, Method
from kinema.catalog.search import BM25, LENGTH, SATURATION, split
from kinema.errors import InputError

FIRST = {
    "a human dance video": "2312.05107",
    "animate anyone": "2311.17117",
    "context-aware talking face": "2402.18092",
    "audio reactive sound": "2309.04509",
    "storytelling with retrieval": "2307.06940",
    "image to video adapter": "2312.16693",
    "image dynamics": "2309.07906",
    "camera movement": "2402.03162",
    "instruction editing": "2305.12328",
    "style transfer": "2305.05464",
    "inpainting any length": "2312.03816",
    "outpainting": "2403.13745",
    "frame interpolation": "2303.09508",
    "colorization": "2306.01732",
    "masked visual pre-training prediction": "2206.11894",
    "latent transformer unconditional": "2401.03048",
    "projected latent space": "2302.07685",
    "triplane wavelet": "2402.13729",
    "time-agnostic vqgan": "2204.03638",
    "noise prior correlation": "2305.10474",
    "LLM planning multi-scene": "2309.15091",
    "expert transformer": "2408.06072",
    "panorama 360 degree": "2401.06578",
    "referring object segmentation": "2403.12042",
    "procedure planning": "2303.14676",
    "saliency": "2403.01226",
    "track together": "2307.07635",
    "benchmark suite": "2311.17982",
    "better metric": "2401.07781",
    "frechet motion distance": "2407.16124",
    "world model driving": "2309.17080",
    "medical video": "2506.04956",
    "time-lapse simulators": "2404.05014",
    "panoramic autonomous driving": "2311.16813",
    "novel multi-view synthesis": "2403.12008",
    "pruning": "2312.03459",
    "human feedback": "2312.12490",
    "classifier-free guidance": "2207.12598",
    "make a video": "2209.14792",
    "stable video diffusion": "2311.15127",
    "text to video zero": "2303.13439",
    "trajectory transformer": "2407.21705",
}
AMONG_THREE = {
    "training-free text-guided editing, latent, cross-frame attention": "2303.04761",
    "one-shot tuning": "2212.11565",
    "brain activity": "2402.01590",
    "super-resolution real-world": "2312.06640",
    "moment retrieval": "2307.02869",
    "skeleton anomaly detection": "2307.07205",
    "human image animation": "2311.16498",
}
MISSPELLED = {
    "AnimatDiff": "2307.04725",
    "stableanimtor": "2411.17697",
    "cogvidoex": "2408.06072",
    "text2performr": "2304.08483",
    "phenakki": "2210.02399",
}


def answers(query: str | None, **facets: object) -> tuple[Method, ...]:
    return search(catalog(), query, Facets(**facets)).methods


@pytest.mark.parametrize("query", FIRST)
def test_a_planted_query_finds_its_answer_first(query: str) -> None:
    assert answers(query)[0].arxiv == FIRST[query]


@pytest.mark.parametrize("query", AMONG_THREE)
def test_a_planted_query_finds_its_answer_early(query: str) -> None:
    assert AMONG_THREE[query] in [method.arxiv for method in answers(query)[:3]]


@pytest.mark.parametrize("query", MISSPELLED)
def test_a_misspelled_name_is_found_and_said(query: str) -> None:
    found = search(catalog(), query, Facets())
    assert found.methods[0].arxiv == MISSPELLED[query]
    assert found.read_as == found.methods[0].name


def test_every_method_is_found_by_its_title() -> None:
    for method in catalog():
        assert method in answers(method.title)[:2], method.title


def test_words_that_no_method_has_are_told() -> None:
    found = search(catalog(), "pose zqxwv", Facets())
    assert found.ignored == ("zqxwv",)
    assert found.read_as == ""
    assert found.methods == answers("pose")


@pytest.mark.parametrize("query", ["", "  ", "?!", "qqqq"])
def test_a_query_like_nothing_is_refused(query: str) -> None:
    with pytest.raises(InputError, match=r"no word|nothing in the catalog"):
        answers(query)


def test_words_lose_case_accents_and_plural() -> None:
    assert split("Fr\u00e9chet GRAPHS, classes-of 3D") == ["frechet", "graph", "classe", "of", "3d"]
    assert split("pass this") == ["pass", "thi"]


def test_without_a_query_the_newest_come_first() -> None:
    found = answers(None)
    assert len(found) == len(catalog())
    years = [method.year or 0 for method in found]
    assert years == sorted(years, reverse=True)


# -- ranking ---------------------------------------------------------------------------------


def test_scores_are_those_of_the_formula() -> None:
    ranking = BM25([["pose", "dance", "dance"], ["pose"], ["sound", "face"]])
    rare = math.log(1 + 2.5 / 1.5)
    norm = SATURATION * (1 - LENGTH + LENGTH * 3 / 2)
    assert ranking.scores(["dance"]) == pytest.approx([rare * 2 / (2 + norm), 0, 0])
    assert ranking.scores(["dance", "nowhere"]) == ranking.scores(["dance"])


def test_rare_words_and_short_documents_count_more() -> None:
    ranking = BM25([["pose", "dance", "dance"], ["pose"], ["sound", "face"]])
    assert ranking.rarity("dance") > ranking.rarity("pose") > 0
    long, short, without = ranking.scores(["pose"])
    assert short > long > without == 0


# -- facets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_a_task_selects_its_methods(task: str) -> None:
    found = answers(None, task=task)
    assert set(found) == {method for method in catalog() if task in method.tasks}


def test_an_area_selects_all_its_tasks() -> None:
    parts = ("text-to-video", "controlled", "unconditional", "restoration", "prediction")
    expected = {method for part in parts for method in answers(None, task=part)}
    assert set(answers(None, task="generation")) == expected


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_conditioning_selects_its_methods(conditioning: str) -> None:
    found = answers(None, conditioning=conditioning)
    assert found
    assert all(conditioning in method.conditioning for method in found)


@pytest.mark.parametrize(
    ("years", "first", "last"),
    [
        ("2023", 2023, 2023),
        ("2023..2024", 2023, 2024),
        ("2025..", 2025, 2026),
        ("..2021", 2012, 2021),
    ],
)
def test_years_select_a_range(years: str, first: int, last: int) -> None:
    found = [method.year for method in answers(None, years=years)]
    assert min(y for y in found if y) == first
    assert max(y for y in found if y) == last
    assert len(found) == sum(first <= (method.year or 0) <= last for method in catalog())


def test_any_year_leaves_out_methods_without_one() -> None:
    assert None not in [method.year for method in answers(None, years="..")]


def test_code_selects_by_repository() -> None:
    having, lacking = answers(None, code=True), answers(None, code=False)
    assert all(method.github for method in having)
    assert not any(method.github for method in lacking)
    assert len(having) + len(lacking) == len(catalog())


def test_system_selects_what_kinema_has() -> None:
    linked = {method for method in catalog() if method.system}
    assert set(answers(None, system=True)) == linked


def test_facets_join_and_keep_the_order_of_the_query() -> None:
    found = answers("attention", task="editing", years="2023", code=True)
    every = [method for method in answers("attention") if method in found]
    assert list(found) == every
    assert 0 < len(found) < len(answers("attention"))
    for method in found:
        assert "editing" in method.tasks
        assert method.year == 2023
        assert method.github


@pytest.mark.parametrize(
    ("facets", "said"),
    [
        ({"task": "editng"}, "unknown task 'editng'; did you mean 'editing'"),
        ({"conditioning": "poses"}, "unknown conditioning 'poses'; did you mean 'pose'"),
        ({"years": "23"}, "'23' is no year; give 2023"),
        ({"years": "2023-2024"}, "is no year"),
        ({"years": "20232024"}, "is no year"),
        ({"years": ""}, "'' is no year"),
        ({"years": "2024..2023"}, "ends before it begins"),
    ],
)
def test_a_facet_that_is_none_is_refused(facets: dict[str, str], said: str) -> None:
    with pytest.raises(InputError) as error:
        Facets(**facets)
    assert said in str(error.value)
