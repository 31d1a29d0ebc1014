"""Latents that follow the motion of a source clip: LatentWarp (arXiv 2311.00353)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.nn.flow import warp
from kinema.processes.steps import Step


@dataclass(frozen=True, kw_only=True)
class WarpLatents:
    """A step hook: in early steps, what is seen in the previous frame takes its latents.

    z_i <- M_i W(z_(i-1), F_i) + (1 - M_i) z_i, from the second frame to the last, so that what the
    first frame shows is carried through the clip. Where M is 0 a frame keeps its own latents. The
    lookup takes the nearest latent: means of noisy latents would have too little variance.

    Args:
        flow: F (T - 1, 2, h, w), from each frame but the first to the previous one, in latents.
        mask: M (T - 1, 1, h, w) bool, where the previous frame shows the same.
        share: of the steps, from the first on.
    """

    flow: Tensor
    mask: Tensor
    share: float

    def before(self, x: Tensor, step: Step) -> Tensor:
        """The state (B, C, T, h, w) with warped latents."""
        if step.index >= self.share * step.total:
            return x
        frames = list(x.unbind(2))
        assert len(frames) == len(self.flow) + 1, f"flows of {len(self.flow) + 1} frames"
        for i, (flow, mask) in enumerate(zip(self.flow, self.mask, strict=True), start=1):
            carried = warp(frames[i - 1], flow.expand(len(x), -1, -1, -1), "nearest")
            frames[i] = torch.where(mask, carried, frames[i])
        return torch.stack(frames, dim=2)

    def time(self, time: Tensor, step: Step) -> Tensor:
        """Unchanged: all latents have the level of the step."""
        return time

    def after(self, x: Tensor, x_next: Tensor, step: Step) -> Tensor:
        """Unchanged."""
        return x_next
