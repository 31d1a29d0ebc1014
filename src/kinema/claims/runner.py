"""The runner of claims: every arm with every seed, in pairs, so that a killed run goes on.

A folder of runs holds for each claim ``<arm>-<seed>.json``, what one run measured, and at the end
``record.json`` and ``figure.png``.
"""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from kinema.claims.claim import MORE_SEEDS, SEEDS, Arm, Claim, Cost, Experiment, Measured
from kinema.claims.figure import write_figure
from kinema.claims.modules import digests
from kinema.claims.record import RECORD, ArmRecord, Record
from kinema.claims.verdict import verdict
from kinema.errors import InputError
from kinema.files import check_writable, parse_json, write_text

LOGGER = logging.getLogger(__name__)
VERSIONS = ("kinema", "torch")
ARM_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
VERDICT = "kinema.claims.verdict"


@dataclass(frozen=True)
class Result:
    """What one arm measured with one seed, and the processor seconds that it took."""

    seconds: float
    measured: Measured


def run_claim(experiment: Experiment, folder: Path, *, seeds: int, module: str) -> Record:
    """Runs what is not yet in the folder, and judges.

    Args:
        experiment: the claim and its arms.
        folder: of this claim's runs.
        seeds: 0 to ``seeds`` - 1; three, or five where three left it open.
        module: name of the module that the experiment lies in.

    Returns:
        The record, which is in the folder too, with its figure.

    Raises:
        InputError: another number of seeds is asked for, the arms are not matched, a result in the
            folder is of other code or damaged, a measured number is not finite, or a file cannot
            be written.
    """
    claim, arms = experiment.claim, experiment.arms
    if seeds not in (SEEDS, MORE_SEEDS):
        raise InputError(
            f"a claim is run with {SEEDS} seeds, or once with {MORE_SEEDS}, not {seeds}"
        )
    check_writable(folder / RECORD, overwrite=True)
    modules = digests(module, VERDICT)
    costs = matched(claim, arms)
    results: dict[tuple[str, int], Result] = {}
    runs = [(arm, seed) for seed in range(seeds) for arm in arms]
    for done, (arm, seed) in enumerate(runs):
        result = once(arm, seed, folder, modules)
        results[arm.name, seed] = result
        minutes = sum(each.seconds for each in results.values()) / 60
        LOGGER.info(
            "%s, seed %d: %s",
            arm.name,
            seed,
            shown({claim.measure: result.measured[claim.measure]}),
        )
        check_budget(claim, minutes, done + 1, len(runs))
    measured = {arm.name: [results[arm.name, s].measured for s in range(seeds)] for arm in arms}
    pairs = zip(measured[claim.tested], measured[claim.baseline])
    gains = [claim.gain(tested, baseline) for tested, baseline in pairs]
    judged = verdict(gains, claim.margin)
    record = Record(
        claim=claim,
        outcome=judged.outcome,
        mean=judged.mean,
        error=judged.error,
        gains=tuple(gains),
        arms={name: ArmRecord(cost=costs[name], measured=tuple(measured[name])) for name in costs},
        minutes=sum(result.seconds for result in results.values()) / 60,
        threads=torch.get_num_threads(),
        commit=commit(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={name: version(name) for name in VERSIONS},
        modules=modules,
    )
    write_figure(folder / "figure.png", record, experiment.draw)
    record.write(folder / RECORD)
    return record


def matched(claim: Claim, arms: Sequence[Arm]) -> dict[str, Cost]:
    """What every arm needs, told side by side.

    Raises:
        InputError: parameters or FLOPs differ by more than the claim allows.
    """
    costs = {arm.name: arm.cost() for arm in arms}
    for name, cost in costs.items():
        assert ARM_NAME.fullmatch(name), f"an arm is named {name!r}"
        LOGGER.info("%s: %d parameters, %.4g FLOPs a step", name, cost.parameters, cost.flops)
    for what in ("parameters", "flops"):
        values = [asdict(cost)[what] for cost in costs.values()]
        apart = (max(values) - min(values)) / max(1, *values)
        if apart > claim.tolerance:
            raise InputError(
                f"the arms of {claim.name} differ by {apart:.1%} in {what}, at most "
                f"{claim.tolerance:.1%} are allowed: {dict(zip(costs, values))}"
            )
    return costs


def once(arm: Arm, seed: int, folder: Path, modules: Mapping[str, str]) -> Result:
    """What an arm measures with a seed: from the folder, or by running it now.

    Raises:
        InputError: what lies there is damaged or of other code; a number is not finite.
    """
    path = folder / f"{arm.name}-{seed}.json"
    if path.exists():
        return read_result(path, modules)
    begin = time.process_time()
    measured = {name: float(value) for name, value in arm.run(seed).items()}
    seconds = time.process_time() - begin
    for name, value in measured.items():
        if not math.isfinite(value):
            raise InputError(f"{arm.name} with seed {seed} measured {name} = {value}; it diverged")
    text = json.dumps({"seconds": seconds, "measured": measured, "modules": dict(modules)})
    write_text(path, text + "\n")
    return Result(seconds, measured)


def read_result(path: Path, modules: Mapping[str, str]) -> Result:
    """What `once` wrote.

    Raises:
        InputError: it is damaged, or was measured before a module changed.
    """
    try:
        values = parse_json(path.read_text(encoding="utf-8"), str(path))
        measured = {name: float(value) for name, value in values["measured"].items()}
        result = Result(float(values["seconds"]), measured)
        old = dict(values["modules"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is damaged; remove it and run the claim again") from error
    for name in {*old, *modules}:
        if old.get(name) != modules.get(name):
            raise InputError(
                f"{path} was measured before {name} changed; remove it or use another --output"
            )
    return result


def check_budget(claim: Claim, minutes: float, done: int, runs: int) -> None:
    """Tells when a claim will take longer than it may; its record and the table say so too."""
    whole = minutes * runs / done
    if whole > claim.budget:
        LOGGER.warning(
            "%s takes about %.0f minutes, %.0f are its budget", claim.name, whole, claim.budget
        )


def shown(values: Measured) -> str:
    """Measured numbers in a line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def commit() -> str:
    """The commit of the checkout that this package lies in, "+" after it where files differ.

    "" outside of a checkout, or where there is no git.
    """
    place = Path(__file__).parent

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        answer = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
        return answer.stdout.strip()

    try:
        differs = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if differs else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
