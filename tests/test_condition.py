"""Conditions: what is dropped, and what is refused."""

from __future__ import annotations

import pytest
import torch

from kinema.condition import Bank, Conditions, Grid, Tokens, Vector


@pytest.fixture
def conditions() -> Conditions:
    """One entry of every kind; text and identity have a null."""
    text = Tokens(x=torch.ones(2, 3, 4), mask=torch.ones(2, 3), null=Tokens(x=torch.zeros(2, 3, 4)))
    identity = Vector(x=torch.ones(2, 4), null=Vector(x=torch.zeros(2, 4)))
    bank = Bank(sites={"up.0": Tokens(x=torch.ones(2, 1, 4))})
    grid = Grid(x=torch.ones(2, 1, 8, 8))
    return Conditions({"text": text, "identity": identity, "bank": bank, "image": grid})


def test_drop_swaps_in_the_null_of_what_is_named(conditions: Conditions) -> None:
    dropped = conditions.drop(["text"])
    assert dropped["text"] is conditions["text"].null
    assert all(dropped[name] is conditions[name] for name in ("identity", "bank", "image"))
    assert list(dropped) == list(conditions)
    both = conditions.drop(("text", "identity"))
    assert not both.of(Tokens, "text").x.any()
    assert not both.of(Vector, "identity").x.any()


def test_drop_leaves_the_original_as_it_was(conditions: Conditions) -> None:
    before = dict(conditions)
    conditions.drop(["text", "identity"])
    assert dict(conditions) == before
    assert dict(conditions.drop([])) == before


def test_an_entry_without_a_null_cannot_be_dropped(conditions: Conditions) -> None:
    with pytest.raises(AssertionError, match="'image' has no null"):
        conditions.drop(["image"])
    with pytest.raises(KeyError, match="sound"):
        conditions.drop(["sound"])


def test_conditions_are_a_mapping(conditions: Conditions) -> None:
    assert len(conditions) == 4
    assert "sound" not in conditions
    assert conditions.get("sound") is None
    entries = {"text": conditions["text"]}
    made = Conditions(entries)
    entries.clear()
    assert list(made) == ["text"]


def test_of_gives_the_kind_that_is_asked_for(conditions: Conditions) -> None:
    assert conditions.of(Bank, "bank").sites["up.0"].x.shape == (2, 1, 4)
    assert conditions.of(Grid, "image") is conditions["image"]
    with pytest.raises(AssertionError, match="'text' is Tokens, not Grid"):
        conditions.of(Grid, "text")
