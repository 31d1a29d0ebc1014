"""Four convolutions with fixed random weights: a stand-in for trained embedders (our own design).

It tells one frame from another and knows nothing of what they show. Scores that rest on it compare
only with one another, never with published ones; whatever reports them says so by `name`.

Letters: B frames, H height, W width, D features.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.nn.factory import Factory
from kinema.noise import Noise


@config
class RandomConvConfig:
    """Sizes; two of equal configuration are equal networks.

    Attributes:
        size: frames are brought to size x size pixels.
        widths: channels after each layer; all but the last halve the size, the last, of D
            channels, sees the whole picture.
        seed: of the weights.
    """

    size: int
    widths: tuple[int, ...]
    seed: int

    def __post_init__(self) -> None:
        halvings = len(self.widths) - 1
        if halvings < 0 or self.size < 1 or self.size % 2**halvings:
            raise InputError(f"size {self.size} cannot be halved {halvings} times")


class RandomConv(nn.Module):
    """Frames -> features that keep where things are, so that motion shows in them."""

    def __init__(self, config: RandomConvConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        noise = Noise(config.seed, (0,))
        for i, (before, after) in enumerate(pairwise((3, *config.widths))):
            last = i == len(config.widths) - 1
            side = config.size // 2**i if last else 3
            weight = noise.normal((1, after, before, side, side), f"layer {i}")[0]
            weight *= (2 / (before * side**2)) ** 0.5
            self.register_buffer(f"weight{i}", weight.to(**factory))

    @property
    def name(self) -> str:
        """What reports call it: features of equal names compare."""
        return f"random-conv-{self.config.widths[-1]} (seed {self.config.seed}, a stand-in)"

    def forward(self, x: Tensor) -> Tensor:
        """Frames (B, 3, H, W) in [-1, 1] of any size -> (B, D)."""
        size = self.config.size
        x = F.interpolate(x, (size, size), mode="bilinear", antialias=True)
        *inner, last = self.buffers()
        for weight in inner:
            x = F.relu(F.conv2d(x, weight, stride=2, padding=1))
        return F.conv2d(x, last).flatten(1)
