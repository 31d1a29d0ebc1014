"""Autocast to bfloat16 for the meta device, for which torch has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# What torch's autocast computes in the lower precision.
LOWERED: frozenset[Callable[..., Any]] = frozenset(
    (
        *(F.linear, F.conv1d, F.conv2d, F.conv3d, F.scaled_dot_product_attention),
        *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
        *(torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm),
        *(Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm),
    )
)


class Autocast(TorchFunctionMode):
    """Inside a ``with`` block products take bfloat16; a weight is cast once and kept until its end.

    Products inside `torch.nn.MultiheadAttention` stay as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cast: dict[int, Tensor] = {}

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._cast.clear()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),  # default kept: torch calls it
        kwargs: Mapping[str, Any] | None = None,  # default kept: torch calls it
    ) -> Any:
        given = dict(kwargs or {})
        if func in LOWERED:
            args = tuple(map(self._lowered, args))
            given = {name: self._lowered(value) for name, value in given.items()}
        return func(*args, **given)

    def _lowered(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype is not torch.float32:
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.bfloat16()
        if id(value) not in self._cast:
            self._cast[id(value)] = value.bfloat16()
        return self._cast[id(value)]
