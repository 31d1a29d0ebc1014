"""The tables of the page: systems, claims and scores, as rows of cells."""

from __future__ import annotations

from typing import Any

from kinema import registry
from kinema.claims import claim as claims_room
from kinema.claims.record import record_of
from kinema.cli import claim as claim_verb
from kinema.cli import systems as systems_verb

SYSTEMS = list(systems_verb.HEADER)
CLAIMS = list(claim_verb.HEADER)
SCORES = ["score", "value", "from", "to", "real clips", "clips", "seen by"]


def systems() -> list[list[str]]:
    """The rows of `kinema systems`."""
    found = systems_verb.verdicts()
    return [systems_verb.row(card, found[card.name]) for card in registry.cards().values()]


def claims() -> list[list[str]]:
    """The rows of `kinema claim`, with the verdicts that the project records."""
    listed = [each for each in claims_room.claims().values() if each.primary]
    listed.sort(key=claim_verb.number)
    return [claim_verb.row(each, record_of(each.name, None)) for each in listed]


def scores(answer: dict[str, Any]) -> list[list[Any]]:
    """The rows of `kinema score`: value, ends of its 95 % interval, what it was computed from."""
    rows = []
    for score in answer["scores"]:
        passport, (low, high) = score["passport"], score["interval"]
        cells = (f"{x:.4g}" for x in (score["value"], low, high))
        counts = passport["num_real"], passport["num_generated"]
        rows.append([score["name"], *cells, *counts, passport["extractor"]])
    return rows
