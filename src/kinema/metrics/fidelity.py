"""How near frames are to their originals: PSNR and SSIM, frame by frame.

SSIM is that of Wang, Bovik, Sheikh and Simoncelli (IEEE TIP 13(4), 2004) with its 11 x 11 Gaussian
window. Verified by recorded cases: both, and PSNR of the luma as TecoGAN's evaluation has it.

Letters: T frames, C channels, H height, W width; ... any leading axes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import InputError

CAP_DB = 100.0  # of equal frames
EQUAL = 1e-10  # mean squared errors below it count as none
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
# Y of BT.601 in limited range, for RGB in 0 ... 255.
LUMA, LUMA_OFFSET = (0.256788235294118, 0.504129411764706, 0.097905882352941), 16.0


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each frame in dB, at most 100; float64.

    Tables have the mean over frames and clips, not the ratio of the mean error.

    Args:
        x: (..., C, H, W) in [0, 1].
        y: the same shape.
    """
    error = (x.double() - y.double()).square().flatten(-3).mean(-1)
    decibels = -10 * error.clamp(min=EQUAL).log10()
    return torch.where(error < EQUAL, torch.full_like(error, CAP_DB), decibels)


def luma(x: Tensor) -> Tensor:
    """Y (..., 1, H, W) in 0 ... 255, float64, of RGB (..., 3, H, W) in 0 ... 255."""
    weights = torch.tensor(LUMA, dtype=torch.float64, device=x.device)[:, None, None]
    return (x.double() * weights).sum(-3, keepdim=True) + LUMA_OFFSET


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each frame in [-1, 1]: the mean over channels and places; float64.

    Only places whose whole window lies in the frame count.

    Args:
        x: (..., C, H, W) in [0, 1].
        y: the same shape.

    Raises:
        InputError: frames are smaller than the window of 11 x 11.
    """
    if min(x.shape[-2:]) < WINDOW:
        height, width = x.shape[-2:]
        raise InputError(f"SSIM needs frames of {WINDOW}x{WINDOW} or more, not {height}x{width}")
    a, b = x.double().flatten(0, -3)[:, None], y.double().flatten(0, -3)[:, None]
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a**2
    var_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = K1**2, K2**2
    places = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    places = places / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return places.flatten(1).mean(1).reshape(x.shape[:-2]).mean(-1)


def _blur(x: Tensor) -> Tensor:
    """The Gaussian mean around each place, (N, 1, H, W) -> (N, 1, H - 10, W - 10)."""
    distance = torch.arange(WINDOW, device=x.device, dtype=x.dtype) - WINDOW // 2
    window = (-(distance**2) / (2 * SIGMA**2)).exp() / (SIGMA * math.sqrt(2 * math.pi))
    window = window / window.sum()
    return F.conv2d(F.conv2d(x, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
