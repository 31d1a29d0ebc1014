"""Recorded cases: inputs, intermediate stages and outputs of the authors' code at a small size.

A case is a folder of ``case.json`` (what was recorded: network, entry, constructor arguments, seed
of the weights, tolerance) and ``io.safetensors`` (the tensors, named ``in.*``, ``stage.*``,
``out.*`` and ``fixed.*``). Weights are made from the manifest by `kinema.weights.fill`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinema.errors import InputError, unknown
from kinema.files import parse_json
from kinema.weights.files import open_checkpoint
from kinema.weights.fill import fill_one

SCHEMA = 1
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "network": str,
    "entry": str,
    "mode": str,
    "tolerance": (int, float),
    "reference": str,
    "config": dict,
    "seed": int,
    "manifest": dict,
    "fixed": dict,
    "inputs": dict,
    "outputs": dict,
    "stages": (list, dict),
}
OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "aliases": dict,
    "fill_scale": dict,
    "notes": (str, list, dict),
    "known_bug": str,
    "tensor_names": str,
}
# Remarks that bear on nothing that is computed here.
REMARKS = ("system", "checks", "mode_note", "tolerance_note", "fill_scale_note", "constructor note")
TENSOR_NAMES = "in.<input>, out.<output>, stage.<stage>, fixed.<key> in io.safetensors"
SLICE = re.compile(r"stored: first (\d+) of \d+ along axis (\d+) of shape \[([\d, ]*)\]")


@dataclasses.dataclass(frozen=True, slots=True)
class Slice:
    """A stage of which the first `length` places of one axis are stored; `shape` is the whole."""

    axis: int
    length: int
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One recorded case.

    Attributes:
        folder: where it was read from.
        network, entry: which published network and which of its functions.
        tolerance: largest absolute error allowed, as a fraction of the largest expected magnitude.
        config: the official constructor's arguments.
        seed: of the weights.
        manifest: official name -> shape of every weight.
        fixed: official names of weights that keep the value the constructor gives them.
        aliases: official names of weights that are another one under a second name.
        fill_scale: factors on filled values, by official name.
        inputs: name -> tensor.
        described: what the case says of each output.
        expected: ``stage.*`` in order, then ``out.*`` -> tensor.
        slices: stages that are stored in part.
        values: the fixed weights whose value is stored.
    """

    folder: Path
    network: str
    entry: str
    tolerance: float
    config: Mapping[str, Any]
    seed: int
    manifest: Mapping[str, tuple[int, ...]]
    fixed: Mapping[str, Any]
    aliases: Mapping[str, str]
    fill_scale: Mapping[str, float]
    inputs: Mapping[str, Tensor]
    described: Mapping[str, str]
    expected: Mapping[str, Tensor]
    slices: Mapping[str, Slice]
    values: Mapping[str, Tensor]

    def weights(self) -> dict[str, Tensor]:
        """The official state dict, without fixed weights whose value the constructor computes."""
        filled = dict(self.values)
        for key, shape in self.manifest.items():
            if key not in self.fixed:
                filled[key] = torch.from_numpy(fill_one(key, shape, self.seed))
                if key in self.fill_scale:  # counters stay integers
                    filled[key] *= self.fill_scale[key]
        return {**filled, **{alias: filled[key] for alias, key in self.aliases.items()}}

    def check_inputs(self, *names: str, optional: Sequence[str]) -> None:
        """Checks that the inputs are those that an adapter uses, no fewer and no more.

        Raises:
            InputError: one of `names` is missing, or there is one neither there nor in `optional`.
        """
        self._check("input", self.inputs, names, optional)

    def check_config(self, *names: str, optional: Sequence[str]) -> None:
        """Checks the names in `config` in the same way, for entries that are no constructor's."""
        self._check("argument", self.config, names, optional)

    def _check(
        self, kind: str, given: Mapping[str, Any], names: Sequence[str], optional: Sequence[str]
    ) -> None:
        for name in names:
            if name not in given:
                raise InputError(f"the entry {self.entry} needs an {kind} {name!r}")
        for name in given:
            if name not in (*names, *optional):
                raise unknown(f"{kind} of the entry {self.entry}", name, (*names, *optional))

    def stages(self) -> list[str]:
        """The names of the recorded stages, in order."""
        return [name.removeprefix("stage.") for name in self.expected if name.startswith("stage.")]


