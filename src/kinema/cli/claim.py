"""`kinema claim`: what papers say, tested; and the table of verdicts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinema import registry
from kinema.cli.systems import NOT_RUN, columns
from kinema.cli.terminal import Json, Threads, invocation, show_log

if TYPE_CHECKING:
    from kinema.claims.claim import Claim
    from kinema.claims.record import Record

HEADER = ("no", "claim", "of", "rank", "verdict", "minutes", "record", "figures")


def claim(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="a claim, or a system; all if absent")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="3, or 5 where three left it open")] = 3,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="folder of the runs; runs/claims if absent"),
    ] = None,
    secondary: Annotated[
        bool, typer.Option("--secondary", help="the claims of a system beside its primary one")
    ] = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Run the claim of a paper as a small experiment, or list the verdicts.

    Without a name, the table of all claims with their recorded verdicts; with --output, those of
    the runs in that folder come before the recorded ones. With a name, every arm is run with every
    seed; what was done before in the folder of the runs is kept. Leaves record.json and figure.png
    there.
    """
    from kinema.claims.claim import chosen, claims
    from kinema.claims.record import record_of

    if name is None:
        listed = [each for each in claims().values() if not secondary or not each.primary]
        listed.sort(key=lambda each: (number(each), not each.primary))
        show([(each, record_of(each.name, output)) for each in listed], as_json=as_json)
        return
    run = invocation(context)
    wanted = chosen(name, secondary=secondary)
    from kinema.claims.claim import load
    from kinema.claims.runner import run_claim
    from kinema.cli.machine import use_threads

    use_threads(threads)
    show_log()
    done = []
    for each in wanted:
        folder = (output or Path("runs") / "claims") / each.name
        run.saved = f"{folder} keeps what was measured; the same command goes on"
        experiment = load(each.name)
        module = f"kinema.claims.{each.name}"
        done.append((each, run_claim(experiment, folder, seeds=seeds, module=module)))
    show(done, as_json=as_json)


def number(claim: Claim) -> int:
    """That of the claim's system."""
    return registry.card(claim.system).number


def show(found: Sequence[tuple[Claim, Record | None]], *, as_json: bool) -> None:
    """Shows claims with what is recorded of them."""
    if as_json:
        print(json.dumps([described(claim, record) for claim, record in found], indent=1))
        return
    for line in columns([HEADER, *(row(claim, record) for claim, record in found)]):
        print(line)


def described(claim: Claim, record: Record | None) -> dict[str, Any]:
    """A claim as JSON, with its record and the modules that have changed since, if it has one."""
    facts = {**asdict(claim), "number": number(claim), "told": claim.told}
    if record is None:
        return {**facts, "outcome": NOT_RUN, "record": None, "stale": []}
    kept = {name: value for name, value in asdict(record).items() if name != "claim"}
    return {**facts, "outcome": record.outcome, "record": kept, "stale": record.stale}


def row(claim: Claim, record: Record | None) -> list[str]:
    """One line of the table."""
    rank = "primary" if claim.primary else "secondary"
    head = [f"{number(claim):02d}", claim.name, claim.system, rank]
    if record is None:
        return [*head, NOT_RUN, f"- of {claim.budget:g}", "--", claim.told]
    state = f"stale: {len(record.stale)} modules" if record.stale else "current"
    minutes = f"{record.minutes:.1f} of {record.claim.budget:g}"
    return [*head, record.outcome, minutes, state, record.figures]
