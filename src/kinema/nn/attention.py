"""Scaled dot-product attention, and which way it is computed on which device.

Letters: B batch, H heads, N queries, L keys, D width of a head, G batch times heads.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_PLAIN = 2**18  # logits of one head that may be held for the backward pass
BLOCK = 2**22  # logits that are held at once where there is none
ROWS = 512  # queries of a block, at least: with fewer the products are slower


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(D) + mask) v; sums of the softmax are float32.

    Everywhere but in bf16 on the CPU this is torch's fused kernel. There matrix products of torch
    are faster, in blocks that the cache holds: `bench/attention.py` measures both. Their logits
    are rounded to bf16, those of the fused kernel are not.

    Args:
        q: (B, H, N, D).
        k, v: (B, H, L, D).
        mask: added to the logits, or bool, true to attend; broadcast to (B, H, N, L).

    Returns:
        (B, H, N, D), in the type of v.
    """
    if q.dtype is not torch.bfloat16 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    if not torch.is_grad_enabled() and (mask is None or mask.shape[-2] == 1):
        return _blocked(q, k, v, mask)
    if q.shape[-2] * k.shape[-2] > LARGEST_PLAIN:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    logits = ((q * q.shape[-1] ** -0.5) @ k.mT).float()
    if mask is not None:
        logits = logits + _added(mask)
    return logits.softmax(-1).to(v.dtype) @ v


def _blocked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Some heads and some queries at a time, under a mask that is the same for all queries."""
    batch, heads, queries, width = q.shape
    keys = k.shape[-2]
    q_GND = (q * width**-0.5).flatten(0, 1)
    k_GLD, v_GLD = (x.contiguous().flatten(0, 1) for x in (k, v))
    mask_G1L = None if mask is None else _added(mask).expand(batch, heads, 1, keys).flatten(0, 1)
    rows = min(queries, max(ROWS, BLOCK // keys))
    group = max(1, BLOCK // (rows * keys))
    out_GND = v.new_empty(batch * heads, queries, v.shape[-1])
    for start in range(0, batch * heads, group):
        some = slice(start, start + group)
        for first in range(0, queries, rows):
            block = some, slice(first, first + rows)
            logits = q_GND[block] @ k_GLD[some].mT
            if mask_G1L is not None:
                logits += mask_G1L[some]
            out_GND[block] = logits.softmax(-1) @ v_GLD[some]
    return out_GND.unflatten(0, (batch, heads))


def _added(mask: Tensor) -> Tensor:
    """A mask as it is added to the logits."""
    if mask.dtype is not torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -math.inf)
