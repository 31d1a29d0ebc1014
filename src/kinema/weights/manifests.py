"""Manifests: the name and shape of every tensor of a published checkpoint, without its values.

They are tab-separated files in this folder (name, dtype, shape with commas); lines that begin with
``#`` say what was measured: class, size, total parameters, number of keys.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from torch import nn

from kinema.errors import InputError, unknown
from kinema.weights.keymap import KeyMap, Shape, compare


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """What a published checkpoint holds.

    Attributes:
        name: as in `names`: ``"05-ltx-vae-0.9.1"``.
        shapes: the authors' name of every tensor and its shape, in the file's order.
        total_parameters: number of values of all tensors.
        notes: remarks about what the file holds beside them, and where the figures come from.
    """

    name: str
    shapes: Mapping[str, Shape]
    total_parameters: int
    notes: tuple[str, ...]


def names() -> list[str]:
    """The manifests that come with the library."""
    folder = resources.files("kinema.weights") / "manifests"
    return sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".tsv"))


def read(name: str) -> Manifest:
    """Reads a manifest that comes with the library.

    Raises:
        InputError: there is none of that name, a line is malformed, or the lines do not add up to
            the totals that the file states.
    """
    if name not in names():
        raise unknown("manifest", name, names())
    file = resources.files("kinema.weights") / "manifests" / f"{name}.tsv"
    return parse(name, file.read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Manifest:
    """A manifest from the text of its file; `name` is for messages. Raises as `read` does."""
    shapes: dict[str, Shape] = {}
    facts: dict[str, str] = {}
    notes: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            fact, _, value = line.lstrip("# ").partition(": ")
            if fact == "note":
                notes.append(value)
            else:
                facts[fact] = value
        elif line:
            key, shape = _line(f"manifest {name}, line {number}", line)
            if key in shapes:
                raise InputError(f"manifest {name}, line {number}: {key} appears twice")
            shapes[key] = shape
    total = sum(map(math.prod, shapes.values()))
    for fact, counted in (("total parameters", total), ("keys", len(shapes))):
        if facts.get(fact) != str(counted):
            raise InputError(
                f"manifest {name} states {fact}: {facts.get(fact)}, its lines: {counted}"
            )
    return Manifest(name=name, shapes=shapes, total_parameters=total, notes=tuple(notes))


def _line(where: str, line: str) -> tuple[str, Shape]:
    try:
        key, _dtype, shape = line.split("\t")
        return key, tuple(int(size) for size in shape.split(",") if size)
    except ValueError:
        raise InputError(f"{where}: expected name, dtype and shape, not {line!r}") from None


def shapes_of(module: nn.Module) -> dict[str, Shape]:
    """Name and shape of every tensor in a module's state dict; works on the meta device."""
    return {key: tuple(value.shape) for key, value in module.state_dict(keep_vars=True).items()}


def check(
    found: nn.Module | Mapping[str, Sequence[int]],
    manifest: Manifest,
    keymap: KeyMap,
    *,
    beside: Mapping[str, Shape],
) -> None:
    """Checks that a network and a manifest are the same tensors, exactly, in both directions.

    Args:
        found: our network (the meta device suffices) or its names and shapes.
        manifest: what the authors' file holds.
        keymap: the map between the two.
        beside: tensors of the authors' file that the manifest does not list (its notes name them).

    Raises:
        InputError: anything is missing, unexpected or of another shape in one of the directions.
    """
    ours = (
        shapes_of(found)
        if isinstance(found, nn.Module)
        else {k: tuple(v) for k, v in found.items()}
    )
    theirs = {**manifest.shapes, **beside}
    for direction, got, want in (
        ("towards us", keymap.to_ours(theirs), ours),
        ("towards the authors", keymap.to_theirs(ours), theirs),
    ):
        if difference := compare(got, want):
            raise InputError(f"manifest {manifest.name}, {direction}: {difference}")
