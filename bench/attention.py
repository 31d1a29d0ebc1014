"""Attention forward and backward on one CPU thread: ours against torch's, alternating, medians.

python bench/attention.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.nn.attention import attention

SHAPES = ((16, 6, 252, 48), (16, 4, 252, 64), (4, 8, 1024, 64))
ROUNDS = 7


def seconds(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], gradient: Tensor) -> float:
    """Time of one forward and backward."""
    begin = time.perf_counter()
    function(*inputs).backward(gradient)
    return time.perf_counter() - begin


def main() -> None:
    """One line per shape and type: medians in milliseconds, their ratio, the largest difference."""
    torch.set_num_threads(1)
    for dtype in (torch.bfloat16, torch.float32):
        for shape in SHAPES:
            generator = torch.Generator().manual_seed(0)
            q, k, v, gradient = (
                torch.randn(shape, generator=generator).to(dtype).requires_grad_() for _ in range(4)
            )
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(seconds(lambda *x: attention(*x, None), (q, k, v), gradient))
                theirs.append(seconds(F.scaled_dot_product_attention, (q, k, v), gradient))
            a, b = statistics.median(ours[1:]), statistics.median(theirs[1:])
            apart = attention(q, k, v, None) - F.scaled_dot_product_attention(q, k, v)
            print(
                f"{str(dtype).removeprefix('torch.')} {shape}: {1e3 * a:.1f} ms, "
                f"torch {1e3 * b:.1f} ms, ratio {a / b:.2f}, "
                f"difference {float(apart.detach().abs().max()):.1e}"
            )


if __name__ == "__main__":
    main()
