"""The four kinds of condition, and the mapping that carries them to a network.

Letters: B batch, L tokens of the condition, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A sequence that is attended to: x (B, L, D); mask (B, L), 1 or true keep, 0 or false drop."""

    x: Tensor
    mask: Tensor | None = None
    null: Tokens | None = None

    def chunk(self, count: int) -> tuple[Tokens, ...]:
        """The rows in `count` equal parts, without their nulls."""
        masks = (None,) * count if self.mask is None else self.mask.chunk(count)
        return tuple(Tokens(x=x, mask=mask) for x, mask in zip(self.x.chunk(count), masks))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Values joined to the input, one per place of the state: x (B, D, ...)."""

    x: Tensor
    null: Grid | None = None


@dataclass(frozen=True, kw_only=True)
class Vector:
    """One vector per sample: x (B, D)."""

    x: Tensor
    null: Vector | None = None


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Tokens for named places in the network: {site: Tokens}."""

    sites: Mapping[str, Tokens]
    null: Bank | None = None


Condition = Tokens | Grid | Vector | Bank
C = TypeVar("C", Tokens, Grid, Vector, Bank)


class Conditions(Mapping[str, Condition]):
    """Named conditions of one batch; each entry carries the *null* that `drop` swaps in."""

    def __init__(self, entries: Mapping[str, Condition]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Condition:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def of(self, kind: type[C], name: str) -> C:
        """The entry `name`, which must be of this kind."""
        entry = self[name]
        assert isinstance(entry, kind), (
            f"condition {name!r} is {type(entry).__name__}, not {kind.__name__}"
        )
        return entry

    def drop(self, names: Iterable[str]) -> Conditions:
        """A copy in which the named entries are replaced by their null."""
        dropped = dict(self._entries)
        for name in names:
            null = self[name].null
            assert null is not None, f"condition {name!r} has no null"
            dropped[name] = null
        return Conditions(dropped)
