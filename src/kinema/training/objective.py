"""Objectives: who is trained, in which turns, by which loss."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from kinema.noise import Noise

Batch = Mapping[str, Any]
Logs = Mapping[str, Tensor]


class Objective(nn.Module):
    """Holds the networks that take part (as submodules) and gives each player its loss.

    A subclass sets `players` and writes `loss` and `held_out`; state of its own goes into buffers,
    so that a checkpoint of the module holds everything. All players of a step see the same batch,
    in the order of `turns`.
    """

    players: Mapping[str, tuple[str, ...]]
    """{player: patterns of the names of the parameters that it trains}"""
    couples_batch: str = ""
    """Why rows of a batch cannot be split into micro-batches; empty if they can."""
    gathers_rows: bool = False
    """Whether `loss` gathers the rows that it couples, so that several processes may hold them."""
    equal_calls: bool = False
    """Whether batches of equally many rows call the networks equally often, whatever is in them."""

    rates: Mapping[str, float] = MappingProxyType({})
    """{name of a parameter: factor of its learning rate}; 1 where there is none."""

    def turns(self, step: int) -> tuple[str, ...]:
        """The players that move in this step."""
        return tuple(self.players)

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The scalar that `player` minimizes on this batch, and numbers to log."""
        raise NotImplementedError

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """Numbers on a batch that was not trained on; no gradient is taken."""
        raise NotImplementedError

    def trained(self, player: str) -> dict[str, nn.Parameter]:
        """The parameters of a player by name; every one belongs to one player at most."""
        patterns = self.players[player]
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        }
