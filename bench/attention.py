"""Attention on one CPU thread: ours against torch's, alternating, medians of processor time.

    python bench/attention.py

Forward and backward at lengths that are trained here, forward alone at those that are generated.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.nn.attention import attention

TRAINED = ((16, 6, 252, 48), (16, 4, 252, 64), (4, 8, 1024, 64))  # batch, heads, tokens, width
GENERATED = ((2, 6, 252, 48), (2, 8, 1024, 64), (1, 32, 1920, 64), (1, 4, 8192, 64))
ROUNDS = 7


def seconds(function: Callable[..., Tensor], inputs: tuple[Tensor, ...], trained: bool) -> float:
    """Time of one forward and, if it is trained, backward."""
    begin = time.process_time()
    with torch.set_grad_enabled(trained):
        out = function(*inputs)
    if trained:
        out.backward(torch.ones_like(out))
    return time.process_time() - begin


def main() -> None:
    """One line per shape and type: medians in milliseconds, their ratio, the errors of both."""
    torch.set_num_threads(1)
    for dtype in (torch.bfloat16, torch.float32):
        for shape in TRAINED + GENERATED:
            compare(dtype, shape, shape in TRAINED)


def compare(dtype: torch.dtype, shape: tuple[int, ...], trained: bool) -> None:
    """Errors are of the norm of the result, against float32 without rounded inputs."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(shape, generator=generator) for _ in range(3))
    expected = F.scaled_dot_product_attention(q, k, v)
    q, k, v = (x.to(dtype, copy=True).requires_grad_(trained) for x in (q, k, v))
    functions = {
        "ours": lambda q, k, v: attention(q, k, v, None),
        "torch": F.scaled_dot_product_attention,
    }
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            taken[name].append(seconds(function, (q, k, v), trained))
    ours, theirs = (statistics.median(times[1:]) for times in taken.values())
    with torch.set_grad_enabled(trained):
        errors = [function(q, k, v).detach() - expected for function in functions.values()]
    a, b = (float(error.norm() / expected.norm()) for error in errors)
    print(
        f"{str(dtype).removeprefix('torch.')} {shape} {'trained' if trained else 'generated'}: "
        f"{1e3 * ours:.1f} ms, torch {1e3 * theirs:.1f} ms, ratio {ours / theirs:.2f}, "
        f"errors {a:.1e} and {b:.1e}"
    )


if __name__ == "__main__":
    main()
