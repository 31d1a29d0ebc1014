"""The exponential moving average of the trained weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from kinema.training.distributed import local


class EMA:
    """Averages the named parameters of a module; decays by min(d, (1 + n) / (10 + n)) in update n.

    Args:
        module: its parameters are read at every update.
        names: which of them.
        decay: d.
    """

    def __init__(self, module: nn.Module, names: set[str], decay: float) -> None:
        self.decay = decay
        parameters = dict(module.named_parameters())
        self.average: dict[str, Tensor] = {n: parameters[n].detach().clone() for n in sorted(names)}
        self.average["updates"] = torch.zeros((), dtype=torch.int64)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Moves the average towards the module's weights."""
        n = int(self.average["updates"])
        weight = 1 - min(self.decay, (1 + n) / (10 + n))
        for name, parameter in module.named_parameters():
            if name in self.average:
                local(self.average[name]).lerp_(local(parameter.detach()), weight)
        self.average["updates"] += 1

    @contextlib.contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """The module holds the average inside the block and its own weights again after it."""
        self._swap(module)
        try:
            yield
        finally:
            self._swap(module)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Overwrites the module's weights with the average."""
        for name, parameter in module.named_parameters():
            if name in self.average:
                parameter.copy_(self.average[name])

    @torch.no_grad()
    def _swap(self, module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            if name in self.average:
                held = parameter.detach().clone()
                parameter.copy_(self.average[name])
                self.average[name] = held
