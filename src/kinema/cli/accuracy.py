"""`kinema score top1,top5`: how often a recognizer is right, over a list in a published layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kinema.cli.run import configure, name_classes
from kinema.cli.terminal import invocation
from kinema.errors import InputError, unknown

if TYPE_CHECKING:
    from kinema.data.annotations import Annotated
    from kinema.metrics.accuracy import Judged

NAMES = ("top1", "top5")
OTHERS = ("frames", "fps", "size", "weights")  # options of scores of folders of clips
WORST = 20  # classes that the table shows; the file has all


def is_accuracy(names: Sequence[str]) -> bool:
    """Whether the scores are those of recognizers.

    Raises:
        InputError: some are, and others are not.
    """
    own = [name for name in names if name in NAMES]
    if own and (others := [name for name in names if name not in NAMES]):
        raise InputError(
            f"{own[0]} is of a recognizer, {others[0]} of folders of clips; score them apart"
        )
    return bool(own)


def refuse_views(context: typer.Context, names: Sequence[str]) -> None:
    """Raises InputError if an option says what to look at, where the model does."""
    for option in OTHERS:
        source = context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(f"--{option} is not for {names[0]}: the model says what it looks at")


def judge(
    context: typer.Context,
    names: Sequence[str],
    places: Sequence[Path],
    *,
    system: str | None,
    root: Path | None,
    labels: Path | None,
    settings: Sequence[str],
    cache: Path,
    seed: int,
    device: str,
    threads: int | None,
    strict: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Accuracies as an answer and as lines.

    Raises:
        InputError: an option is missing or belongs to other scores, or the list, the model or the
            clips cannot be used.
    """
    refuse_views(context, names)
    if system is None:
        raise InputError(f"{names[0]} is of a recognizer: pass --system NAME@FILE")
    if len(places) != 1:
        raise InputError(f"{names[0]} takes one list of clips, not {len(places)} places")
    from kinema.cli.progress import progress
    from kinema.metrics import accuracy
    from kinema.metrics.passport import as_json

    entries = listed(places[0], root)
    judged = loaded(system, labels, settings, device=device, threads=threads)
    done = 0
    with progress(len(entries), "score", "clips") as advance:

        def one_more(clips: int) -> None:
            nonlocal done
            advance(clips)
            done += clips
            invocation(context).saved = f"{done} of {len(entries)} clips are known in {cache}"

        said = accuracy.answers(judged, entries, cache=cache, strict=strict, progress=one_more)
    found = accuracy.scores(names, judged, said, seed)
    table = accuracy.by_class(judged.labels, said)
    rows = [dict(zip(table.columns, row)) for row in table.rows]
    answer = {"scores": as_json(found), "classes": rows, "skipped": list(said.skipped)}
    from kinema.sample import Table

    columns = ("score", "value", "95 % interval", "clips", "by")
    head = Table(
        columns,
        tuple(
            (
                s.name,
                s.value,
                "{:.4g} .. {:.4g}".format(*s.interval),
                len(said.classes),
                judged.name,
            )
            for s in found
        ),
    )
    worst = Table(table.columns, table.rows[:WORST])
    rest = len(table.rows) - len(worst.rows)
    more = [f"and {rest} classes that are better; --json and --output have all"] if rest else []
    return answer, [*str(head).splitlines(), "", *str(worst).splitlines(), *more]


def listed(place: Path, root: Path | None) -> list[Annotated]:
    """The entries of a list, or of a folder with a folder of clips for each class.

    Raises:
        InputError: the list cannot be read, or its clips have no folder.
    """
    from kinema.data.annotations import read_annotations
    from kinema.data.class_folder import annotated

    if place.is_dir():
        if root is not None:
            raise InputError(f"--root is the folder of the clips of a list; {place} is a folder")
        return list(annotated(place))
    if root is None:
        raise InputError(f"--root must name the folder of the clips that {place} lists")
    return list(read_annotations(place, root))


def loaded(
    system: str,
    labels: Path | None,
    settings: Sequence[str],
    *,
    device: str,
    threads: int | None,
) -> Judged:
    """The recognizer of a name.

    Args:
        system: name:tag or name@file.
        labels: file with the names of its classes, where the model has none of its own.
        settings: changes of its configuration, as of its views.
        device, threads: as the options say.

    Raises:
        InputError: there is none, or the names or the settings do not fit it.
    """
    from kinema import registry
    from kinema.cli.machine import load_model
    from kinema.config import to_json
    from kinema.data.views import ClipFile
    from kinema.metrics.accuracy import Judged
    from kinema.metrics.passport import made_by
    from kinema.systems.recognizer import Recognizer
    from kinema.weights.digest import digest

    name = system.partition("@")[0].partition(":")[0]
    if not issubclass(registry.system_class(name), Recognizer):
        known = [n for n in registry.cards() if issubclass(registry.system_class(n), Recognizer)]
        raise unknown("recognizer", name, known)
    model = load_model(system, device=device, dtype="float32", threads=threads)
    configure(model, settings)
    name_classes(model, labels)
    views = model.config.views
    return Judged(
        name=name,
        weights=digest(model.parts),
        views=to_json(views),
        num_frames=views.num_frames,
        size=views.size,
        made_by=made_by(device),
        labels=model.labels,
        probabilities=lambda path: model.probabilities(ClipFile.given(path)),
    )
