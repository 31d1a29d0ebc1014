"""Refinement of a layout by score distillation; see `c3v.py`.

Letters: B draws, K objects, T frames, S side of a picture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kinema.noise import Noise
from kinema.scenes.composition import Composition, Layout
from kinema.systems.c3v_config import Refinement
from kinema.training.objective import Batch, Logs, Objective

Score = Callable[[Tensor, Tensor, Noise], Tensor]
"""The weighted gradient of distillation with respect to pictures (B, 3, S, S), at times (B,)."""


class LayoutObjective(Objective):
    """Moves a layout to where a prior finds its pictures more likely (section 3.4).

    First come the heights, in the first frame, then the locations, each in its own frame; headings
    follow the locations. Nothing else of the scene is trained.

    Args:
        composition: what is in the pictures.
        coarse: where it is now.
        score: the prior's.
        numbers: of the refinement.
        side: S.
    """

    def __init__(
        self,
        composition: Composition,
        coarse: Layout,
        score: Score,
        numbers: Refinement,
        *,
        side: int,
    ) -> None:
        super().__init__()
        self.composition, self.coarse, self.score = composition, coarse, score
        self.numbers, self.side = numbers, side
        self.heights = nn.Parameter(torch.zeros_like(coarse.heights))
        self.locations = nn.Parameter(torch.zeros_like(coarse.locations))
        self.players = {"heights": ("heights",), "locations": ("locations",)}

    def turns(self, step: int) -> tuple[str, ...]:
        """The heights first, then the locations."""
        return ("heights",) if step < self.numbers.height_steps else ("locations",)

    @property
    def layout(self) -> Layout:
        """The layout as it is now."""
        return self.coarse.moved(
            self.heights,
            self.locations,
            height_bound=self.numbers.height_bound,
            location_bound=self.numbers.location_bound,
        )

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """A number whose gradient with respect to the pictures is that of distillation.

        Logged is the mean square of that gradient; the number itself means nothing.
        """
        count, frames = len(noise), self.coarse.locations.shape[1]
        picks = (noise.uniform((count,), "frame") * frames).long().tolist()
        pictures = self.pictures([0] * count if player == "heights" else picks)
        low, high, high_at_end = self.numbers.times
        high += (high_at_end - high) * step / self.numbers.recipe.steps
        time = low + (high - low) * noise.uniform((count,), "time").to(pictures.device)
        gradient = self.score(pictures, time, noise)
        return (gradient * pictures).sum() / count, {"loss": gradient.square().mean()}

    def pictures(self, frames: list[int]) -> Tensor:
        """Pictures of some frames: (B, 3, S, S) in [-1, 1]."""
        layout, side = self.layout, self.side
        drawn = [self.composition.picture(layout, f, height=side, width=side) for f in frames]
        return torch.stack(drawn)
