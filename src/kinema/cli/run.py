"""`kinema run`: a job of any system."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinema.cli.terminal import (
    Device,
    Json,
    Overwrite,
    Seed,
    Settings,
    Threads,
    invocation,
    say,
)
from kinema.errors import InputError

if TYPE_CHECKING:
    from kinema.sample import Artefact, Table
    from kinema.systems.system import Job

RECORD = "run.json"


def run(
    context: typer.Context,
    system: Annotated[
        str, typer.Argument(metavar="SYSTEM", help="name:tag, name@file; name if it has no weights")
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="[JOB] INPUT...",
            help="its main job if none is named; inputs in the order of `show`, or name=value",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="file of the result; folder if there are several; tables are printed if absent",
        ),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora", metavar="FILE[:SCALE]", help="low-rank adapters to add; may be repeated"
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="published names of a recognizer's classes")
    ] = None,
    settings: Settings = None,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or auto")] = "auto",
    threads: Threads = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Do a job of any system.

    Results appear together with a record of what they were made from (run.json), and a contact
    sheet (.png) for each clip. Without --output tables are printed, and nothing is written.
    """
    from kinema import registry
    from kinema.cli.adapters import read_adapters
    from kinema.cli.generate import report_unknown
    from kinema.cli.machine import full_name
    from kinema.files import check_writable

    name = full_name(system)
    jobs = registry.system_class(name.partition("@")[0].partition(":")[0]).JOBS
    job, said = asked(inputs, jobs)
    places = destinations(output, jobs[job])
    for path in places.values():
        check_writable(path, overwrite=overwrite)
    given, adapters = read(said, jobs[job]), read_adapters(lora or [])

    from kinema.cli.machine import file_of, load_model, sha256, versions
    from kinema.cli.progress import sampling
    from kinema.config import to_dict

    model = load_model(name, device=device, dtype=dtype, threads=threads)
    adapters.merge(model)
    configure(model, settings or [])
    name_classes(model, labels)
    ignored = model.ignored_words(given)
    if ignored:
        report_unknown("", ignored)
    if output is not None:
        invocation(context).saved = f"{output} was not written"
    with sampling(passes=1):
        results = model.run(given, seed, job)
    record = {
        "command": invocation(context).command,
        "system": name,
        "job": job,
        "inputs": said,
        "unknown_words": ignored,
        "seed": seed,
        **versions(),
    }
    if hasattr(model, "PARTS"):
        record |= {"model_sha256": sha256(file_of(name)), "config": to_dict(model.config)}
        record |= adapters.settings() | adapters.names()
    if output is None:
        print_tables(results, record, as_json)
        return
    save(places, results, record, overwrite=overwrite)
    invocation(context).saved = f"{output} is written"
    if as_json:
        print(json.dumps({"output": str(output), **record}))
        return
    for result in results.values():
        if type(result).__str__ is not object.__str__:
            say(str(result))
    print(output)


def print_tables(tables: Mapping[str, Table], record: Mapping[str, Any], as_json: bool) -> None:
    """Prints tables, or all of it as JSON."""
    if as_json:
        rows = {name: [dict(zip(t.columns, row)) for row in t.rows] for name, t in tables.items()}
        print(json.dumps({"results": rows, **record}))
    else:
        print("\n\n".join(str(table) for table in tables.values()))


