"""What a network with several targets returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """Several targets of one forward pass.

    Attributes:
        value: the target that was asked for first.
        aux: the others by name.
    """

    value: Tensor
    aux: Mapping[str, Tensor]
