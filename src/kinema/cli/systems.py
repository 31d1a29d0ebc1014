"""`kinema systems` and `kinema show`: what there is, from the cards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from kinema import registry
from kinema.card import CHECKS, Card
from kinema.cli.terminal import Json

DOES_NOT_APPLY = "--"
NOT_RUN = "not run"
HEADER = ("no", "name", "kind", "arXiv", *CHECKS, "weights", "title")


def systems(as_json: Json = False) -> None:
    """List the systems, their checks and weights."""
    found = verdicts()
    listed = [(card, found[card.name]) for card in registry.cards().values()]
    if as_json:
        print(json.dumps([{**asdict(card), "verdict": said} for card, said in listed], indent=2))
        return
    for line in columns([HEADER, *(row(card, said) for card, said in listed)]):
        print(line)


def verdicts() -> dict[str, str]:
    """{system: what came of its primary claim}."""
    from kinema.claims.claim import claims
    from kinema.claims.record import record_of

    found = dict.fromkeys(registry.cards(), NOT_RUN)
    for claim in claims().values():
        record = record_of(claim.name, None) if claim.primary else None
        if record is not None:
            found[claim.system] = record.outcome + (", stale" if record.stale else "")
    return found


def row(card: Card, verdict: str) -> list[str]:
    """One line of the table; a check that does not apply to the kind of system shows ``--``."""
    states = dict.fromkeys(card.applies, "applies")
    if "claim" in states:
        states["claim"] = verdict
    checks = [states.get(check, DOES_NOT_APPLY) for check in CHECKS]
    tags = ", ".join(card.tags) or DOES_NOT_APPLY
    return [f"{card.number:02d}", card.name, card.kind, card.arxiv, *checks, tags, card.title]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
    return [line.rstrip() for line in lines]


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="as `kinema systems` lists it")],
    as_json: Json = False,
) -> None:
    """Show the card, presets and stages of a system."""
    facts: dict[str, Any] = asdict(registry.card(name))
    system = registry.system_class(name)
    facts["jobs"] = {
        name: [f"{key}: {kind.__name__}" for key, kind in job.takes.items()]
        + ["->", *(f"{key}: {kind.__name__}" for key, kind in job.gives.items())]
        for name, job in system.JOBS.items()
    }
    if hasattr(system, "PARTS"):
        facts["presets"] = list(system.PRESETS)
        facts["stages"] = {stage: list(legs.trains) for stage, legs in system.STAGES.items()}
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        lines = said(value)
        for head, line in zip([key, *[""] * len(lines)], lines):
            print(f"{head.replace('_', ' '):{width}}  {line}")


def said(value: Any) -> list[str]:
    """A fact as lines of text."""
    if isinstance(value, dict):
        return [f"{k}: {', '.join(said(v))}" for k, v in value.items()] or [DOES_NOT_APPLY]
    if isinstance(value, list | tuple):
        return [str(item) for item in value] or [DOES_NOT_APPLY]
    return [str(value) or DOES_NOT_APPLY]
