"""The Haar wavelet transform of video."""

from __future__ import annotations

import torch
from torch import Tensor

from kinema.errors import InputError


def haar_3d(x: Tensor) -> Tensor:
    """One level of the orthonormal 3-D Haar transform, the band first: (8, B, C, T/2, H/2, W/2).

    Band 0 holds scaled sums over 2x2x2 pixels, the others differences along time, height, width or
    several of them. A last odd frame, row or column is left out.

    Args:
        x: (B, C, T, H, W).

    Raises:
        InputError: the clips are shorter, lower or narrower than 2.
    """
    if min(x.shape[2:]) < 2:
        size = " x ".join(str(n) for n in x.shape[2:])
        raise InputError(f"wavelets need clips of 2 frames, rows and columns or more, not {size}")
    t, h, w = (size // 2 * 2 for size in x.shape[2:])
    bands = x[None, :, :, :t, :h, :w]
    for axis in (3, 4, 5):
        even, odd = bands.unflatten(axis, (-1, 2)).unbind(axis + 1)
        bands = torch.cat([even + odd, even - odd]) / 2**0.5
    return bands
