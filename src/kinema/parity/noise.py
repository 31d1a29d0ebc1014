"""Noise that was recorded, for what draws in a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kinema.noise import Noise


@dataclass(frozen=True)
class Recorded(Noise):
    """Noise whose every stream is `value`, (B, ...)."""

    value: Tensor

    def normal(self, shape: Sequence[int], stream: str) -> Tensor:
        """The recorded tensor, repeated to `shape`."""
        return self.value.expand(tuple(shape))


def recorded_noise(value: Tensor) -> Recorded:
    """The noise of a batch whose rows drew `value`, (B, ...)."""
    return Recorded(0, tuple(range(len(value))), value)
