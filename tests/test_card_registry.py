"""Cards as literals, and the registry that finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinema import registry
from kinema.card import Card, Weights, read_card
from kinema.errors import InputError, unknown

CARD = """
CARD = Card(
    name={name!r}, number={number}, title="One", arxiv="2501.00001", year=2025, kind="generator",
    job="", code="", code_license="", weights_license="", claim="",
    applies=("full", "run"), verified=(), {more}
)
"""


def write(folder: Path, name: str, number: int = 1, more: str = "") -> Path:
    """A system's file with a card."""
    path = folder / f"{name}.py"
    path.write_text(CARD.format(name=name, number=number, more=more))
    return path


def test_a_card_is_read_with_its_weights(tmp_path: Path) -> None:
    tags = 'tags={"small": Weights(file="a", license="b", trained_on="c", sha256="d")}'
    card = read_card(write(tmp_path, "one", 7, tags + ', dead={"bias": "never used"}'))
    assert card is not None
    assert card.number == 7
    assert card.applies == ("full", "run")
    assert card.tags == {"small": Weights(file="a", license="b", trained_on="c", sha256="d")}
    assert card.dead == {"bias": "never used"}
    assert card.inferred == ()


def test_a_file_without_a_card_has_none(tmp_path: Path) -> None:
    path = tmp_path / "part.py"
    path.write_text("NAME = 'part'\nOTHER = Card(name='x')\n")
    assert read_card(path) is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("inferred=tuple('ab')", "is not a literal: line .* calls tuple"),
        ("inferred=NAMES", "is not a literal"),
        ("**MORE", "is not a literal: line .* unpacks a mapping"),
        ("dead={**MORE}", "is not a literal"),
        ("tags={'a': Weights('x')}", "is not a literal: line .* calls Weights"),
        ("tags={'a': Weights(file='x')}", "has other fields: .*license"),
        ("colour='red'", "has other fields: .*colour"),
    ],
)
def test_what_is_no_card_is_named_with_its_file(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"^the card in .*one\.py {said}"):
        read_card(write(tmp_path, "one", more=more))


def test_kinds_and_checks_are_closed_sets() -> None:
    facts = dict.fromkeys(
        ("name", "title", "arxiv", "job", "code", "code_license", "weights_license", "claim"), "x"
    )
    numbers = {"number": 1, "year": 2025, "verified": ()}
    assert Card(**facts, **numbers, kind="metric", applies=("run",)).kind == "metric"
    with pytest.raises(AssertionError, match="no kind 'painter'"):
        Card(**facts, **numbers, kind="painter", applies=())
    with pytest.raises(AssertionError, match="no such check"):
        Card(**facts, **numbers, kind="metric", applies=("speed",))


@pytest.fixture
def systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty room of systems in the place of the real one."""
    monkeypatch.setattr(registry, "SYSTEMS", tmp_path)
    return tmp_path


def test_systems_are_ordered_by_number(systems: Path) -> None:
    for name, number in (("alpha", 30), ("beta", 4), ("gamma", 12)):
        write(systems, name, number)
    write(systems, "_draft", 1)
    (systems / "model.py").write_text("class Model: ...\n")
    assert list(registry.cards.__wrapped__()) == ["beta", "gamma", "alpha"]


def test_a_card_bears_the_name_of_its_file(systems: Path) -> None:
    write(systems, "alpha").rename(systems / "beta.py")
    with pytest.raises(AssertionError, match=r"beta\.py holds the card of 'alpha'"):
        registry.cards.__wrapped__()


def test_a_system_is_found_by_name() -> None:
    assert registry.card("ltx_video").arxiv == "2501.00103"
    assert registry.card("ltx_video") == registry.system_class("ltx_video").CARD


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown system 'ltx_vidoe'; did you mean 'ltx_video'"):
        registry.card("ltx_vidoe")
    with pytest.raises(InputError, match="unknown system 'ltx'"):
        registry.system_class("ltx")
    with pytest.raises(InputError, match="unknown tag of ltx_video 'qqq'; "):
        registry.weights("ltx_video", "qqq")


def test_tags_are_found(monkeypatch: pytest.MonkeyPatch, systems: Path) -> None:
    tags = 'tags={"small": Weights(file="a", license="b", trained_on="c", sha256="d")}'
    write(systems, "one", more=tags)
    found = registry.cards.__wrapped__()
    monkeypatch.setattr(registry, "cards", lambda: found)
    assert registry.weights("one", "small").file == "a"
    with pytest.raises(InputError, match=r"unknown tag of one 'smal'; did you mean 'small'?"):
        registry.weights("one", "smal")


def test_the_nearest_name_is_offered_or_all_that_there_are() -> None:
    assert str(unknown("verb", "generat", ["train", "generate"])).endswith(
        "did you mean 'generate'?"
    )
    assert str(unknown("verb", "xyz", ["train", "show"])) == (
        "unknown verb 'xyz'; known: show, train"
    )
    many = str(unknown("verb", "xyz", [f"{i:02d}" for i in range(20)]))
    assert many.endswith("10, 11 ...")
    assert "12" not in many
    assert str(unknown("tag", "a\nb", [])) == "unknown tag 'a\\nb'; there is none"
