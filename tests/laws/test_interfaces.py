"""Law: what a stage, a recipe or a card may leave out is used by two systems or more.

A field that one system alone sets is a matter of that system: it belongs into its files. Fields
without a default are set by all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

import pytest

from kinema import registry
from kinema.card import Card
from kinema.systems.model import Model
from kinema.training.finetuning import Finetuning
from kinema.training.recipe import Recipe
from kinema.training.stage import Stage

KINDS = (Stage, Recipe, Finetuning, Card)
# What stays although fewer set it, and why.
KEPT = {
    "Finetuning.lora": "the command line sets it: --lora RANK",
    "Card.tags": "weights of our own ship with one system so far",
}


def instances() -> Iterator[tuple[str, Any]]:
    """(system, card or stage or recipe) of every system; recipes as they are meant to be run."""
    for name, card in registry.cards().items():
        yield name, card
        system = registry.system_class(name)
        for stage in getattr(system, "STAGES", {}).values():
            yield name, stage
            yield from ((name, recipe) for p, recipe in stage.recipes.items() if p != "nano")


def default_of(field: Field[Any]) -> Any:
    """What a field is if nobody sets it; MISSING if somebody must."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def users() -> dict[str, set[str]]:
    """{``Kind.field`` with a default: systems that set it to something else}."""
    found = defaultdict[str, set[str]](set)
    for kind in KINDS:
        assert is_dataclass(kind)
        for field in fields(kind):
            default = default_of(field)
            if default is MISSING:
                continue
            who = found[f"{kind.__name__}.{field.name}"]
            for name, instance in instances():
                if isinstance(instance, kind) and getattr(instance, field.name) != default:
                    who.add(name)
    return found


@pytest.fixture(scope="module")
def used() -> dict[str, set[str]]:
    return users()


def test_two_systems_set_what_may_be_left_out(used: dict[str, set[str]]) -> None:
    alone = {name: sorted(who) for name, who in used.items() if len(who) < 2 and name not in KEPT}
    assert not alone, f"of one system or none: {alone}"


def test_what_is_kept_has_to_be(used: dict[str, set[str]]) -> None:
    assert [name for name in KEPT if len(used[name]) > 1] == []


@pytest.mark.parametrize("attribute", ["STILLS", "LORA"])
def test_two_systems_have_what_a_model_may(attribute: str) -> None:
    empty = getattr(Model, attribute)
    models = (registry.system_class(name) for name in registry.cards())
    assert sum(getattr(model, attribute, empty) != empty for model in models) > 1
