"""Convolutions of video and the rearrangements between space-time and channels."""

from __future__ import annotations

from typing import Literal, Unpack

from einops import rearrange
from torch import Tensor, nn

from kinema.nn.factory import Factory
from kinema.nn.winograd import convolved

PaddingMode = Literal["zeros", "replicate", "reflect"]
Factors = tuple[int, int, int]  # over time, height, width
TIME_KERNEL = (3, 1, 1)


class CausalConv3d(nn.Module):
    """A 3x3x3 convolution whose padding in time repeats frames.

    Causal, the first frame is put twice in front: a frame sees itself and the two before it, and a
    still image is a clip of one frame. Otherwise the first and the last frame are repeated once.

    Source: MAGVIT-v2 (arXiv:2310.05737), section 3.2; repeated frames as in LTX-Video
    (arXiv:2501.00103).

    Args:
        in_channels, out_channels: of the convolution.
        stride: over time, height, width.
        causal: which frames are repeated.
        padding_mode: of height and width, one pixel on each side.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: Factors,
        causal: bool,
        padding_mode: PaddingMode,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.causal = causal
        self.conv = nn.Conv3d(
            in_channels,
            out_channels,
            kernel_size=3,
            stride=stride,
            padding=(0, 1, 1),
            padding_mode=padding_mode,
            **factory,
        )

    @property
    def bias(self) -> Tensor:
        """(out_channels,)."""
        assert self.conv.bias is not None
        return self.conv.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', ceil(T / st), ceil(H / sh), ceil(W / sw))."""
        return convolved(self.conv, x, (2, 0) if self.causal else (1, 1))


class TimeConv(nn.Conv3d):
    """A convolution over a frame and its two neighbors; zeros beyond the first and the last."""

    def __init__(self, channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__(channels, channels, TIME_KERNEL, padding=(1, 0, 0), **factory)


def space_to_depth(x: Tensor, factors: Factors) -> Tensor:
    """(B, C, T p, H q, W r) -> (B, C p q r, T, H, W): the inverse of `depth_to_space`."""
    p, q, r = factors
    return rearrange(x, "b c (t p) (h q) (w r) -> b (c p q r) t h w", p=p, q=q, r=r)


def depth_to_space(x: Tensor, factors: Factors) -> Tensor:
    """(B, C p q r, T, H, W) -> (B, C, T p, H q, W r): the pixel shuffle of space and time.

    Source: Shi et al., sub-pixel convolution (arXiv:1609.05158), extended to time.
    """
    p, q, r = factors
    return rearrange(x, "b (c p q r) t h w -> b c (t p) (h q) (w r)", p=p, q=q, r=r)
