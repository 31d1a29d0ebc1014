"""Attention on short bf16 sequences agrees with torch's, with and without masks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kinema.nn.attention import LARGEST_PLAIN, attention


def rows(dtype: torch.dtype, length: int = 20) -> tuple[torch.Tensor, ...]:
    """q, k, v and an additive mask."""
    generator = torch.Generator().manual_seed(3)
    q = torch.randn(2, 3, 16, 8, generator=generator)
    k, v = (torch.randn(2, 3, length, 8, generator=generator) for _ in range(2))
    mask = torch.randn(2, 1, 16, length, generator=generator)
    return q.to(dtype), k.to(dtype), v.to(dtype), mask


@pytest.mark.parametrize("kind", ["none", "added", "bool"])
def test_bf16_agrees_with_float32_of_torch(kind: str) -> None:
    q, k, v, added = rows(torch.bfloat16)
    mask = {"none": None, "added": added, "bool": added > 0}[kind]
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask)
    torch.testing.assert_close(attention(q, k, v, mask).float(), expected, atol=3e-2, rtol=3e-2)


def test_float32_is_torchs() -> None:
    q, k, v, mask = rows(torch.float32)
    assert torch.equal(
        attention(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    )


def test_long_sequences_take_the_fused_kernel() -> None:
    q, k, v, _ = rows(torch.bfloat16, length=LARGEST_PLAIN // 16 + 1)
    assert torch.equal(attention(q, k, v, None), F.scaled_dot_product_attention(q, k, v))
