"""Claims: what a paper says, as an experiment with a margin that is written before the first run.

A claim is one file of this room with a literal ``CLAIM = Claim(...)``, which is read without
importing torch, and an ``EXPERIMENT`` that can be run.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from kinema.errors import InputError, unknown

ROOM = Path(__file__).parent
SEEDS = 3
MORE_SEEDS = 5  # where three leave it open

S = TypeVar("S")
Measured = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is claimed, and what decides. Every value is a literal.

    Args:
        name: that of the file.
        system: whose claim it is.
        primary: whether it is the main claim of its system.
        statement: the claim, as a sentence that can be false.
        measure: the measured number that decides.
        better: whether more or less of it is better.
        margin: by how much the tested arm must be better than the baseline, in units of `measure`;
            above 0. It is written before the first run and never changed after it.
        tested, baseline: the names of the two arms that are compared.
        tolerance: by how much parameters and FLOPs of all arms may differ, as a share.
        budget: minutes of processor time of all arms and seeds.
        invented: parts of the method that are ours because no source tells them.
    """

    name: str
    system: str
    primary: bool
    statement: str
    measure: str
    better: Literal["higher", "lower"]
    margin: float
    tested: str
    baseline: str
    tolerance: float
    budget: float
    invented: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.margin > 0, f"{self.name}: the margin is above 0, not {self.margin}"
        assert self.better in ("higher", "lower"), f"{self.name}: {self.better!r} is not better"

    @property
    def told(self) -> str:
        """The statement; where parts are invented, as what it is."""
        return f"our reading of: {self.statement}" if self.invented else self.statement

    def gain(self, tested: Measured, baseline: Measured) -> float:
        """By how much the tested arm is better than the baseline, of one seed."""
        difference = tested[self.measure] - baseline[self.measure]
        return difference if self.better == "higher" else -difference


@dataclass(frozen=True)
class Cost:
    """What an arm needs: parameters of its networks, and FLOPs of one of its steps."""

    parameters: int
    flops: int


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way of doing it.

    Args:
        name: of letters and hyphens.
        run: ``(seed)`` does it once and gives what was measured, by name.
        cost: measures what it needs; cheap.
    """

    name: str
    run: Callable[[int], Measured]
    cost: Callable[[], Cost]


def arms_of(
    names: Sequence[str],
    run: Callable[[str, S, int], Measured],
    cost: Callable[[str, S], Cost],
    scale: S,
) -> tuple[Arm, ...]:
    """Arms that one pair of functions serves.

    Args:
        names: of the arms.
        run: ``(name, scale, seed)`` does one.
        cost: ``(name, scale)`` measures one.
        scale: how much is drawn and learned; tests take less of it.
    """
    return tuple(
        Arm(
            name=name,
            run=functools.partial(run, name, scale),
            cost=functools.partial(cost, name, scale),
        )
        for name in names
    )


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A claim that can be run.

    Args:
        claim: what it tests.
        arms: two or three, among them the tested one and the baseline.
        draw: ``(record, figure)`` draws the record of a run into a figure of matplotlib.
    """

    claim: Claim
    arms: tuple[Arm, ...]
    draw: Callable[[Any, Any], None]

    def __post_init__(self) -> None:
        names, compared = {arm.name for arm in self.arms}, {self.claim.tested, self.claim.baseline}
        assert len(names) == len(self.arms) in (2, 3), f"{self.claim.name}: two or three arms"
        assert len(compared) == 2, f"{self.claim.name}: an arm is no baseline of its own"
        assert compared <= names, f"{self.claim.name}: no arm {compared - names}"


def read_claim(path: Path) -> Claim | None:
    """The claim in a file, read from its source; None if it has no ``CLAIM = Claim(...)``."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["CLAIM"]:
            call = node.value
            assert isinstance(call, ast.Call), f"CLAIM in {path} is no call of Claim"
            assert not call.args, f"CLAIM in {path} is given by keyword"
            facts: dict[str, Any] = {
                str(item.arg): ast.literal_eval(item.value) for item in call.keywords
            }
            return Claim(**facts)
    return None


@functools.cache
def claims() -> dict[str, Claim]:
    """Every claim by name, in the order of the names."""
    found = (read_claim(path) for path in sorted(ROOM.glob("[!_]*.py")))
    return {claim.name: claim for claim in found if claim is not None}


def chosen(name: str, *, secondary: bool) -> list[Claim]:
    """The claims that a name means: one, or those of a system.

    Args:
        name: of a claim or of a system.
        secondary: of a system, those beside the primary one.

    Raises:
        InputError: there is no such claim, and no system of this name that has such a claim.
    """
    if name in claims():
        return [claims()[name]]
    systems = {claim.system for claim in claims().values()}
    if name not in systems:
        raise unknown("claim", name, {*claims(), *systems})
    found = [c for c in claims().values() if c.system == name and c.primary != secondary]
    if not found:
        raise InputError(f"{name} has no secondary claim; leave out --secondary")
    return found


def load(name: str) -> Experiment:
    """The experiment of a claim; imports its file, and with it torch."""
    experiment: Experiment = importlib.import_module(f"kinema.claims.{name}").EXPERIMENT
    return experiment
