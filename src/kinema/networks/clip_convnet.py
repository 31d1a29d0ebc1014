"""A small 3-D convolutional network over clips (our own design): what `fvd-tiny` rests on.

Trained on a world to tell its labels, its features stand where scores have a network that was
trained on films. They know that world and nothing else.

Letters: B clips, T frames, H height, W width, D features, K classes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from kinema.config import config
from kinema.nn.factory import Factory

GROUPS = 8  # of the norms, which keep no statistics: training and scoring compute the same


@config
class ClipConvNetConfig:
    """Sizes.

    Attributes:
        size: frames are brought to size x size pixels.
        widths: channels after each layer, multiples of 8; each halves the frames, all but the
            first halve time. The last is D.
        num_classes: K.
    """

    size: int
    widths: tuple[int, ...]
    num_classes: int


def tiny() -> ClipConvNetConfig:
    """280,000 parameters and 14 classes more or less: minutes on two cores."""
    return ClipConvNetConfig(size=64, widths=(24, 48, 64, 96), num_classes=14)


class ClipConvNet(nn.Module):
    """Clips -> features, and logits of classes from them."""

    FEWEST_FRAMES: ClassVar = 2

    def __init__(self, config: ClipConvNetConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        for i, (before, after) in enumerate(pairwise((3, *config.widths))):
            stride = (1 if i == 0 else 2, 2, 2)
            self.convs.append(nn.Conv3d(before, after, 3, stride, padding=1, bias=False, **factory))
            self.norms.append(nn.GroupNorm(GROUPS, after, **factory))
        self.head = nn.Linear(config.widths[-1], config.num_classes, **factory)

    @property
    def preparation(self) -> str:
        """What happens to clips first, in words."""
        return f"trilinear, frames {self.config.size}x{self.config.size}"

    def features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) in [-1, 1] of any size -> (B, D), means over time and space."""
        size = (x.shape[2], self.config.size, self.config.size)
        x = F.interpolate(x, size, mode="trilinear")
        for conv, norm in zip(self.convs, self.norms):
            x = F.silu(norm(conv(x)))
        return x.mean((2, 3, 4))

    def forward(self, x: Tensor) -> Tensor:
        """Clips as for `features` -> logits (B, K)."""
        return self.head(self.features(x))
