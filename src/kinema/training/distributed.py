"""Training by several processes that torchrun started: who they are, and what each of them holds.

Each takes its rows of every batch, and of every parameter its share, with those of gradient,
average and optimizer state (FSDP2, arXiv 2304.11277). In a process that is alone, every function
here gives back what it gets.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh

from kinema.errors import InputError
from kinema.nn.checkpointing import Checkpointed
from kinema.training.objective import Objective

if TYPE_CHECKING:  # half a second, for which a process that is alone need not wait
    from torch.distributed.tensor import DTensor

T = TypeVar("T")
O = TypeVar("O", bound=Objective)  # noqa: E741 (an objective)
PATIENCE = timedelta(hours=12)  # others wait while the first draws a sheet
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
NORM_EPS = 1e-6  # of torch.nn.utils.clip_grad_norm_


# -- who they are ------------------------------------------------------------------------------


@contextlib.contextmanager
def joined(device: str) -> Iterator[None]:
    """Inside the block this process is one of those that torchrun started with it, if it did.

    Args:
        device: where all of them train; of several GPUs each takes its own.

    Raises:
        InputError: they cannot train there together.
    """
    started = int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
    if started == 1:
        yield
        return
    if device not in BACKENDS:
        raise InputError(
            f"{started} processes cannot share --device {device}; use {' or '.join(BACKENDS)}"
        )
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(BACKENDS[device], timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def first() -> bool:
    """Whether this process is the one that writes, draws and speaks."""
    return count() == 1 or dist.get_rank() == 0


def by_first(work: Callable[[], T]) -> T | None:
    """What the first process's work gives, None in the others, which wait for it.

    Raises:
        InputError: the work raised one; it is raised in all of them.
    """
    if count() == 1:
        return work()
    result, refusal = None, None
    if first():
        try:
            result = work()
        except InputError as error:
            refusal = str(error)
    if (said := told(refusal)) is not None:
        raise InputError(said)
    return result


def told(value: T) -> T:
    """The first process's value, in all of them."""
    if count() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def of_all(value: T) -> list[T]:
    """The value of each process."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def turns(number: int) -> range:
    """Which of so many pieces of work are this process's."""
    return range(number) if count() == 1 else range(dist.get_rank(), number, count())


# -- batches -----------------------------------------------------------------------------------


def rows(samples: range) -> tuple[int, ...]:
    """This process's samples of a batch: neighbors, as many as every other process has."""
    if count() == 1:
        return tuple(samples)
    assert len(samples) % count() == 0, "every process has as many rows"
    own = len(samples) // count()
    return tuple(samples[dist.get_rank() * own :][:own])


def gathered(own: Tensor) -> Tensor:
    """The rows of all processes in the order of their samples, from this one's (B, ...).

    The gradient goes to the process that each row comes from.
    """
    return own if count() == 1 else cast(Tensor, _Gathered.apply(own))


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own) for _ in range(count())]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total.chunk(count())[dist.get_rank()]


def mean(value: Tensor) -> Tensor:
    """The mean over the processes of a tensor that each has, without its gradient."""
    if count() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / count()


def means(values: Mapping[str, float]) -> dict[str, float]:
    """The mean over the processes of numbers that each has under the same names."""
    names = sorted(values)
    numbers = torch.tensor([values[name] for name in names], dtype=torch.float64, device="cpu")
    found = dict(zip(names, mean(numbers).tolist()))
    return {name: found[name] for name in values}


# -- shares ------------------------------------------------------------------------------------


def blocks(objective: nn.Module) -> list[nn.Module]:
    """The blocks of all networks that are run by `Checkpointed`, inner ones first.

    They are the entries of the lists of a `Checkpointed`, and of its levels, which are handed the
    way to ``run`` blocks and are none themselves.
    """
    found: list[nn.Module] = []
    for module in objective.modules():
        if isinstance(module, Checkpointed) or _is_level(module):
            lists = (part for part in module.children() if isinstance(part, nn.ModuleList))
            found += (entry for entry in chain(*lists) if not _is_level(entry))
    return found[::-1]


def _is_level(module: nn.Module) -> bool:
    return "run" in inspect.signature(module.forward).parameters


def sharded(objective: O, device: str) -> O:
    """The same objective in which this process holds its share of every parameter.

    The given one loses its values (its tensors are on the meta device) but keeps its form, for
    `gather` to fill. Parameters of one number are held by every process. Where batches may call
    the networks unequally often, all parameters are gathered for a step at once instead of those
    of a block at a time: every process must gather as often as the others.

    Args:
        objective: equal in all processes.
        device: where it is.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    tensors = chain(objective.parameters(), objective.buffers())
    shares = copy.deepcopy(objective, {id(tensor): tensor for tensor in tensors})
    options: dict[str, Any] = {
        "mesh": init_device_mesh(device, (count(),)),
        "reshard_after_forward": True,
        "ignored_params": {p for p in shares.parameters() if p.ndim == 0},
    }
    for block in blocks(shares) if objective.equal_calls else ():
        fully_shard(block, **options)
    fully_shard(shares, **options)
    register_fsdp_forward_method(shares, "loss")
    objective.to_empty(device="meta")
    return shares


def is_shared(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether this process holds a share of a tensor, and not all of it."""
    if count() == 1:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if is_shared(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together from the shares of all processes."""
    return tensor.full_tensor() if is_shared(tensor) else tensor


def share(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's share of a tensor that is whole in all of them, cut as `like` is."""
    if not is_shared(like) or is_shared(tensor) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import DTensor, Replicate

    everywhere = DTensor.from_local(
        tensor.to(like.device), like.device_mesh, [Replicate()], run_check=False
    )
    return everywhere.redistribute(placements=like.placements).clone()


@torch.no_grad()
def gather(shares: nn.Module, instead: Mapping[str, Tensor], into: nn.Module, device: str) -> None:
    """Fills the first process's `into`, which `sharded` emptied, with whole tensors.

    Args:
        shares: what `sharded` made of it.
        instead: tensors to take in the place of those of `shares`, by name.
        into: filled on `device` in the first process, left as it is in the others.
        device: of `shares`.
    """
    if first():
        into.to_empty(device=device)
    places = into.state_dict()
    for name, tensor in shares.state_dict().items():
        value = whole(instead.get(name, tensor))
        if first():
            places[name].copy_(value)


@torch.no_grad()
def average_gradients(parameters: Collection[Tensor]) -> None:
    """Averages over the processes the gradients of what is not shared out; FSDP does the others."""
    for parameter in parameters:
        if parameter.grad is not None and not is_shared(parameter):
            parameter.grad = mean(parameter.grad)


@torch.no_grad()
def clip_gradients(parameters: Collection[Tensor], limit: float) -> Tensor:
    """`torch.nn.utils.clip_grad_norm_` over the shares of all processes; returns the norm."""
    if count() == 1:
        return nn.utils.clip_grad_norm_(parameters, limit)
    gradients = [p.grad for p in parameters if p.grad is not None]
    squares = torch.zeros((), device=next(iter(parameters)).device)
    for gradient in gradients:
        # What every process holds whole is counted once, after the sum over all of them.
        part = 1 if is_shared(gradient) else 1 / count()
        squares += part * local(gradient).square().sum()
    dist.all_reduce(squares)
    norm = squares.sqrt()
    factor = (limit / (norm + NORM_EPS)).clamp(max=1)
    for gradient in gradients:
        local(gradient).mul_(factor)
    return norm
