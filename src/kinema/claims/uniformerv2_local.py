"""UniFormerV2 (arXiv 2211.09552): global aggregators beside local ones are worth their cost.

The other half of `uniformerv2_aggregators`, which tells what the arms are: ``both``, and ``local``,
whose aggregators are twice as wide in the place of the video token. Clips, recipe and seeds are the
same. Eight aggregators of three frames, one after another, span the 8 frames of a clip.

No pilot was run of ``local``. 600 steps of about 0.2 s: about 14 minutes on one thread in all.
"""

from __future__ import annotations

from kinema.claims.claim import Arm, Claim, Experiment, arms_of
from kinema.claims.figure import draw_pairs
from kinema.claims.uniformerv2_aggregators import FULL, Scale, cost, run

CLAIM = Claim(
    name="uniformerv2_local",
    system="uniformerv2",
    primary=False,
    statement="with local and global aggregators a network tells more motions rightly than with "
    "local ones alone at equal cost",
    measure="top1",
    better="higher",
    margin=0.05,
    tested="both",
    baseline="local",
    tolerance=0.07,
    budget=30.0,
)


def arms(scale: Scale) -> tuple[Arm, ...]:
    """Both arms of this claim."""
    return arms_of(("both", "local"), run, cost, scale)


EXPERIMENT = Experiment(claim=CLAIM, arms=arms(FULL), draw=draw_pairs)
