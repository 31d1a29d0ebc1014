"""Attention in bf16 agrees with torch's in float32, however it is computed, under every mask."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kinema.nn import attention as module
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


@torch.no_grad()
@pytest.mark.parametrize("kind", ["none", "added", "bool"])
@pytest.mark.parametrize(("block", "rows"), [(2**20, 512), (2 * 16 * 40, 1), (7 * 40, 7)])
def test_blocks_agree_with_float32_of_torch(
    monkeypatch: pytest.MonkeyPatch, kind: str, block: int, rows: int
) -> None:
    """All heads at once, two heads at a time, seven and at last two of the 16 queries of a head."""
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(module, "ROWS", rows)
    generator = torch.Generator().manual_seed(5)
    q, k, v = (
        torch.randn(3, length, 5, 8, generator=generator).bfloat16().transpose(1, 2)
        for length in (16, 40, 40)
    )
    added = torch.randn(3, 1, 1, 40, generator=generator)
    mask = {"none": None, "added": added, "bool": added > 0}[kind]
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask)
    out = attention(q, k, v, mask)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, atol=3e-2, rtol=3e-2)


@torch.no_grad()
def test_a_mask_of_queries_and_keys_holds_without_gradients_too() -> None:
    q, k, v, mask = rows(torch.bfloat16)
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask)
    torch.testing.assert_close(attention(q, k, v, mask).float(), expected, atol=3e-2, rtol=3e-2)
