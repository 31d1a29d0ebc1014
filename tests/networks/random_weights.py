"""Weights of networks that are compared."""

from __future__ import annotations

import torch

from kinema.noise import Noise


def stir(module: torch.nn.Module) -> None:
    """Random weights, none of them near zero or one."""
    for index, parameter in enumerate(module.parameters()):
        drawn = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
        parameter.data = 0.3 * drawn + (1 if parameter.ndim == 1 else 0)
