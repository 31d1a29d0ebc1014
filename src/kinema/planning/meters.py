"""Meters of what a call costs: operations, seconds, and the memory that training it needs.

They measure one call as it happens, on whatever device its tensors are; with tensors on the meta
device operations and activations are counted without computing anything.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

Shape = tuple[int, ...]
WARM_UP = 2  # calls that are not timed


def flops(call: Callable[..., object], *inputs: object) -> int:
    """Floating-point operations of one call; a multiplication with its addition counts as two.

    Counted are products of matrices, convolutions and attention, forward and, where the call
    takes gradients, backward; what is done element by element is not.

    Args:
        call: a module or any callable.
        inputs: what it is called with.
    """
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        call(*inputs)
    return int(counter.get_total_flops())


def _attention(q: Shape, k: Shape, v: Shape, *rest: object, **more: object) -> int:
    return int(sdpa_flop_count(q, k, v))


def _attention_backward(
    gradient: Shape, q: Shape, k: Shape, v: Shape, *rest: object, **more: object
) -> int:
    return int(sdpa_backward_flop_count(gradient, q, k, v))


# torch counts no attention on the CPU, so that one network would cost less there.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
FORMULAS: dict[Any, Callable[..., int]] = FlopCounterMode(
    display=False, custom_mapping=CPU_ATTENTION
).flop_registry
"""{operator: its operations from arguments and result (`out_val`)}."""


def latency(call: Callable[[], object], repeats: int) -> float:
    """Seconds of a call: the median of `repeats`, 1 or more, after calls that warm up.

    On an accelerator the time is that until all work is done.
    """
    assert repeats >= 1, f"{repeats} repeats"
    seconds = []
    for repeat in range(WARM_UP + repeats):
        begin = time.perf_counter()
        call()
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        if repeat >= WARM_UP:
            seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def resident_peak() -> int:
    """Bytes that this process has had in memory at most.

    Where Linux tells, what its parent had is left out, which the resource usage of a process that
    was started by another includes.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (peak,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(peak.split()[1])
    import resource  # there is none on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def saved_activations(call: Callable[..., object], *inputs: object) -> int:
    """Bytes that autograd keeps from a call until its gradient is taken.

    Every storage counts once and in full, however many operations keep it or a view of it; inputs
    count where they are kept, parameters do not.

    Args:
        call: a module or any callable.
        inputs: what it is called with.
    """
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        owner = tensor if tensor._base is None else tensor._base
        if not isinstance(owner, nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        call(*inputs)
    return sum(storage.nbytes() for storage in kept.values())
