"""Norms of video networks: over the channels of a video, and over the last dimension of tokens.

Statistics are taken in float32 also where the activations are bf16 or half. The norm of tokens,
`RMSNorm(dim, eps=..., elementwise_affine=...)`, is torch's own; it is named here so that the norms
of this library are found in one place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import RMSNorm

__all__ = ["ChannelNorm", "PixelNorm", "RMSNorm"]

PIXEL_NORM_EPS = 1e-8


class PixelNorm(nn.Module):
    """x / sqrt(mean_c x^2 + 1e-8) at every pixel; no parameters.

    Source: Karras et al., Progressive Growing of GANs (arXiv:1710.10196), section 4.2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        mean_square = x.float().square().mean(dim=1, keepdim=True)
        return x * torch.rsqrt(mean_square + PIXEL_NORM_EPS).to(x.dtype)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each pixel of a video, with scale and shift.

    Args:
        channels: C.
        eps: added to the variance.
    """

    def __init__(
        self,
        channels: int,
        *,
        eps: float,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=eps, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)
