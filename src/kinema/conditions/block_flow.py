"""Optical flow by exhaustive block matching: no network, whole pixels.

For every pixel it compares the block around it with all blocks of the other frame within a radius.
It stands where published systems have a trained estimator (RAFT, arXiv 2003.12039): exact for
movements by whole pixels of what has texture, blind to turns, scalings and fractions of a pixel.

Letters: B batch, H height, W width.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.config import config
from kinema.errors import InputError


@config
class BlockFlowConfig:
    """Reach and size of the blocks.

    Args:
        radius: the largest movement that is found, in pixels along either axis.
        block: side of a block in pixels, odd.
    """

    radius: int
    block: int

    def __post_init__(self) -> None:
        if self.radius < 0 or self.block < 1 or self.block % 2 == 0:
            raise InputError(
                f"block matching needs a radius of 0 or more and an odd block, not radius"
                f" {self.radius} and block {self.block}"
            )


def block_flow(frames: Tensor, others: Tensor, config: BlockFlowConfig) -> Tensor:
    """The flow from each frame to its other one, (B, 2, H, W) in whole pixels, x first.

    Of equally good matches the shortest counts: what is flat stays where it is.

    Args:
        frames: (B, 3, H, W); for each block the smallest mean absolute difference wins.
        others: the same shape.
        config: reach and size of the blocks.
    """
    reach = range(-config.radius, config.radius + 1)
    moves = sorted(itertools.product(reach, reach), key=lambda move: move[0] ** 2 + move[1] ** 2)
    height, width = frames.shape[-2:]
    padded = F.pad(others, (config.radius,) * 4)
    within = F.pad(torch.ones_like(others[:, :1]), (config.radius,) * 4)
    best = torch.full_like(frames[:, :1], torch.inf)
    flow = torch.zeros_like(frames[:, :2])
    for dx, dy in moves:
        top, left = config.radius + dy, config.radius + dx
        there = (..., slice(top, top + height), slice(left, left + width))
        exists = within[there]
        gap = (frames - padded[there]).abs().mean(1, keepdim=True) * exists
        cost = _block_sums(gap, config.block) / _block_sums(exists, config.block).clamp(min=1)
        # A match must be better by more than what sums of floats differ by.
        better = (cost < best - 1e-5) & (exists > 0)
        best = torch.where(better, cost, best)
        flow = torch.where(better, flow.new_tensor([dx, dy])[:, None, None], flow)
    return flow


def _block_sums(x: Tensor, block: int) -> Tensor:
    """Sums over the block around each pixel of x (B, 1, H, W)."""
    return F.avg_pool2d(x, block, stride=1, padding=block // 2, divisor_override=1)
