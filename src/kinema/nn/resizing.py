"""Resizing on TensorFlow 1's grid, which networks of its time were trained and scored with."""

from __future__ import annotations

import torch
from torch import Tensor


def tf1_bilinear(x: Tensor, height: int, width: int) -> Tensor:
    """Pictures (..., H, W) -> (..., height, width), bilinear, as TensorFlow 1 places the pixels.

    Pixel i is read at i * H / height: corners are not aligned and pixels have no half-width, so the
    picture moves by a fraction of a pixel. Nothing is averaged where it shrinks.

    Source: ``tf.image.resize_bilinear`` with ``align_corners=False``, of TensorFlow 1.
    """
    return _along(_along(x, width, -1), height, -2)


def _along(x: Tensor, size: int, dim: int) -> Tensor:
    """Linear interpolation along one axis, the last value repeated beyond the end."""
    last = x.shape[dim] - 1
    place = torch.arange(size, device=x.device, dtype=torch.float32) * (x.shape[dim] / size)
    before = place.long().clamp(max=last)  # rounding may reach the end
    after = (before + 1).clamp(max=last)
    share = (place - before).to(x.dtype)
    share = share if dim == -1 else share[:, None]
    low, high = x.index_select(dim, before), x.index_select(dim, after)
    return low + (high - low) * share
