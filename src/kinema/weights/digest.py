"""Digests of networks: two networks with equal weights and names have equal digests."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def digest(module: nn.Module) -> str:
    """A hash (16 hex digits) over names, shapes and values of a network's state.

    Floating-point values are hashed as float32, so a copy of bfloat16 weights in float32 has the
    digest of the original.
    """
    total = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        total.update(f"{name} {tuple(values.shape)}".encode())
        total.update(values.contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()
