"""Runs code on the meta device and keeps the books: what it computes, and the memory that it holds.

Whatever runs there runs here, with its own control flow: a generation, a step of training. Tensors
on the meta device have no values. Where code asks for one it gets 1, or true; what it moves to
another device stays where it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from kinema.planning.operations import Operation, operation, tensors

ATEN = torch.ops.aten
META = torch.device("meta")
REST = ""  # the role of what no network does
CODING = ("encode", "decode")  # of codecs, which compute outside of `forward` too


@dataclass
class Cost:
    """What the calls of one network took.

    Attributes:
        calls: how many there were.
        operations: what they did; of each how often.
        activations: bytes that one of them held at most, beside what was there before.
    """

    calls: int = 0
    operations: Counter[Operation] = field(default_factory=Counter)
    activations: int = 0

    @property
    def flops(self) -> int:
        """Floating-point operations; a multiplication with its addition counts as two."""
        return sum(count * done.flops for done, count in self.operations.items())


@dataclass(frozen=True)
class Known:
    """A call that was made before, and need not be run again."""

    operations: Counter[Operation]
    activations: int
    shape: torch.Size
    dtype: torch.dtype


class Rehearsal:
    """Inside a ``with`` block, counts what is done on the meta device.

    Without gradients a network is run once for each set of shapes that it is called with; further
    calls are counted by the first. So steps of a sampler that skip an attention are counted whole.
    What the meta device stands for is told outside: see `stand_in.py`.

    Args:
        networks: {role: network} on the meta device, whose calls are told apart.

    Attributes:
        costs: by role; what no network does has the role `REST`.
        weights: bytes of the networks.
        live: bytes that are held.
        peak: bytes that were held at most, weights included.
    """

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self.networks = dict(networks)
        self.costs = defaultdict(Cost, {role: Cost() for role in (*networks, REST)})
        self.live = self.peak = 0
        self._held: dict[int, weakref.ref[Any]] = {}
        self._role = REST
        self._known: dict[Any, Known] = {}
        self._modes = contextlib.ExitStack()
        for network in self.networks.values():
            self.hold(*network.parameters(), *network.buffers())
        self.weights = self.live

    def __enter__(self) -> Self:
        for role, network in self.networks.items():
            for module in network.modules():
                self._watch(role, module, "forward")
            for name in CODING:
                if hasattr(network, name):
                    self._watch(role, network, name)
        self._modes.enter_context(_FusedAttention())
        self._modes.enter_context(_Booked(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._modes.close()

    @contextlib.contextmanager
    def within(self, role: str) -> Iterator[None]:
        """Whatever is done inside the block has this role."""
        before, self._role = self._role, role
        try:
            yield
        finally:
            self._role = before

    def book(self, done: Operation | None, made: Iterable[Tensor]) -> None:
        """Notes an operation and what it made."""
        self.hold(*made)
        if done is not None:
            self.costs[self._role].operations[done] += 1
            self.peak = max(self.peak, self.live + done.workspace)

    def hold(self, *held: Tensor) -> None:
        """Counts the memory of tensors until they are gone."""
        for tensor in held:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key in self._held:
                continue
            self._held[key] = weakref.ref(storage, partial(self._freed, key, size))
            self.live += size
        self.peak = max(self.peak, self.live)

    def _freed(self, key: int, size: int, storage: object) -> None:
        del self._held[key]
        self.live -= size

    def _watch(self, role: str, module: nn.Module, name: str) -> None:
        """Counts the calls of a method that come from outside the networks."""
        method = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._role != REST:
                return method(*args, **kwargs)
            self.costs[role].calls += 1
            key = None if torch.is_grad_enabled() else (id(module), name, shapes((args, kwargs)))
            if key in self._known:
                return self._again(self.costs[role], self._known[key])
            self.hold(*(x for x in tensors((args, kwargs)) if x.is_meta))
            return self._first(role, key, lambda: method(*args, **kwargs))

        setattr(module, name, call)
        self._modes.callback(module.__dict__.pop, name, None)

    def _first(self, role: str, key: Any, call: Callable[[], Any]) -> Any:
        cost = self.costs[role]
        before, entry, highest = cost.operations.copy(), self.live, self.peak
        self.peak = entry
        with self.within(role):
            out = call()
        activations, self.peak = self.peak - entry, max(highest, self.peak)
        cost.activations = max(cost.activations, activations)
        if key is not None and isinstance(out, Tensor):
            done = cost.operations - before
            self._known[key] = Known(done, activations, out.shape, out.dtype)
        return out

    def _again(self, cost: Cost, known: Known) -> Tensor:
        cost.operations.update(known.operations)
        self.peak = max(self.peak, self.live + known.activations)
        return torch.empty(known.shape, dtype=known.dtype, device=META)


class _Booked(TorchDispatchMode):
    """Books what operators do to tensors on the meta device."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        super().__init__()
        self.rehearsal = rehearsal

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if any(x.is_meta for x in tensors((args, kwargs))):
            if func is ATEN._local_scalar_dense.default:
                return {torch.bool: True, torch.int64: 1}.get(args[0].dtype, 1.0)
            if func is ATEN._to_copy.default:
                kwargs["device"] = META
        with self:  # without gradients operators arrive that are made of others: these count
            out = func.decompose(*args, **kwargs)
        if out is NotImplemented:
            out = func(*args, **kwargs)
            made = [x for x in tensors(out) if x.is_meta]
            if made:
                self.rehearsal.book(operation(func, args, kwargs, out), made)
        return out


class _FusedAttention(TorchFunctionMode):
    """Attention on the meta device is one operator, as on devices that compute."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is not F.scaled_dot_product_attention or not args[0].is_meta:
            return func(*args, **kwargs)
        return _fused(*args, **kwargs)


def _fused(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The operator of the CPU; its results are like those of flash attention elsewhere."""
    if enable_gqa:
        k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    if q.ndim == 3:
        return _fused(q[None], k[None], v[None], attn_mask, dropout_p, is_causal, scale)[0]
    mask = None if attn_mask is None else attn_mask.to(q.dtype)
    call = ATEN._scaled_dot_product_flash_attention_for_cpu
    return call(q, k, v, 0.0, is_causal, attn_mask=mask, scale=scale)[0]


def shapes(value: Any) -> Any:
    """What a network's work depends on in its arguments: shapes and types, and plain values."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, tuple(value.stride())
    if isinstance(value, Mapping):
        return tuple((key, shapes(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(shapes, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple(shapes(getattr(value, f.name)) for f in dataclasses.fields(value))
    return value if isinstance(value, str | int | float | None) else id(value)
