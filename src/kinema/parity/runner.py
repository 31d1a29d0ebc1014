"""Runs recorded cases through our networks and compares every stage and output.

An adapter exists for each (network, entry): it builds our network from the case's constructor
arguments, maps the filled weights, runs the inputs and returns what it computed under the names of
the case (``stage.conv_in``, ``out.sample``). Adapters work at any sizes; whatever they do not know
is an error.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from kinema.errors import InputError, unknown
from kinema.parity.case import Case, read_case

Adapter = Callable[[Case], Mapping[str, Tensor]]

# Where the adapters of a network live; imported when a case asks for them.
NETWORKS = {
    "00-metrics": "kinema.parity.metrics",
    "05-ltx-video": "kinema.parity.ltx_video",
    "07-video2music": "kinema.parity.video2music",
    "14-uniformerv2": "kinema.parity.uniformerv2",
    "18-stream": "kinema.parity.stream",
    "25-gr1": "kinema.parity.gr1",
    "29-iared2": "kinema.parity.ia_red2",
    "32-zeroi2v": "kinema.parity.zeroi2v",
    "34-svd": "kinema.parity.svd",
    "37-tgans-c": "kinema.parity.tgans_c",
    "49-videomaev2": "kinema.parity.videomae_v2",
    "51-frozenintime": "kinema.parity.frozen_in_time",
    "56-tnt": "kinema.parity.tnt",
    "60-base": "kinema.parity.video_unet",
    "61-cvt": "kinema.parity.cvt",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """The comparison of one tensor: `name` as in the case, largest error over largest magnitude."""

    name: str
    error: float
    passed: bool
    note: str


@dataclasses.dataclass(frozen=True, slots=True)
class CaseResult:
    """The comparison of one case: its rows, stages first; `problem` says why there are none."""

    folder: Path
    rows: tuple[Row, ...]
    tolerance: float
    problem: str

    @property
    def passed(self) -> bool:
        """Every stage and output is within the tolerance, and there is one."""
        return not self.problem and bool(self.rows) and all(row.passed for row in self.rows)


def adapter_of(network: str, entry: str) -> Adapter:
    """The adapter of a (network, entry).

    Raises:
        InputError: there is none.
    """
    if network not in NETWORKS:
        raise unknown("network of a case", network, NETWORKS)
    adapters: Mapping[str, Adapter] = importlib.import_module(NETWORKS[network]).ADAPTERS
    if entry not in adapters:
        raise unknown(f"entry of {network}", entry, adapters)
    return adapters[entry]


def run_case(folder: str | Path) -> CaseResult:
    """Runs the case in a folder.

    Raises:
        InputError: the case cannot be read, its (network, entry) is unknown, or it asks for
            something that our network does not have; the message names it.
    """
    case = read_case(folder)
    adapter = adapter_of(case.network, case.entry)
    with torch.no_grad():
        computed = adapter(case)
    rows = tuple(_compare(case, name, computed) for name in case.expected)
    return CaseResult(folder=case.folder, rows=rows, tolerance=case.tolerance, problem="")


def run_cases(paths: Iterable[str | Path]) -> Iterator[CaseResult]:
    """Runs every case in the given folders and below; one that cannot be run has failed.

    Raises:
        InputError: a path is no folder, or there is no case in it.
    """
    for folder in find_cases(paths):
        try:
            yield run_case(folder)
        except InputError as error:
            yield CaseResult(folder=folder, rows=(), tolerance=0.0, problem=str(error))
        except Exception as error:  # a network that breaks on a case has failed it
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            yield CaseResult(folder=folder, rows=(), tolerance=0.0, problem=problem)


def find_cases(paths: Iterable[str | Path]) -> list[Path]:
    """The case folders that are, or lie below, the given paths. Raises as `run_cases`."""
    folders: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            raise InputError(f"{path} is no folder; name the folder of a case or one above cases")
        below = sorted(file.parent for file in path.rglob("case.json"))
        if not below:
            raise InputError(f"there is no case.json in {path} or below it")
        folders += [folder for folder in below if folder not in folders]
    return folders


def lines(result: CaseResult) -> list[str]:
    """One case as lines of text: its verdict, then one line per stage and output."""
    head = f"{'ok' if result.passed else 'FAIL':4}  {result.folder}"
    if result.problem:
        return [head, f"      {result.problem}"]
    head += f"  (tolerance {result.tolerance:g})"
    width = max((len(row.name) for row in result.rows), default=0)
    return [head] + [
        f"      {row.name:{width}}  {row.error:.2e}"
        f"{'' if row.passed else '  FAIL'}{'  ' + row.note if row.note else ''}"
        for row in result.rows
    ]


def summary(results: Sequence[CaseResult]) -> str:
    """The last line of a report: ``N passed, N failed``."""
    passed = sum(result.passed for result in results)
    return f"{passed} passed, {len(results) - passed} failed"


def _compare(case: Case, name: str, computed: Mapping[str, Tensor]) -> Row:
    expected = case.expected[name]
    if name not in computed:
        raise unknown(f"{case.entry} result", name, computed)
    found = computed[name]
    part = case.slices.get(name.removeprefix("stage.")) if name.startswith("stage.") else None
    if part is not None and tuple(found.shape) == part.shape:
        found = found.narrow(part.axis, 0, part.length)
    if found.shape != expected.shape:
        note = f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
        return Row(name, float("inf"), False, note)
    error = relative_error(found, expected)
    return Row(name, error, error <= case.tolerance, "")


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest absolute error over the largest expected magnitude; infinite for NaN."""
    if expected.numel() == 0:
        return 0.0
    worst = (found.double() - expected.double()).abs().max().item()
    if worst == 0:
        return 0.0
    scale = expected.double().abs().max().item()
    return worst / scale if worst == worst and scale > 0 else float("inf")
