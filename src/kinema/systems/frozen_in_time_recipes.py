"""The recipes of Frozen in Time.

Paper, code and license: see `frozen_in_time.py`. The published recipe is that of the authors'
configurations, with the shares of their README; batch sizes are the paper's as recalled, the
recipes of small sizes ours.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate, pairwise

from kinema.config import config
from kinema.errors import InputError
from kinema.training.recipe import Recipe, check_cutting


@config
class RetrieverRecipe(Recipe):
    """How both encoders are trained.

    Args:
        frames: taken from each clip, phase by phase.
        shares: of the steps that each phase has; 1 in all.
        temperature: of the loss.
        flip: share of the clips that are mirrored, of those that are read from files.
        crop_area: least and largest share of a frame that is cut out, of the same clips.

    Raises:
        InputError: phases do not have more and more frames, or their shares are not 1 in all; or a
            share lies out of its range.
    """

    frames: tuple[int, ...]
    shares: tuple[float, ...]
    temperature: float
    flip: float
    crop_area: tuple[float, float]

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)  # a class with slots has no super()
        rising = (0, *self.frames)
        if not self.frames or any(a >= b for a, b in pairwise(rising)):
            raise InputError(f"frames must rise from phase to phase, as [1, 4], not {self.frames}")
        fits = len(self.shares) == len(self.frames) and min(self.shares) > 0
        if not (fits and math.isclose(sum(self.shares), 1)):
            raise InputError(
                f"shares must be one for each of frames={list(self.frames)}, above 0 and 1 in all, "
                f"not {list(self.shares)}"
            )
        check_cutting(self.flip, self.crop_area)

    def frames_at(self, step: int) -> int:
        """How many frames of each clip a step takes, of the steps from 0 on."""
        ends = [round(share * self.steps) for share in accumulate(self.shares)]
        return self.frames[min(bisect_right(ends, step), len(self.frames) - 1)]


FULL = RetrieverRecipe(
    steps=100_000,
    batch_size=24,
    learning_rate=3e-5,
    warmup=0,
    decay=0.0,
    betas=(0.9, 0.999),
    ema=0.0,
    frames=(1, 4),
    shares=(0.9, 0.1),
    temperature=0.05,
    flip=0.5,
    crop_area=(0.5, 1.0),
)
FRAMES8 = replace(FULL, frames=(1, 4, 8), shares=(0.9, 0.09, 0.01))
TINY = replace(
    FULL,
    steps=2000,
    batch_size=64,
    learning_rate=1e-3,
    warmup=50,
    decay=0.5,
    ema=0.99,
    report_every=250,
    save_every=250,
    shares=(0.5, 0.5),
)
NANO = TINY.nano(batch_size=4)