def save(
    places: Mapping[str, Path],
    results: Mapping[str, Artefact],
    record: Mapping[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Writes results and their record, which appear together."""
    from kinema.cli.outputs import save_together, write_record

    label, files = " ".join(record["inputs"].values()), dict[Path, Callable[[Path], None]]()
    for name, path in places.items():
        if name == RECORD:
            files[path] = partial(write_record, record=record)
        else:
            files |= writers(path, results[name], label)
    save_together(files, overwrite=overwrite)


def asked(inputs: Sequence[str], jobs: Mapping[str, Job]) -> tuple[str, dict[str, str]]:
    """The job and its inputs by name: first those in its order, then ``name=value``.

    Raises:
        InputError: there are too many or too few, or one is given twice.
    """
    job, *rest = (inputs[0], *inputs[1:]) if inputs[0] in jobs else (next(iter(jobs)), *inputs)
    takes, found = jobs[job].takes, dict[str, str]()
    for given in rest:
        key, equals, value = given.partition("=")
        if not (equals and key in takes):
            free = [name for name in takes if name not in found]
            if not free:
                raise InputError(f"{job} takes {', '.join(takes)}; {given!r} is one too many")
            key, value = free[0], given
        if key in found:
            raise InputError(f"{key} is given twice")
        found[key] = value
    if missing := [name for name in takes if name not in found]:
        raise InputError(f"{job} needs {', '.join(missing)} too")
    return job, found


def read(said: Mapping[str, str], job: Job) -> dict[str, Any]:
    """The inputs of a job from what was said on the command line.

    Raises:
        InputError: a file is missing or damaged, or a text is empty.
    """
    kinds: Mapping[str, Any] = job.takes
    return {name: kinds[name].given(value) for name, value in said.items()}


def destinations(output: Path | None, job: Job) -> dict[str, Path]:
    """The file of each result, by name, and of the record; none without an output.

    Raises:
        InputError: the name of the file ends in another way than files of its kind, or there is no
            output for what cannot be printed.
    """
    from kinema.sample import Table

    kinds: Mapping[str, Any] = job.gives
    if output is None:
        if others := [name for name, kind in kinds.items() if not issubclass(kind, Table)]:
            place = "FOLDER" if len(kinds) > 1 else f"FILE{kinds[others[0]].SUFFIXES[0]}"
            raise InputError(f"say where to write the {', '.join(others)}: --output {place}")
        return {}
    if len(kinds) > 1:
        if output.is_file():
            raise InputError(f"--output {output} is a file; {', '.join(kinds)} need a folder")
        files = {name: output / f"{name}{kind.SUFFIXES[0]}" for name, kind in kinds.items()}
        return {**files, RECORD: output / RECORD}
    ((name, kind),) = kinds.items()
    if output.suffix.lower() not in kind.SUFFIXES:
        endings = " or ".join(kind.SUFFIXES)
        raise InputError(f"cannot write the {name} as {output}; end the name in {endings}")
    return {name: output, RECORD: output.with_suffix(f".{RECORD}")}


def writers(path: Path, result: Any, label: str) -> dict[Path, Callable[[Path], None]]:
    """What writes a result, and the contact sheet of a clip, into files."""
    from kinema.cli.outputs import SHEET, draw_sheet
    from kinema.clip import Clip

    files: dict[Path, Callable[[Path], None]] = {path: partial(result.write, overwrite=True)}
    if isinstance(result, Clip):
        files[path.with_suffix(SHEET)] = partial(draw_sheet, clip=result, label=label)
    return files


def configure(model: Any, settings: Sequence[str]) -> None:
    """Changes the configuration of a loaded model, save that of its networks.

    Raises:
        InputError: a setting does not exist or does not fit, or belongs to a network.
    """
    from kinema.config import override

    if not settings:
        return
    if not hasattr(model, "PARTS"):
        raise InputError(f"{model.CARD.name} has no configuration; leave --set out")
    config = override(model.config, settings)
    for role in model.PARTS:
        if getattr(config, role) != getattr(model.config, role):
            raise InputError(f"--set cannot change {role}: its weights are trained for what it is")
    model.config = config


def name_classes(model: Any, labels: Path | None) -> None:
    """Gives the classes of a loaded recognizer the names in a file.

    Raises:
        InputError: the model is none, or the file cannot be read or names more or fewer classes.
    """
    from kinema.data.annotations import read_labels
    from kinema.systems.recognizer import Recognizer

    if labels is None:
        return
    if not isinstance(model, Recognizer):
        raise InputError(f"{model.CARD.name} tells no classes apart; leave --labels out")
    names = read_labels(labels)
    try:
        model.name_classes(names)
    except InputError as error:
        raise InputError(f"{labels}: {error}") from error
