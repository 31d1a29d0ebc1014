"""A claim of no paper whose arms compute their numbers, for tests of the runner."""

from __future__ import annotations

from collections.abc import Callable

from kinema.claims.claim import Arm, Claim, Cost, Experiment
from kinema.claims.figure import draw_pairs

MODULE = "kinema.claims.verdict"  # some module with few imports
CLAIM = Claim(
    name="small",
    system="stream",
    primary=True,
    statement="one is more than none",
    measure="number",
    better="higher",
    margin=0.5,
    tested="one",
    baseline="none",
    tolerance=0.1,
    budget=1.0,
)


def experiment(
    run: Callable[[str, int], float], *, claim: Claim = CLAIM, parameters: int = 100
) -> Experiment:
    """Two arms: ``one``, of so many parameters, and ``none``, of 100; both of 1,000 FLOPs."""

    def arm(name: str, size: int) -> Arm:
        def measured(seed: int) -> dict[str, float]:
            return {"number": run(name, seed), "seed": float(seed)}

        return Arm(name=name, run=measured, cost=lambda: Cost(parameters=size, flops=1000))

    return Experiment(claim=claim, arms=(arm("one", parameters), arm("none", 100)), draw=draw_pairs)


def steady(name: str, seed: int) -> float:
    """1 more for the tested arm, and a little for every seed."""
    return float(name == "one") * (1 + seed / 100) + seed
