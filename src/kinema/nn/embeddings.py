"""Embeddings of a continuous time: sinusoids and the two-layer MLP behind them."""

from __future__ import annotations

import math
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.factory import Factory

MAX_PERIOD = 10_000.0
NUM_FREQUENCIES = 128


def sinusoids(time: Tensor, num_frequencies: int) -> Tensor:
    """Cosines, then sines of `time` at frequencies falling geometrically from 1 towards 1 / 10000.

    Source: Ho et al., DDPM (arXiv:2006.11239), after the positions of the Transformer; cosines
    first, as in ADM (arXiv:2105.05233).

    Args:
        time: any shape, in the network's own unit (1000 t for most).
        num_frequencies: F.

    Returns:
        (*time.shape, 2 F), float32 whatever the type of `time`.
    """
    step = -math.log(MAX_PERIOD) / num_frequencies
    index = torch.arange(num_frequencies, dtype=torch.float32, device=time.device)
    angle = time.float()[..., None] * torch.exp(step * index)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class MLPEmbedder(nn.Module):
    """Linear, SiLU, Linear."""

    def __init__(self, in_dim: int, dim: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_dim, dim, **factory)
        self.linear_2 = nn.Linear(dim, dim, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) -> (..., dim)."""
        return self.linear_2(F.silu(self.linear_1(x)))


class TimeEmbedder(nn.Module):
    """A time of any shape -> 256 sinusoids -> an MLP to `dim`.

    Source: PixArt-alpha (arXiv:2310.00426), section 2.3; the parameter names are those of its
    checkpoints and of LTX-Video's.
    """

    def __init__(self, dim: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.timestep_embedder = MLPEmbedder(2 * NUM_FREQUENCIES, dim, **factory)

    def forward(self, time: Tensor) -> Tensor:
        """(...) -> (..., dim), in the type of the weights."""
        weight = self.timestep_embedder.linear_1.weight
        return self.timestep_embedder(sinusoids(time, NUM_FREQUENCIES).to(weight.dtype))
