"""The objective of generators: a process's loss under the conditions that the system prepares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from kinema.condition import Conditions
from kinema.config import config
from kinema.noise import Noise
from kinema.processes.process import Predict, Process
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.recipe import Recipe

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # shares of noise in the state


@config
class TextRecipe(Recipe):
    """How a generator from text is trained.

    Args:
        text_drop: share of the samples that are learned without their text.
    """

    text_drop: float


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A batch as a process learns from it.

    Args:
        x0: clean states (B, ...).
        conditions: what they are predicted under.
        noise: of the rows.
    """

    x0: Tensor
    conditions: Conditions
    noise: Noise


P = TypeVar("P", bound=Prepared)


class DenoisingObjective(Objective, Generic[P]):
    """One player, ``generator``, which owns all networks given.

    Args:
        networks: {role: network}, all trained together.
        predict: the role that predicts.
        process: how noise is added and what is learned.
        prepare: ``(batch, noise)`` makes what is learned from; it also drops conditions at random.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        *,
        predict: str,
        process: Process,
        prepare: Callable[[Batch, Noise], P],
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))
        self.role, self.process, self.prepare = predict, process, prepare
        self.players = {"generator": ("networks.*",)}
        # A subclass with a loss of its own may take the rows of a batch in several parts.
        self.equal_calls = type(self).loss is DenoisingObjective.loss

    @property
    def predict(self) -> Predict:
        """The network that predicts."""
        return self.networks[self.role]

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The process's loss at random times, the mean over the rows."""
        prepared = self.prepare(batch, noise)
        return self.loss_at(prepared, self.process.times(prepared.x0, prepared.noise))

    def loss_at(self, prepared: P, time: Tensor) -> tuple[Tensor, Logs]:
        """The process's loss at times (B,), with its logs; see `Process.loss_at`."""
        x0, time = prepared.x0, time.to(prepared.x0.device)
        return self.process.loss_at(self.predict, x0, prepared.conditions, prepared.noise, time)

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """The loss at five noise levels, and the means over them of it and of the trivial loss."""
        prepared = self.prepare(batch, noise)
        logs: dict[str, Tensor] = {}
        trivial = []
        for level in LEVELS:
            rows, device = len(prepared.x0), prepared.x0.device
            time = torch.full((rows,), self.process.level(level), device=device)
            at = self.loss_at(prepared, time)[1]
            logs[f"loss/t={level}"] = at["loss"]
            trivial.append(at["trivial"])
        logs["loss"] = torch.stack([logs[f"loss/t={level}"] for level in LEVELS]).mean()
        logs["trivial"] = torch.stack(trivial).mean()
        return logs
