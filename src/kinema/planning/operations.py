"""What single operations of torch take: floating-point operations, and bytes read and written.

Operations come in kinds, because a machine has a rate of its own for each of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload

from kinema.planning.meters import FORMULAS

Kind = Literal[
    "matmul", "convolution", "images", "attention", "plain", "function", "series", "strided"
]
PRODUCTS = ("matmul", "convolution", "images", "attention")  # images: by kernels of two dimensions
SMALL = 20_480  # product of the first four sizes, up to which torch has a kernel of its own
SHORT_CHUNK = 64  # bytes below which pieces are not copied as blocks
FRESH = 2**25  # bytes from which the allocator of a process asks the system for new pages

FREE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh"}
# Exponentials, roots, and whatever goes over the numbers more than once.
FUNCTIONS = {
    *("exp", "exp2", "expm1", "log", "log2", "log1p", "sigmoid", "silu", "elu", "softplus"),
    *("sqrt", "rsqrt", "silu_backward", "sigmoid_backward", "where", "masked_fill"),
    *("sum", "mean", "amax", "amin", "max", "min", "any", "all", "var", "std", "var_mean", "prod"),
    *("norm", "linalg_vector_norm", "cumsum", "cumprod", "argmax", "argmin", "sort", "topk"),
    *("_softmax", "_log_softmax", "_softmax_backward_data", "_log_softmax_backward_data"),
    *("native_layer_norm", "native_group_norm", "native_batch_norm", "_fused_rms_norm"),
    *("native_layer_norm_backward", "native_group_norm_backward", "native_batch_norm_backward"),
}
SERIES = {"sin", "cos", "tan", "tanh", "atan2", "erf", "gelu", "gelu_backward", "tanh_backward"}


class Operation(NamedTuple):
    """One operation, without what it computes.

    Attributes:
        kind: which rate of a machine it runs at.
        dtype: of what it makes, as ``bfloat16``.
        flops: of products; 0 for all others.
        bytes: read and written.
        fresh: of the bytes that it allocates, those on pages that were not there before.
        workspace: bytes that are needed beside operands and results while it runs.
    """

    kind: Kind
    dtype: str
    flops: int
    bytes: int
    fresh: int
    workspace: int

    @property
    def size(self) -> int:
        """What a machine's rate depends on: FLOP of products, bytes of all others."""
        return self.flops if self.kind in PRODUCTS else self.bytes


def operation(
    function: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any
) -> Operation | None:
    """What a call of an operator took; None if it moved nothing, as views do.

    A convolution is taken to work on copies of its operands in a layout of its own, as those of
    oneDNN and cuDNN do; a small one in float32 as torch's own does, on all patches side by side.

    Args:
        function: the operator.
        args, kwargs: what it was called with.
        out: what it returned.
    """
    name = function.overloadpacket.__name__
    if function.is_view or name in FREE:
        return None
    read = {key: value for key, value in kwargs.items() if key != "out"}
    given, made = list(tensors((args, read))), list(tensors(out))
    if not made:
        return None
    moved = sum(map(bytes_of, given)) + sum(map(bytes_of, made))
    dtype = str(made[0].dtype).removeprefix("torch.")
    there = {x.untyped_storage()._cdata for x in tensors((args, kwargs))}
    new = [bytes_of(x) for x in made if x.untyped_storage()._cdata not in there]
    formula, workspace = FORMULAS.get(function.overloadpacket), 0
    if formula is None:
        flops, kind = 0, kind_of(name, given, made[0])
    else:
        flops, kind = int(formula(*args, **kwargs, out_val=out)), product(name, args)
    if kind in ("convolution", "images"):
        copies = [unrolled(args[0], args[1], out)] if is_unrolled(name, args) else [*given, *made]
        sizes = [x if isinstance(x, int) else bytes_of(x) for x in copies]
        workspace, new = sum(sizes), new + sizes
    fresh = sum(size for size in new if size >= FRESH)
    return Operation(kind, dtype, flops, moved, fresh, workspace)


def is_unrolled(name: str, args: tuple[Any, ...]) -> bool:
    """Whether torch's processor kernel, not oneDNN's, computes a convolution: a small one."""
    if "backward" in name:
        return False
    x, weight, groups = args[0], args[1], args[8]
    is_small = x.shape[:4].numel() <= SMALL and max(weight.shape[2:]) <= 3
    return x.dtype is torch.float32 and x.shape[0] == groups == 1 and is_small


def unrolled(x: Tensor, weight: Tensor, out: Tensor) -> int:
    """Bytes of the patches under the kernel of a small convolution, at all places."""
    patch = weight.shape[1:].numel()
    return patch * out.shape[2:].numel() * x.element_size() if weight[0, 0].numel() > 1 else 0


def product(name: str, args: tuple[Any, ...]) -> Kind:
    """The kind of an operation that multiplies and adds."""
    if "convolution" in name:
        weight = args[2 if "backward" in name else 1]
        return "images" if weight.ndim == 4 else "convolution"
    return "attention" if "attention" in name else "matmul"


def kind_of(name: str, given: list[Tensor], made: Tensor) -> Kind:
    """The kind of an operation that is no product."""
    in_place = name.endswith("_") and not name.startswith("_")
    name = name.removesuffix("_") if in_place else name
    if name in SERIES:
        return "series"
    if name in FUNCTIONS:
        return "function"
    if name in ("cat", "stack"):
        is_strided = any(_chunk(x, made) < SHORT_CHUNK for x in given if x.numel())
    else:
        # What lies in memory in another order than the result, or in crumbs, is not streamed.
        alike = [x for x in (*given, made) if x.shape == made.shape and 0 not in x.stride()]
        is_strided = any(_order(x) != _order(made) or _run(x) < SHORT_CHUNK for x in alike)
    return "strided" if is_strided else "plain"


def _order(x: Tensor) -> list[int]:
    """The dimensions that are longer than 1, as they follow one another in memory."""
    return sorted((d for d, size in enumerate(x.shape) if size > 1), key=x.stride, reverse=True)


def _run(x: Tensor) -> float:
    """Bytes that lie side by side; without end if the whole does."""
    run = 1
    for dimension in reversed(_order(x)):
        if x.stride(dimension) != run:
            return run * x.element_size()
        run *= x.shape[dimension]
    return math.inf


def _chunk(piece: Tensor, whole: Tensor) -> int:
    """Bytes of a piece of a concatenation or a stack that lie side by side in the whole."""
    if piece.ndim < whole.ndim:
        rests = [whole.shape[:d] + whole.shape[d + 1 :] for d in range(whole.ndim)]
        first = max(d for d, rest in enumerate(rests) if rest == piece.shape)
    else:
        differing = (d for d in range(whole.ndim) if piece.shape[d] != whole.shape[d])
        first = next(differing, 0)
    return piece.shape[first:].numel() * piece.element_size()


def bytes_of(x: Tensor) -> int:
    """Bytes that are touched when a tensor is read; what is repeated is read once."""
    return min(x.numel() * x.element_size(), x.untyped_storage().nbytes())


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in arguments or results, however nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors(getattr(value, field.name))
