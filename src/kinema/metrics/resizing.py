"""Three ways to resize a picture that give three scores, by the names that passports state."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from kinema.nn.resizing import tf1_bilinear

Resizer = Callable[[Tensor, int, int], Tensor]  # (B, C, H, W), height, width


def bilinear(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) -> (B, C, height, width): half-pixel centers, nothing averaged.

    As PyTorch with ``align_corners=False``, OpenCV's ``INTER_LINEAR`` and TensorFlow 2.
    """
    return F.interpolate(x, (height, width), mode="bilinear")


def antialiased_bicubic(x: Tensor, height: int, width: int) -> Tensor:
    """(B, C, H, W) -> (B, C, height, width): half-pixel centers, a = -1/2, averaged if it shrinks.

    As Pillow does with floats; its 8-bit pictures are rounded after each axis. Values may leave the
    range of the input.
    """
    return F.interpolate(x, (height, width), mode="bicubic", antialias=True)


RESIZERS: dict[str, Resizer] = {
    "tf1-bilinear": tf1_bilinear,
    "bilinear": bilinear,
    "antialiased-bicubic": antialiased_bicubic,
}
