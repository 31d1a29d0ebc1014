"""Perturbed branches: a network that skips parts of some layers.

Spatio-temporal guidance (arXiv 2411.18664) moves away from what such a network predicts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from kinema.nn.attention import attention
from kinema.nn.sites import Site, hooked

Rows = Mapping[str, Tensor]


@contextlib.contextmanager
def attention_values(rows: Rows) -> Iterator[None]:
    """Attention returns its values: every token attends to itself alone.

    Args:
        rows: {site name: (B,) or (1,) bool, true where the sample is perturbed}.
    """

    def hook(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor | None:
        if site.name not in rows:
            return None
        perturbed = rows[site.name].to(v.device)
        if perturbed.all():
            return v
        out = attention(q, k, v, mask)
        return torch.where(perturbed[:, None, None, None], v, out)

    with hooked(hook):
        yield


@contextlib.contextmanager
def attention_skip(attentions: Mapping[nn.Module, Tensor]) -> Iterator[None]:
    """The input of an attention takes the place of what its heads return.

    The output projection still acts on it.

    Args:
        attentions: {module with `to_out`: (B,) or (1,) bool, true where the sample is perturbed}.
    """
    with contextlib.ExitStack() as stack:
        for module, perturbed in attentions.items():
            stack.enter_context(_replace_before(module, module.get_submodule("to_out"), perturbed))
        yield


@contextlib.contextmanager
def block_skip(blocks: Mapping[nn.Module, Tensor]) -> Iterator[None]:
    """A block returns its input.

    Args:
        blocks: {module whose first argument is the state: (B,) or (1,) bool, true where the
            sample is perturbed}.
    """
    handles = [
        block.register_forward_hook(lambda _, args, out, rows=rows: _where(rows, args[0], out))
        for block, rows in blocks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _replace_before(source: nn.Module, target: nn.Module, rows: Tensor) -> Iterator[None]:
    held: list[Tensor] = []

    def hold(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        held.append(args[0])

    def swap(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (_where(rows, held.pop(), args[0]),)

    handles = [source.register_forward_pre_hook(hold), target.register_forward_pre_hook(swap)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _where(rows: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(rows.to(x.device).reshape(-1, *(1,) * (x.ndim - 1)), x, y)
