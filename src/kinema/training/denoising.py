"""The objective of generators: a process's loss under the conditions that the system prepares."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from kinema.condition import Conditions
from kinema.noise import Noise
from kinema.processes.process import Predict, Process
from kinema.training.objective import Batch, Logs, Objective

Prepare = Callable[[Batch, Noise], tuple[Tensor, Conditions]]
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # shares of noise in the state


class DenoisingObjective(Objective):
    """One player, ``generator``, which owns all networks given.

    Args:
        networks: {role: network}, all trained together.
        predict: the role that predicts.
        process: how noise is added and what is learned.
        prepare: ``(batch, noise) -> (x0, conditions)``; it also drops conditions at random.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], *, predict: str, process: Process, prepare: Prepare
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))
        self.role, self.process, self.prepare = predict, process, prepare
        self.players = {"generator": ("networks.*",)}

    @property
    def predict(self) -> Predict:
        """The network that predicts."""
        return self.networks[self.role]

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The process's loss at random times."""
        x0, conditions = self.prepare(batch, noise)
        return self.process.loss(self.predict, x0, conditions, noise)

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """The loss at five noise levels, and the means over them of it and of the trivial loss."""
        x0, conditions = self.prepare(batch, noise)
        logs: dict[str, Tensor] = {}
        trivial = []
        for level in LEVELS:
            time = torch.full((len(x0),), self.process.level(level), device=x0.device)
            _, at = self.process.loss_at(self.predict, x0, conditions, noise, time)
            logs[f"loss/t={level}"] = at["loss"]
            trivial.append(at["trivial"])
        logs["loss"] = torch.stack([logs[f"loss/t={level}"] for level in LEVELS]).mean()
        logs["trivial"] = torch.stack(trivial).mean()
        return logs
