"""Clips as a batch of their frames, which lie one clip after another, and back.

Letters: B clips, T frames of a clip, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

from einops import rearrange
from torch import Tensor


def to_frames(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) -> ((B T), C, H, W)."""
    return rearrange(clips, "b c t h w -> (b t) c h w")


def to_clips(frames: Tensor, num_frames: int) -> Tensor:
    """((B T), C, H, W), T frames a clip -> (B, C, T, H, W)."""
    return rearrange(frames, "(b t) c h w -> b c t h w", t=num_frames)


def by_frame(function: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
    """What a function of images (N, C, H, W) makes of each frame: (B, C', T, H', W')."""
    return to_clips(function(to_frames(clips)), clips.shape[2])


def by_clip(function: Callable[[Tensor], Tensor], frames: Tensor, num_frames: int) -> Tensor:
    """What a function of clips (B, C, T, H, W) makes of their frames: ((B T), C', H', W')."""
    return to_frames(function(to_clips(frames, num_frames)))
