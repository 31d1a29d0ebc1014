"""Clips of the world `shapes` and their latents under the codec of the shipped LTX-Video model."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from kinema.data.batches import WorldClips
from kinema.data.clips import ClipSize, split_of
from kinema.data.latents import in_batches
from kinema.systems import load
from kinema.systems.ltx_video import LTXVideo

MODEL, WORLD = "ltx_video:shapes", "shapes:level=2"
AT_ONCE = 32  # clips that are encoded together


@functools.cache
def shipped() -> LTXVideo:
    """The model; it is not changed."""
    model: LTXVideo = load(MODEL, dtype=torch.float32)
    return model


def encoded(size: ClipSize, split: str, count: int) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """Batches of clips of a split, `count` clips in all, with their latents (B, C, t, h, w)."""
    clips = WorldClips(split_of(WORLD, split, size))
    for samples in in_batches(range(count), AT_ONCE):
        batch = clips(samples)
        with torch.no_grad():
            yield batch, shipped().codec.encode(batch["clips"])
