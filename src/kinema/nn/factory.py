"""Where a module makes its tensors, and of which type: torch's factory arguments."""

from __future__ import annotations

from typing import TypedDict

import torch


class Factory(TypedDict, total=False):
    """What every module takes, as ``**factory: Unpack[Factory]``, and hands on to all it makes.

    What is left out is torch's default.
    """

    device: torch.device | str | None
    dtype: torch.dtype | None


def multiplies_bfloat16(device: torch.device | str) -> bool:
    """Whether a device has instructions for products in bfloat16; without them it is slow."""
    kind = torch.device(device).type
    if kind == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return kind == "cuda" and torch.cuda.is_bf16_supported()
