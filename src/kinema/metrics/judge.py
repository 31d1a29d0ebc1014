"""A model that is judged by what it says of real clips, and the passports of such scores."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from kinema.metrics import intervals
from kinema.metrics.passport import Passport


@dataclass(frozen=True, eq=False, kw_only=True)
class Judge:
    """A model, as far as its scores depend on it.

    Attributes:
        name: of the system.
        weights: digest of its networks.
        num_frames, size: of what it sees of a clip at most, in frames and pixels.
        made_by: versions of the packages that compute, and the kind of device (`passport.made_by`).
    """

    name: str
    weights: str
    num_frames: int
    size: int
    made_by: Mapping[str, str]

    def passport(
        self,
        score: str,
        variant: str,
        *,
        preprocessing: str,
        redrawn: str,
        count: int,
        skipped: int,
        answered: str,
        seed: int,
    ) -> Passport:
        """The passport of a score.

        Args:
            score, variant, preprocessing: as `Passport` has them.
            redrawn: what the interval draws again and again.
            count, skipped: clips that count, and that were left out.
            answered: the clips and what is right of each, in order.
            seed: of the interval.
        """
        return Passport(
            score=score,
            variant=variant,
            extractor=self.name,
            weights=self.weights,
            preprocessing=preprocessing,
            interval=f"95 %, bootstrap of {redrawn}, {intervals.DRAWS} draws",
            num_real=count,
            num_generated=0,
            skipped_real=skipped,
            skipped_generated=0,
            num_frames=self.num_frames,
            fps=None,
            height=self.size,
            width=self.size,
            reference=hashlib.blake2b(answered.encode(), digest_size=8).hexdigest(),
            seed=seed,
            versions=self.made_by,
        )
