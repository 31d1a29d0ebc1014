"""Dropout and drop path, drawn from keyed noise.

Sources: Dropout (Srivastava et al., 2014); Deep Networks with Stochastic Depth (arXiv:1603.09382).

Both are the identity in eval mode, at rate 0, and outside of `drawn_from`. What is dropped in a row
depends on the noise's seed, its sample and the name of the module alone, so neither the split of a
batch nor gradient checkpointing changes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

from torch import Tensor, nn

from kinema.errors import InputError
from kinema.noise import Noise

_NOISE: ContextVar[Noise | None] = ContextVar("noise of dropping", default=None)


@contextlib.contextmanager
def drawn_from(noise: Noise | None) -> Iterator[None]:
    """Inside the block modules in training drop what this noise says; nothing if None."""
    token = _NOISE.set(noise)
    try:
        yield
    finally:
        _NOISE.reset(token)


def noise_in_use() -> Noise | None:
    """The noise of the innermost `drawn_from`; None outside."""
    return _NOISE.get()


class Dropping(nn.Module):
    """What dropout and drop path share.

    Args:
        rate: share that is dropped, in [0, 1).
        name: of this module in its network; no other bears it.

    Raises:
        InputError: the rate is out of range.
    """

    def __init__(self, rate: float, name: str) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise InputError(f"the rate of {name} must be in [0, 1), not {rate}")
        self.rate, self.name = rate, name

    def kept(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """x (R, ...) times a mask of R `shape`, scaled so that its mean stays.

        R is a multiple of the samples of the noise; rows of one sample follow one another.
        """
        noise = noise_in_use()
        if not (self.training and self.rate) or noise is None:
            return x
        rows, left = divmod(len(x), len(noise))
        assert not left, f"{self.name}: {len(x)} rows of {len(noise)} samples"
        drawn = noise.uniform((len(noise), rows, *shape), f"drop {self.name}").flatten(0, 1)
        mask = (drawn >= self.rate).to(x) / (1 - self.rate)
        return x * mask

    def extra_repr(self) -> str:
        """What it is made with."""
        return f"rate={self.rate}, name={self.name!r}"


class Dropout(Dropping):
    """Drops single values of x (R, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """x, with a share of its values zero."""
        return self.kept(x, x.shape[1:])


class DropPath(Dropping):
    """Drops a residual (R, ...) in whole rows, so that a block is skipped."""

    def forward(self, x: Tensor) -> Tensor:
        """x, with a share of its rows zero."""
        return self.kept(x, [1] * (x.ndim - 1))


def linear_rates(rate: float, count: int) -> list[float]:
    """Rates of the blocks of a network: from 0 to `rate`, evenly."""
    return [rate * i / max(1, count - 1) for i in range(count)]
