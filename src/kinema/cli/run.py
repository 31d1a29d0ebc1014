"""`kinema run`: the main job of any system."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kinema.cli.terminal import (
    Device,
    Json,
    Overwrite,
    Seed,
    Settings,
    Threads,
    invocation,
)
from kinema.errors import InputError


def run(
    context: typer.Context,
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="name:tag or name@file")],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="in the order that the system names, or name=value"
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="where the result goes")],
    settings: Settings = None,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option("--dtype", help="float32 or bfloat16")] = "float32",
    threads: Threads = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Do the main job of any system.

    The result is written as --output, with a contact sheet (.png) if it is a clip and a record of
    what it was made from (.json) beside it.
    """
    from kinema.cli.outputs import check_clip_file, save_clip_with_sheet

    check_clip_file(output, overwrite=overwrite)

    from kinema.cli.machine import file_of, full_name, load_model, sha256, versions
    from kinema.config import to_dict

    name = full_name(system)
    model = load_model(name, device=device, dtype=dtype, threads=threads)
    configure(model, settings or [])
    given = named(inputs, model.example())
    (result,) = model.run(given, seed).values()
    record = {
        "command": invocation(context).command,
        "model": name,
        "model_sha256": sha256(file_of(name)),
        "inputs": {key: text.text for key, text in given.items()},
        "seed": seed,
        "config": to_dict(model.config),
        **versions(),
    }
    save_clip_with_sheet(output, result, record, " ".join(inputs), overwrite=overwrite)
    invocation(context).saved = f"{output} is written"
    print(json.dumps({"output": str(output), **record}) if as_json else output)


def configure(model: Any, settings: Sequence[str]) -> None:
    """Changes the configuration of a loaded model, save that of its networks.

    Raises:
        InputError: a setting does not exist or does not fit, or belongs to a network.
    """
    from kinema.config import override

    config = override(model.config, settings)
    for role in model.PARTS:
        if getattr(config, role) != getattr(model.config, role):
            raise InputError(f"--set cannot change {role}: its weights are trained for what it is")
    model.config = config


def named(inputs: Sequence[str], example: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a system by name: first those in its order, then ``name=value``.

    Raises:
        InputError: there are too many or too few, one is given twice, or one is empty.
    """
    from kinema.sample import Text

    order, found = list(example), dict[str, Any]()
    for given in inputs:
        key, equals, value = given.partition("=")
        if not (equals and key in example):
            if len(found) == len(order):
                raise InputError(f"this system takes {', '.join(order)}; {given!r} is one too many")
            key, value = order[len(found)], given
        if key in found:
            raise InputError(f"{key} is given twice")
        found[key] = Text(value)
    missing = [key for key in order if key not in found]
    if missing:
        raise InputError(f"this system needs {', '.join(missing)} too")
    return found
