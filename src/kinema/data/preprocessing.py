"""From pixels to what a published image or video network reads: resized, cropped, normalized."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from kinema.config import config
from kinema.errors import InputError

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@config
class Preprocessing:
    """How pictures are prepared for a network; each network has its own beside it.

    Args:
        shorter_side: pixels to which the shorter side is resized; the other keeps the proportion,
            rounded down.
        size: pixels of the square that is cut from the middle.
        interpolation: as Pillow's and torchvision's of that name: averaged where it shrinks,
            bicubic with a = -1/2.
        mean, std: of red, green and blue in [0, 1].
    """

    shorter_side: int
    size: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: Triple
    std: Triple

    def __post_init__(self) -> None:
        if not 0 < self.size <= self.shorter_side:
            raise InputError(f"size must be in 1 to {self.shorter_side}, not {self.size}")

    def __call__(self, x: Tensor) -> Tensor:
        """Pixels in [-1, 1], (B, 3, H, W) or (B, 3, T, H, W) -> (..., size, size), normalized.

        As in Pillow, width is resized first, and bicubic values outside [-1, 1] are clamped after
        each axis; its rounding to 256 levels is not imitated.
        """
        assert x.ndim in (4, 5), x.shape
        assert x.shape[1] == 3, x.shape
        height, width = x.shape[-2:]
        shorter = min(height, width)
        resized = (self.shorter_side * height // shorter, self.shorter_side * width // shorter)
        planes = x.flatten(1, -3)  # frames of a clip are more channels
        for size in ((height, resized[1]), resized):
            planes = F.interpolate(planes, size, mode=self.interpolation, antialias=True)
            planes = planes.clamp(-1, 1)
        top, left = (round((length - self.size) / 2) for length in resized)
        planes = planes[..., top : top + self.size, left : left + self.size]
        x = planes.unflatten(1, x.shape[1:-2])
        return normalized(x, self.mean, self.std)


def normalized(x: Tensor, mean: Triple, std: Triple) -> Tensor:
    """Pixels (B, 3, ...) in [-1, 1] as a network reads them: those of [0, 1] less mean, by std."""
    shape = (3, *[1] * (x.ndim - 2))
    return ((x + 1) / 2 - x.new_tensor(mean).view(shape)) / x.new_tensor(std).view(shape)
