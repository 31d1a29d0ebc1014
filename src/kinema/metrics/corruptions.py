"""Corruptions of clips for which it is known what a score should say.

They work on frames and on features of frames alike. Letters: N clips, F frames, ... the rest.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.noise import Noise


def shuffled(x: Tensor, count: int, noise: Noise) -> Tensor:
    """Puts `count` frames of every clip (N, F, ...) in random order among themselves; time only.

    Each clip has its own frames and its own order. A frame may stay where it is.
    """
    assert 0 <= count <= x.shape[1], f"{count} of {x.shape[1]} frames"
    drawn = noise.uniform((len(x), 2, x.shape[1]), "shuffled frames").argsort(2)
    chosen = drawn[:, 0, :count]
    order = torch.arange(x.shape[1]).repeat(len(x), 1)
    # The order of the second draw among the chosen frames is an order of those alone.
    mixed = drawn[:, 1].argsort(1).gather(1, chosen).argsort(1)
    order.scatter_(1, chosen, chosen.gather(1, mixed))
    rows = torch.arange(len(x), device=x.device)[:, None]
    return x[rows, order.to(x.device)]


def frozen(x: Tensor) -> Tensor:
    """Shows the first frame of every clip (N, F, ...) throughout; time, and variety with it."""
    return x[:, :1].expand_as(x).clone()


def collapsed(x: Tensor, distinct: int) -> Tensor:
    """Repeats the first `distinct` of the clips (N, F, ...) in turn; variety only."""
    assert 1 <= distinct <= len(x), f"{distinct} of {len(x)} clips"
    return x[torch.arange(len(x), device=x.device) % distinct]


def offset(x: Tensor, size: float, noise: Noise) -> Tensor:
    """Adds to all frames of a clip (N, F, ...) one normal tensor of this deviation; space only."""
    added = size * noise.normal((len(x), 1, *x.shape[2:]), "offset")
    return x + added.to(x)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Blurs every frame of clips (N, F, 3, H, W) by a Gaussian of this deviation; space only."""
    reach = max(1, round(3 * sigma))
    distance = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    window = (-(distance**2) / (2 * sigma**2)).exp()
    window = (window / window.sum()).view(1, 1, -1, 1)
    planes = F.pad(x.flatten(0, 2)[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(planes, window), window.mT)[:, 0].reshape(x.shape)


def noisy(x: Tensor, size: float, noise: Noise) -> Tensor:
    """Adds normal noise of this deviation to every value of clips (N, ...); space and time."""
    return x + size * noise.normal(x.shape, "noise").to(x)


def tinted(x: Tensor, levels: Tensor) -> Tensor:
    """Moves clips (N, F, 3, H, W) from blue to red, frame t by `levels` (F,): drift of color."""
    color = torch.tensor([1.0, 0.0, -1.0], device=x.device, dtype=x.dtype)
    return x + levels.to(x)[:, None, None, None] * color[:, None, None]


def stuttering(x: Tensor, share: float, noise: Noise) -> Tensor:
    """Holds the frame before in the place of this share of the frames of clips (N, F, ...)."""
    held = noise.uniform((len(x), x.shape[1]), "held frames") < share
    number = torch.arange(x.shape[1]).expand(len(x), -1)
    shown = torch.where(held, torch.zeros_like(number), number).cummax(1).values
    rows = torch.arange(len(x), device=x.device)[:, None]
    return x[rows, shown.to(x.device)]
