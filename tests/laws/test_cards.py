"""Law: every system's card is a literal, read without torch and equal to the imported one.

A file of the room holds a card, or is part of one that does and named after it, as
`ltx_video_config.py` is, or is the base that systems share.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from kinema import registry
from kinema.card import Card, read_card
from kinema.errors import InputError

BASES = (
    "system.py",
    "model.py",
    "text_to_video.py",
    "recognizer.py",
    "retriever.py",
    "image_to_video.py",
    "keyframes.py",
    "published.py",
)


def systems(folder: Path) -> list[Path]:
    """The files in `folder` that have to hold a card: all but the base and parts of others."""
    files = sorted(folder.glob("[!_]*.py"))
    whole = [p for p in files if not any(p.stem.startswith(f"{o.stem}_") for o in files)]
    return [path for path in whole if path.name not in BASES]


SYSTEMS = systems(registry.SYSTEMS)
CARD = """
from kinema.card import Card

CARD = Card(
    name="one", number=1, title="One", arxiv="2501.00001", year=2025, kind="generator",
    job="", code="", code_license="", weights_license="", claim="",
    applies=("full",), verified={verified},
)
"""


def literal(path: Path) -> Card:
    """The card in the file at `path`, read from its source."""
    card = read_card(path)
    assert card is not None, f"{path.name} has no CARD = Card(...)"
    assert card.name == path.stem, f"{path.name} holds the card of {card.name!r}"
    return card


def test_there_are_systems() -> None:
    assert SYSTEMS
    assert [path.stem for path in SYSTEMS] == sorted(registry.cards())


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda path: path.stem)
def test_the_card_is_a_literal_equal_to_the_imported_one(path: Path) -> None:
    card = literal(path)
    assert card == importlib.import_module(f"kinema.systems.{path.stem}").CARD
    assert registry.card(card.name) == card


def test_numbers_and_papers_are_not_shared() -> None:
    cards = registry.cards().values()
    assert len({card.number for card in cards}) == len(cards)
    papers = [card.arxiv for card in cards if card.arxiv]
    assert len(set(papers)) == len(papers)


def test_cards_are_read_without_torch() -> None:
    code = (
        "import sys\nfrom kinema.registry import cards\nfound = cards()\n"
        "heavy = {'torch', 'kinema.systems'} & set(sys.modules)\n"
        "assert not heavy, f'reading cards imports {heavy}'\n"
        "print(*sorted(found))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == [path.stem for path in SYSTEMS]


def test_parts_of_a_system_need_no_card_but_strangers_do(tmp_path: Path) -> None:
    for name in ("__init__", "model", "one", "one_config", "other"):
        (tmp_path / f"{name}.py").touch()
    assert [path.stem for path in systems(tmp_path)] == ["one", "other"]


def test_a_literal_card_is_read(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text(CARD.format(verified='("counts",)'))
    assert literal(path).verified == ("counts",)


def test_a_computed_card_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "one.py"
    path.write_text(CARD.format(verified="tuple(range(3))"))
    with pytest.raises(InputError, match="not a literal"):
        literal(path)


def test_a_missing_or_misnamed_card_is_caught(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("NAME = 'empty'\n")
    with pytest.raises(AssertionError, match="has no CARD"):
        literal(tmp_path / "empty.py")
    (tmp_path / "two.py").write_text(CARD.format(verified="()"))
    with pytest.raises(AssertionError, match="holds the card of 'one'"):
        literal(tmp_path / "two.py")
