"""Samples as batches of tensors."""

from __future__ import annotations

from typing import Any

import torch

from kinema.worlds.world import World


class WorldClips:
    """Batches drawn by a world: clips (B, 3, T, H, W) in [-1, 1] and the captions of each.

    Args:
        world: the program that draws.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        drawn = [self.world.sample(index) for index in samples]
        clips = torch.stack([torch.from_numpy(sample.clip.to_float()) for sample in drawn])
        return {"clips": clips, "captions": [sample.captions for sample in drawn]}
