"""Records of claims that were run: verdict, figures, and digests of the modules that they rest on.

Those of the project lie in ``records``, one file of JSON for each claim.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from kinema.claims.claim import ROOM, Claim, Cost, Measured
from kinema.claims.modules import changed
from kinema.claims.verdict import Outcome
from kinema.errors import InputError
from kinema.files import parse_json, write_text

RECORDS = ROOM / "records"
RECORD = "record.json"  # in the folder of a claim's runs


@dataclass(frozen=True, kw_only=True)
class ArmRecord:
    """What an arm needed, and what was measured of it, one mapping for each seed."""

    cost: Cost
    measured: tuple[Measured, ...]

    def mean(self, measure: str) -> float:
        """The mean over the seeds."""
        return sum(values[measure] for values in self.measured) / len(self.measured)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A claim and what came of it.

    Args:
        claim: as it was when it was run.
        outcome, mean, error: the verdict; the gain of the tested arm and its standard error.
        gains: one for each seed.
        arms: by name.
        minutes: of processor time, of all arms and seeds.
        threads: that torch computed on.
        commit: of the checkout, "+" after it where files differed; "" outside of one.
        date: ISO 8601, in UTC.
        versions: of what results depend on.
        modules: digests of the sources, see `kinema.claims.modules`.
    """

    claim: Claim
    outcome: Outcome
    mean: float
    error: float
    gains: tuple[float, ...]
    arms: Mapping[str, ArmRecord]
    minutes: float
    threads: int
    commit: str
    date: str
    versions: Mapping[str, str]
    modules: Mapping[str, str]

    @property
    def stale(self) -> list[str]:
        """The modules that are no longer what they were."""
        return changed(dict(self.modules))

    @property
    def figures(self) -> str:
        """Both arms, the gain with its standard error, and the margin, in one line."""
        claim = self.claim
        arms = [
            f"{name} {self.arms[name].mean(claim.measure):.4g}"
            for name in (claim.tested, claim.baseline)
        ]
        gain = f"gain {self.mean:.4g} +- {self.error:.2g}, margin {claim.margin:g}"
        return f"{claim.measure}: {', '.join(arms)}; {gain}"

    def write(self, path: Path) -> None:
        """Writes JSON in the place of what stood there."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n", overwrite=True)


def read_record(path: Path) -> Record:
    """A record that `Record.write` wrote.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        values: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"), str(path))
        claim = {**values["claim"], "invented": tuple(values["claim"]["invented"])}
        arms = {
            name: ArmRecord(cost=Cost(**arm["cost"]), measured=tuple(arm["measured"]))
            for name, arm in values["arms"].items()
        }
        assert set(values) == {field.name for field in fields(Record)}
        read = {"claim": Claim(**claim), "arms": arms, "gains": tuple(values["gains"])}
        return Record(**{**values, **read})
    except (OSError, ValueError, KeyError, TypeError, AssertionError, AttributeError) as error:
        raise InputError(f"{path} is no record of a claim; run the claim again") from error


def record_of(name: str, folder: Path | None) -> Record | None:
    """The record of a claim: from the folder of runs, if it has one there, or the project's.

    Raises:
        InputError: it is damaged.
    """
    places = [RECORDS / f"{name}.json"]
    if folder is not None:
        places.insert(0, folder / name / RECORD)
    path = next((place for place in places if place.is_file()), None)
    return None if path is None else read_record(path)
