"""Every command on a page: the command line takes its words, and there is what it names."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from kinema import registry
from kinema.claims.claim import chosen
from kinema.cli.machine import full_name
from kinema.cli.main import app
from kinema.cli.train import DEFAULT_PRESET, RECIPE
from kinema.config import override

ROOT = Path(__file__).parents[2]
PAGES = (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md")
# Any system, or its file; a folder of diffusers, which is there or not.
OPEN = ("NAME", "FILE", "LTX-Video-0.9.5")
MADE = "toy_video"  # by whoever follows add-a-system.md


def commands(page: Path) -> list[list[str]]:
    """The words of each command of a page, behind `kinema`; lines may go on after a backslash."""
    lines = page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line[:11] == "    kinema "]


COMMANDS = [(page.name, words) for page in PAGES for words in commands(page)]


def given(words: list[str]) -> dict[str, Any]:
    """What a verb takes from its words, by the name of its parameter."""
    verbs: Any = typer.main.get_command(app)
    verb = verbs.commands[words[0]]
    with verb.make_context(words[0], words[1:]) as context:
        return dict(context.params)


def test_pages_have_commands() -> None:
    assert len(COMMANDS) > 100
    assert len({page for page, _ in COMMANDS}) > 10


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=str)
def test_a_command_is_taken_and_names_what_there_is(page: str, words: list[str]) -> None:
    found = given(words)
    if words[0] == "claim" and found["name"] is not None:
        assert chosen(found["name"], secondary=found["secondary"])
    reference = found.get("system") or found.get("model")
    if words[0] == "show":
        reference = found["name"]
    if reference is None:
        return
    name, _, tag = full_name(reference).partition("@")[0].partition(":")
    if name in OPEN or (page, name) == ("add-a-system.md", MADE):
        return
    kind = registry.system_class(name)
    published = getattr(kind, "PUBLISHED", None)
    if tag:
        assert tag in {*kind.CARD.tags, *getattr(kind, "PRESETS", ())}
        assert tag in kind.CARD.tags or words[0] == "plan" or tag in published.versions
    stage, preset = found.get("stage"), found.get("preset")
    if stage is not None:
        numbers = found["settings"] or []
        recipe = kind.STAGES[stage].recipes[preset or tag or DEFAULT_PRESET]
        ours = [number for number in numbers if number.startswith(RECIPE)]
        override(recipe, [number.removeprefix(RECIPE) for number in ours])
        config = kind.PRESETS[preset or tag or DEFAULT_PRESET]()
        override(config, [number for number in numbers if number not in ours])
    elif preset is not None:
        assert preset in kind.PRESETS
