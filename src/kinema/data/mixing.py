"""Mixup and CutMix: clips that are each part of two, with the classes of both.

Sources: mixup (arXiv:1710.09412), CutMix (arXiv:1905.04899). As in the DeiT recipe
(arXiv:2012.12877) a row takes one of the two, each with half the chance, where both are on. The
clip mixed in is that of the neighboring sample index, and every row draws its own share, so that a
row depends on its sample alone and not on the batch.

Letters: B batch, T frames.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kinema.data.batches import Source
from kinema.errors import InputError
from kinema.noise import Noise

TRIES = 64  # of two numbers each, at least half of which are taken


class MixedClips:
    """Batches of another source, each clip mixed with that of the sample beside it.

    Args:
        source: gives ``clips`` (B, 3, T, H, W) and ``classes`` (B,).
        mixup, cutmix: alpha of the Beta distribution of the share, in [0, 1]; 0 is off, not both.
        seed: of what is drawn.

    Raises:
        InputError: an alpha is out of range.
    """

    def __init__(self, source: Source, *, mixup: float, cutmix: float, seed: int) -> None:
        for name, alpha in (("mixup", mixup), ("cutmix", cutmix)):
            if not 0 <= alpha <= 1:
                raise InputError(f"{name} must be in [0, 1], not {alpha}")
        assert mixup or cutmix, "nothing is mixed"
        self.source, self.mixup, self.cutmix, self.seed = source, mixup, cutmix, seed

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """Mixed ``clips``, ``classes`` and ``others`` (B,), and ``shares`` (B,) of the former."""
        beside = tuple(sample ^ 1 for sample in samples)
        needed = tuple(dict.fromkeys((*samples, *beside)))
        batch, row = self.source(needed), {sample: i for i, sample in enumerate(needed)}
        clips, classes = batch["clips"], batch["classes"]
        noise = Noise(self.seed, samples)
        which = noise.uniform((len(samples),), "mixing")
        tried = noise.uniform((len(samples), TRIES, 2), "mixing/share").double()
        middles = noise.uniform((len(samples), 2), "mixing/middle")
        mixed, shares = [], []
        for i, (own, other) in enumerate(zip(samples, beside)):
            cut = self.cutmix and (not self.mixup or which[i] < 0.5)
            share = beta(tried[i], self.cutmix if cut else self.mixup)
            a, b = clips[row[own]], clips[row[other]]
            if cut:
                x, share = pasted(a, b, share, middles[i])
            else:
                x = share * a + (1 - share) * b
            mixed.append(x)
            shares.append(share)
        return {
            "clips": torch.stack(mixed),
            "classes": classes[[row[sample] for sample in samples]],
            "others": classes[[row[sample] for sample in beside]],
            "shares": torch.tensor(shares, dtype=torch.float32),
        }


def beta(tried: Tensor, alpha: float) -> float:
    """A number of Beta(alpha, alpha), alpha in (0, 1], from uniform numbers (N, 2).

    Source: Joehnk (1964): of u^(1/alpha), v^(1/alpha) the first pair whose sum is at most 1.
    """
    x, y = (tried ** (1 / alpha)).T
    total = x + y
    fits = (total <= 1) & (total > 0)
    if not fits.any():
        return 0.5  # once in 2^64
    first = int(fits.int().argmax())
    return float(x[first] / total[first])


def pasted(a: Tensor, b: Tensor, share: float, middle: Tensor) -> tuple[Tensor, float]:
    """Clip a (3, T, H, W) with a box of b in all frames, and the share of a that stays.

    Args:
        a, b: of one size.
        share: of a, in [0, 1]; the box is cut off where it leaves the frame, so that more may stay.
        middle: (2,) of the box, in [0, 1).
    """
    sides = []
    for length, at in zip(a.shape[-2:], middle.tolist()):
        half = length * (1 - share) ** 0.5 / 2
        sides.append([min(max(round(at * length + d), 0), length) for d in (-half, half)])
    (top, bottom), (left, right) = sides
    x = a.clone()
    x[..., top:bottom, left:right] = b[..., top:bottom, left:right]
    covered = (bottom - top) * (right - left) / (a.shape[-2] * a.shape[-1])
    return x, 1 - covered
