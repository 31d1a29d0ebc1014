"""Named places in a network where a hook may look at or replace an attention.

A network names each of its attentions once; `attend` asks the active hooks before it computes.
Hooks are active inside ``with hooked(hook): ...``, for every thread of the process; the same
mechanism records.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from torch import Tensor

from kinema.nn.attention import attention


class Site(NamedTuple):
    """A place: the module's name in its network (``transformer_blocks.3.attn1``) and its kind.

    The kind is ``self`` or ``cross``.
    """

    name: str
    kind: str


class AttentionHook(Protocol):
    """Called with q, k, v (B, heads, N, D) and the additive or boolean mask.

    Returns what takes the attention's place, like q; None leaves it to others.
    """

    def __call__(
        self, site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor | None: ...


_active: list[AttentionHook] = []


@contextlib.contextmanager
def hooked(hook: AttentionHook) -> Iterator[None]:
    """Makes an attention hook active inside the block; the innermost is asked first."""
    _active.append(hook)
    try:
        yield
    finally:
        _active.remove(hook)


def attend(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention (B, heads, N, D), or what an active hook puts in its place."""
    for hook in reversed(_active):
        out = hook(site, q, k, v, mask)
        if out is not None:
            return out
    return attention(q, k, v, mask)
