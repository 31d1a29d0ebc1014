"""Cross-frame attention: frames of a clip see the first frame and the one before.

Text2Video-Zero (arXiv 2303.13439) shares the keys and values of the first frame; with those of the
previous frame beside them it is the sparse-causal attention of Tune-A-Video (arXiv 2212.11565).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.nn.attention import attention
from kinema.nn.sites import Site


@dataclass(frozen=True, kw_only=True)
class CrossFrame:
    """An attention hook for networks that work frame by frame.

    Every self-attention has the queries of its own frame, and the keys and values of the first and
    the previous frame; before the first frame stands itself.

    Args:
        num_frames: T; rows of an attention are the frames of clips one after another.
    """

    num_frames: int

    def __call__(
        self, site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor | None:
        """q, k, v (B T, heads, N, D) -> like q; None for attentions of another kind."""
        if site.kind != "self":
            return None
        assert mask is None, f"{site.name} has a mask; tokens of a frame are all there"
        frames = torch.arange(len(k), device=k.device)
        place = frames % self.num_frames
        first, previous = frames - place, frames - (place > 0).long()
        k, v = (torch.cat([x[first], x[previous]], dim=2) for x in (k, v))
        return attention(q, k, v, None)
