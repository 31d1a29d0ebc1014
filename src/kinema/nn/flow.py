"""Optical flow between frames: lookups, change of resolution, occlusion, error.

A flow (B, 2, H, W) says for each pixel where it is found in the other frame: x and y to add to its
own place, in pixels of its own grid. To bring a previous frame to the current one, the flow goes
from the current frame to the previous one (a backward warp).

The test for occlusion is that of Sundaram, Brox and Keutzer (ECCV 2010), eq. 5, with the constants
of UnFlow (arXiv 1711.07837).

Letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

RELATIVE, ABSOLUTE = 0.01, 0.5  # of squared lengths; what forward and backward may disagree by


def sources(flow: Tensor) -> Tensor:
    """Where each pixel is looked up: x and y in pixels, (B, 2, H, W)."""
    height, width = flow.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    return flow + torch.stack(torch.meshgrid(x, y, indexing="xy"))


def inside(flow: Tensor) -> Tensor:
    """Whether a lookup stays between the centers of the outermost pixels; (B, 1, H, W) bool."""
    height, width = flow.shape[-2:]
    x, y = sources(flow).unbind(1)
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))[:, None]


def warp(x: Tensor, flow: Tensor, mode: Literal["nearest", "bilinear"]) -> Tensor:
    """Looks up x (B, C, H, W) where the flow (B, 2, H, W) says; beyond the border, the border.

    Noise takes the mode ``nearest``: means of noise have less variance than noise.
    """
    height, width = x.shape[-2:]
    # align_corners: -1 and 1 are the centers of the first pixel and of the last.
    last = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=x.device, dtype=flow.dtype)
    grid = 2 * sources(flow).permute(0, 2, 3, 1) / last - 1
    return F.grid_sample(x, grid.to(x), mode, padding_mode="border", align_corners=True)


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """The flow on a coarser grid: means over its cells, in units of that grid."""
    scale = torch.tensor([width / flow.shape[3], height / flow.shape[2]], device=flow.device)
    return F.interpolate(flow, (height, width), mode="area") * scale.to(flow)[:, None, None]


def resize_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask (B, 1, H, W) on a coarser grid: a cell is true where all of its pixels are."""
    return F.adaptive_max_pool2d((~mask).float(), (height, width)) == 0


def visible(flow: Tensor, back: Tensor) -> Tensor:
    """Which pixels are seen in the other frame too; (B, 1, H, W) bool.

    They are looked up inside it, and the flow from there comes back to them.

    Args:
        flow: from this frame to the other, (B, 2, H, W).
        back: from the other frame to this one.
    """
    returned = warp(back, flow, "bilinear")
    lengths = flow.square().sum(1, keepdim=True) + returned.square().sum(1, keepdim=True)
    gap = (flow + returned).square().sum(1, keepdim=True)
    return (gap < RELATIVE * lengths + ABSOLUTE) & inside(flow)


def warp_error(x: Tensor, previous: Tensor, flow: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of x (B, C, H, W) and the warped previous frame; (B,).

    Args:
        flow: from x to the previous frame, of the source clip whatever x is.
        mask: (B, 1, H, W) bool, which pixels count; a row where none does has the error 0.
    """
    squared = (x - warp(previous, flow, "bilinear")).square().mean(1, keepdim=True)
    return (squared * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)
