"""Scaled dot-product attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_PLAIN = 2**18  # logits of one head that may be held at once


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(D) + mask) v, with softmax in float32.

    Short bf16 sequences on the CPU take plain matrix products: bench/attention.py measured 0.83 to
    1.00 of the time of torch's fused kernel, which is faster from about a thousand tokens on.

    Args:
        q: (B, heads, N, D).
        k, v: (B, heads, L, D).
        mask: added to the logits, or bool, true to attend; broadcast to (B, heads, N, L).

    Returns:
        (B, heads, N, D), in the type of v.
    """
    short = q.shape[-2] * k.shape[-2] <= LARGEST_PLAIN
    if not (short and q.dtype is torch.bfloat16 and q.device.type == "cpu"):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    logits = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).float()
    if mask is not None and mask.dtype is torch.bool:
        logits = logits.masked_fill(~mask, -math.inf)
    elif mask is not None:
        logits = logits + mask
    return logits.softmax(-1).to(v.dtype) @ v
