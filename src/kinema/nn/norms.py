"""Norms of video networks: over the channels of a video, and over the last dimension of tokens.

Statistics are taken in float32 also where the activations are bf16 or half.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.factory import Factory

PIXEL_NORM_EPS = 1e-8


class RMSNorm(nn.RMSNorm):
    """torch's RMSNorm with its weight in the type of the activations.

    Under autocast the weight stays in float32, and torch has no fused kernel for two types.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        weight = None if self.weight is None else self.weight.to(x.dtype)
        return F.rms_norm(x, self.normalized_shape, weight, self.eps)


class PixelNorm(nn.Module):
    """x / sqrt(mean_c x^2 + 1e-8) at every pixel; no parameters.

    Source: Karras et al., Progressive Growing of GANs (arXiv:1710.10196), section 4.2.
    """

    def forward(self, x: Tensor, *, out: Tensor | None) -> Tensor:
        """(B, C, ...) -> (B, C, ...), in the place of `out` if there is one, which may be x."""
        if torch.is_grad_enabled():
            mean_square = x.float().square().mean(dim=1, keepdim=True)
        else:  # saves the memory of the squares, but its gradient would be slower
            length = torch.linalg.vector_norm(x.float(), dim=1, keepdim=True)
            mean_square = length.square_() / x.shape[1]
        return torch.mul(x, torch.rsqrt(mean_square + PIXEL_NORM_EPS).to(x.dtype), out=out)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each pixel of a video, with scale and shift.

    Args:
        channels: C.
        eps: added to the variance.
    """

    def __init__(self, channels: int, *, eps: float, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=eps, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)
