"""`kinema export`: a model as a file that runs without this library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.terminal import Json, Overwrite, Threads, invocation
from kinema.errors import InputError


def export(
    context: typer.Context,
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="name:tag or name@file")],
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="FILE.pt2 of torch.export, or FILE.onnx")
    ],
    threads: Threads = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a recognizer as a program of torch.export or as ONNX.

    It takes clips (batch, 3, frames, height, width) in [-1, 1] and gives logits; any batch size.
    Before the file gets its name it is read again and its outputs are compared.
    """
    from kinema import registry
    from kinema.files import check_writable

    check_writable(output, overwrite=overwrite)
    name = system.partition("@")[0].partition(":")[0]
    if not hasattr(registry.system_class(name), "exportable"):
        raise InputError(f"{name} cannot be exported; recognizers can")

    from kinema.cli.machine import load_model
    from kinema.weights.export import export as write

    model = load_model(system, device="cpu", dtype="float32", threads=threads)
    of = model.exportable()
    error = write(of, output, overwrite=overwrite)
    invocation(context).saved = f"{output} is written"
    shapes = {name: ["batch", *x.shape[1:]] for name, x in of.inputs.items()}
    if as_json:
        answer = {"file": str(output), "inputs": shapes, "output": of.output, "error": error}
        print(json.dumps(answer))
        return
    takes = ", ".join(f"{name} ({', '.join(map(str, shape))})" for name, shape in shapes.items())
    print(f"{output}: {takes} -> {of.output}; largest relative error {error:.1e}")
