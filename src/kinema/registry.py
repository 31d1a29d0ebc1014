"""The registry of systems: names and cards without importing torch, classes on demand.

A system is one file in `kinema/systems` with a ``CARD`` and a class named by ``SYSTEM``; ``name``
is the architecture, ``name:tag`` a set of weights for it.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

from kinema.card import Card, Weights, read_card
from kinema.errors import unknown

SYSTEMS = Path(__file__).parent / "systems"
SHIPPED = Path(__file__).parent / "weights" / "shipped"


@functools.cache
def cards() -> dict[str, Card]:
    """Every system's card by name, ordered by the number of its dossier."""
    found: dict[str, Card] = {}
    for path in sorted(SYSTEMS.glob("[!_]*.py")):
        card = read_card(path)
        if card is None:
            continue
        assert card.name == path.stem, f"{path.name} holds the card of {card.name!r}"
        assert card.name not in found, f"two systems are named {card.name!r}"
        found[card.name] = card
    return dict(sorted(found.items(), key=lambda item: item[1].number))


def card(name: str) -> Card:
    """The card of one system.

    Raises:
        InputError: no system has this name; the nearest is offered.
    """
    if name not in cards():
        raise unknown("system", name, cards())
    return cards()[name]


def weights(name: str, tag: str) -> Weights:
    """The card of one set of weights.

    Raises:
        InputError: the system has no such tag.
    """
    tags = card(name).tags
    if tag not in tags:
        raise unknown(f"tag of {name}", tag, tags)
    return tags[tag]


def system_class(name: str) -> Any:
    """The class of a system; imports its file (and torch, if the file does)."""
    card(name)
    return importlib.import_module(f"kinema.systems.{name}").SYSTEM
