"""`kinema catalog`: search, count and draw the literature of video diffusion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kinema.cli.terminal import Json, Overwrite, invocation, say

EVERYTHING = "The field of video diffusion"


def catalog(
    context: typer.Context,
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="[QUERY...]", help="words or a name; everything if absent"),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="text-to-video, editing, ...; --stats lists them")
    ] = None,
    year: Annotated[
        str | None,
        typer.Option("--year", metavar="RANGE", help="2023, 2023..2024, 2023.. or ..2022"),
    ] = None,
    conditioning: Annotated[
        str | None, typer.Option("--conditioning", help="text, image, pose, sound, ...")
    ] = None,
    code: Annotated[
        bool | None, typer.Option("--code/--no-code", help="only with, without a repository")
    ] = None,
    system: Annotated[bool, typer.Option("--system", help="only what Kinema has")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="how many are listed")] = 20,
    stats: Annotated[
        bool, typer.Option("--stats", help="count them by year, task and category instead")
    ] = False,
    drawing: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE", help="draw them by year and task as a .png"),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Search the methods that two surveys of video diffusion list.

    The best match comes first; without a query the newest.
    """
    from kinema.catalog import Facets, search
    from kinema.catalog import catalog as everything

    facets = Facets(task=task, years=year, conditioning=conditioning, code=code, system=system)
    words = " ".join(query) if query is not None else None
    found = search(everything(), words, facets)
    if found.read_as:
        say(f"no method has a word of {words!r}; nearest name: {found.read_as!r}")
    if found.ignored:
        say(f"no method has {', '.join(map(repr, found.ignored))}")
    answer: dict[str, Any] = {
        "query": words,
        "read_as": found.read_as,
        "ignored": list(found.ignored),
        "found": len(found.methods),
    }
    if drawing is not None:
        from kinema.catalog.picture import write_picture

        asked = (words, task, year, conditioning, *flags(code, system))
        heading = ", ".join(word for word in asked if word) or EVERYTHING
        write_picture(drawing, found.methods, heading, overwrite=overwrite)
        invocation(context).saved = f"{drawing} is written"
        answer["picture"] = str(drawing)
    if stats:
        answer |= counted(found.methods)
    elif as_json or drawing is None:
        answer |= listed(found.methods[:limit])
    if as_json:
        print(json.dumps(answer, indent=1))
    else:
        show(answer)


def flags(code: bool | None, system: bool) -> list[str]:
    """What the options without a value ask for, in words."""
    with_code = {True: ["with code"], False: ["without code"], None: []}[code]
    return [*with_code, *(["systems of Kinema"] if system else [])]


def listed(methods: Sequence[Any]) -> dict[str, Any]:
    """Methods as an answer."""
    from kinema.catalog.methods import as_dict

    return {"methods": [as_dict(method) for method in methods]}


def counted(methods: Sequence[Any]) -> dict[str, Any]:
    """The counts of methods as an answer; years are words, for JSON."""
    from kinema.catalog import methods as catalog

    return {
        "rows": sum(len(method.rows) for method in methods),
        "by_year": {
            str(year or catalog.UNKNOWN): n for year, n in catalog.by_year(methods).items()
        },
        "by_task": catalog.by_task(methods),
        "by_conditioning": catalog.by_conditioning(methods),
        "by_category": catalog.by_category(methods),
    }


def show(answer: dict[str, Any]) -> None:
    """Shows an answer to a person; what is not part of it goes to stderr."""
    if "rows" in answer:
        print(f"{answer['found']} methods, listed in {answer['rows']} places")
        for facet in ("by_year", "by_task", "by_conditioning", "by_category"):
            print(f"\n{facet.replace('_', ' ')}")
            for value, count in answer[facet].items():
                print(f"{count:6}  {value}")
    for method in answer.get("methods", ()):
        print("\n".join(entry(method)))
    shown = len(answer.get("methods", ()))
    if "methods" in answer and shown < answer["found"]:
        say(f"{shown} of {answer['found']}; --limit {answer['found']} lists all")
    if not answer["found"]:
        say("nothing fits; leave an option out")
    if "picture" in answer:
        print(answer["picture"])


def entry(method: dict[str, Any]) -> list[str]:
    """A method as two lines: year and title; task, conditioning, system and links."""
    facts = [", ".join(method["tasks"]), ", ".join(method["conditioning"])]
    facts += [f"kinema show {method['system']}"] if method["system"] else []
    return [
        f"{method['year'] or '----'}  {method['title']}",
        f"      {' | '.join([*facts, *method['links']])}",
    ]
