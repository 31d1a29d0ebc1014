"""Samples as batches of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.noise import Noise
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


class RandomCrops:
    """Square windows of the clips of another source, one for each sample, drawn with its index.

    Args:
        source: gives ``clips`` (B, 3, T, H, W).
        side: of the window in pixels.
        seed: of the places.
    """

    def __init__(
        self, source: Callable[[tuple[int, ...]], Mapping[str, Any]], *, side: int, seed: int
    ) -> None:
        self.source, self.side, self.seed = source, side, seed

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices.

        Raises:
            InputError: the clips are smaller than the window.
        """
        batch = self.source(samples)
        height, width = batch["clips"].shape[-2:]
        if self.side > min(height, width):
            raise InputError(
                f"a crop of {self.side} pixels does not fit in clips of {height}x{width}"
            )
        places = Noise(self.seed, samples).uniform((len(samples), 2), "crop").tolist()
        clips = [self._window(clip, *place) for clip, place in zip(batch["clips"], places)]
        return {**batch, "clips": torch.stack(clips)}

    def _window(self, clip: Tensor, down: float, right: float) -> Tensor:
        top = int(down * (clip.shape[-2] - self.side + 1))
        left = int(right * (clip.shape[-1] - self.side + 1))
        return clip[..., top : top + self.side, left : left + self.side]