def read_case(folder: str | Path) -> Case:
    """Reads the case in a folder.

    Raises:
        InputError: the folder holds no case, a field is unknown, missing or of another type, the
            schema is another one, or the tensors are not those that the fields name.
    """
    folder = Path(folder)
    if not (folder / "case.json").is_file():
        raise InputError(f"{folder} holds no case.json")
    fields = _fields(folder / "case.json")
    try:
        tensors = {
            key: value.read()
            for key, value in open_checkpoint(folder / "io.safetensors").tensors.items()
        }
        case = _case(folder, fields, tensors)
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / 'case.json'} is malformed: {error}") from error
    _check_tensors(case, fields, tensors)
    return case


def _fields(path: Path) -> dict[str, Any]:
    fields = parse_json(path.read_bytes(), str(path))
    if not isinstance(fields, dict):
        raise InputError(f"{path} must be a JSON object")
    if fields.get("schema") != SCHEMA:
        raise InputError(f"{path} has schema {fields.get('schema')!r}, expected {SCHEMA}")
    known = {**REQUIRED, **OPTIONAL}
    for name, value in fields.items():
        if name in REMARKS:
            continue
        if name not in known:
            raise unknown(f"field of {path}", name, known)
        if not isinstance(value, known[name]) or isinstance(value, bool):
            raise InputError(f"{path}: the field {name!r} cannot be {value!r:.60}")
    if missing := [name for name in REQUIRED if name not in fields]:
        raise InputError(f"{path} lacks the field {missing[0]!r}")
    if fields["mode"] != "eval":
        raise InputError(f"{path}: mode {fields['mode']!r} is unknown; expected 'eval'")
    if fields.get("tensor_names", TENSOR_NAMES) != TENSOR_NAMES:
        raise InputError(f"{path}: tensor_names must be {TENSOR_NAMES!r}")
    return fields


def _case(folder: Path, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Case:
    expected = [f"stage.{name}" for name in fields["stages"]]
    expected += [f"out.{name}" for name in fields["outputs"]]
    notes = fields.get("notes")
    slices = notes.get("stage_slices", {}) if isinstance(notes, dict) else {}
    manifest = {key: tuple(int(n) for n in shape) for key, shape in fields["manifest"].items()}
    for name in (*fields.get("fill_scale", {}), *fields.get("aliases", {}).values()):
        if name not in manifest:
            raise unknown(f"weight in {folder / 'case.json'}", name, manifest)
    return Case(
        folder=folder,
        network=fields["network"],
        entry=fields["entry"],
        tolerance=float(fields["tolerance"]),
        config=fields["config"],
        seed=fields["seed"],
        manifest=manifest,
        fixed=fields["fixed"],
        aliases=fields.get("aliases", {}),
        fill_scale={key: float(factor) for key, factor in fields.get("fill_scale", {}).items()},
        inputs={
            name: tensors[f"in.{name}"] for name in fields["inputs"] if f"in.{name}" in tensors
        },
        described={name: str(text.get("what", "")) for name, text in fields["outputs"].items()},
        expected={name: tensors[name] for name in expected if name in tensors},
        slices={name: _slice(folder, name, text) for name, text in slices.items()},
        values={
            key: tensors[f"fixed.{key}"] for key in fields["fixed"] if f"fixed.{key}" in tensors
        },
    )


def _slice(folder: Path, name: str, text: str) -> Slice:
    found = SLICE.fullmatch(text)
    if found is None:
        raise InputError(f"{folder / 'case.json'}: the slice of stage {name} is unknown: {text!r}")
    shape = tuple(int(n) for n in found[3].split(","))
    return Slice(axis=int(found[2]), length=int(found[1]), shape=shape)


def _check_tensors(case: Case, fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Every tensor that is named must be there, of the shape that is named, and no other."""
    where = case.folder / "io.safetensors"
    named = {f"in.{name}" for name in fields["inputs"]}
    named |= {f"stage.{name}" for name in fields["stages"]}
    named |= {f"out.{name}" for name in fields["outputs"]}
    if missing := sorted(named - set(tensors)):
        raise InputError(f"{where} lacks {missing[0]}, which case.json names")
    if extra := sorted(set(tensors) - named - {f"fixed.{key}" for key in fields["fixed"]}):
        raise InputError(f"{where} holds {extra[0]}, which case.json does not name")
    for kind, group in (("in", fields["inputs"]), ("out", fields["outputs"])):
        for name, text in group.items():
            shape = list(tensors[f"{kind}.{name}"].shape)
            if text.get("shape", shape) != shape:
                raise InputError(f"{where}: {kind}.{name} is {shape}, case.json: {text['shape']}")
