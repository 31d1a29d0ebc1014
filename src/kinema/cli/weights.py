"""`kinema weights`: what a checkpoint holds, and the same in another layout."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinema.cli.terminal import Json, Overwrite, invocation

if TYPE_CHECKING:
    from kinema.weights.files import Checkpoint


def weights(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="name:tag, name@file, a file or a folder")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="FILE.safetensors of ours, or FOLDER of diffusers"),
    ] = None,
    text_encoder: Annotated[
        Path | None,
        typer.Option(
            "--text-encoder",
            metavar="FOLDER",
            help="tokenizer and text encoder, where MODEL has none",
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="of the written weights: float32, bfloat16 or auto")
    ] = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Tell what a checkpoint holds, and write it in another layout.

    Published files and folders are told by what is in them, not by their names. Without --output
    nothing but the header is read. A folder that is written loads in diffusers.
    """
    from kinema.cli.machine import dtype_of, full_name
    from kinema.systems import load, place
    from kinema.systems.published import opened

    name, wanted = full_name(model), dtype_of(dtype)
    folder = None if text_encoder is None else str(text_encoder)
    kind, path, preset = place(name)
    if output is not None:
        check_output(kind, output, overwrite=overwrite)
    checkpoint = opened(kind, path, preset, folder)
    described = {"model": name, **describe(kind, checkpoint)}
    if output is not None:
        stored = wanted or dtype_of(checkpoint.metadata.get("dtype", "auto"))
        loaded = load(name, dtype=stored, text_encoder=folder)
        if output.suffix == ".safetensors":
            loaded.save_pretrained(output, overwrite=overwrite)
        else:
            loaded.save_diffusers(output)
        invocation(context).saved = f"{output} is written"
        described["output"] = str(output)
    show(described, as_json=as_json)


def check_output(kind: Any, place: Path, *, overwrite: bool) -> None:
    """Raises InputError if no model of this class can be written there; before any is loaded."""
    from kinema.files import check_writable
    from kinema.systems.published import writer
    from kinema.weights.layouts import check_new_folder

    if place.suffix == ".safetensors":
        check_writable(place, overwrite=overwrite)
    else:
        writer(kind)
        check_new_folder(place)


def describe(kind: Any, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the header of a checkpoint tells.

    Args:
        kind: the class of its system.
        checkpoint: by our names.
    """
    counts = dict.fromkeys(kind.PARTS, 0)
    for name, value in checkpoint.tensors.items():
        counts[name.partition(".")[0]] += math.prod(value.shape)
    config = checkpoint.config or {}
    return {
        "system": kind.CARD.name,
        "published as": published_as(kind, config),
        "dtype": checkpoint.metadata.get("dtype", "unknown"),
        "tensors": len(checkpoint.tensors),
        "parameters": {role: count for role, count in counts.items() if count},
        "text encoder": config.get("text", {}).get("folder"),
        "config": config,
    }


def published_as(kind: Any, config: dict[str, Any]) -> list[str]:
    """The published versions with the networks of a configuration, the text encoder aside."""
    from kinema.config import to_dict

    versions = {} if kind.PUBLISHED is None else kind.PUBLISHED.versions
    roles = [role for role in kind.PARTS if role != "text"]
    return [
        name
        for name, make in versions.items()
        if all(to_dict(getattr(make(), role)) == config.get(role) for role in roles)
    ]


def show(described: dict[str, Any], *, as_json: bool) -> None:
    """Prints facts, one in a line, or all as JSON."""
    if as_json:
        print(json.dumps(described, indent=2))
        return
    width = max(map(len, described))
    for name, value in described.items():
        if isinstance(value, list):
            value = " or ".join(value)
        if name == "parameters":
            value = ", ".join(f"{role} {count:,}" for role, count in value.items())
        if value and name != "config":
            print(f"{name:{width}}  {value}")
