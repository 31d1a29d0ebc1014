"""The objective of generators: a process's loss under the conditions that the system prepares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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
    """Rows of a batch as a process learns from them.

    Args:
        x0: clean states (B, ...).
        conditions: what they are predicted under.
        noise: of these rows.
        strength: (B, N), how firmly each token of x0 is given, as `Process.loss_at` takes it; None
            where nothing is given.
    """

    x0: Tensor
    conditions: Conditions
    noise: Noise
    strength: Tensor | None = None


Prepare = Callable[[Batch, Noise], Sequence[Prepared]]


class DenoisingObjective(Objective):
    """One player, ``generator``, which owns all networks given.

    Args:
        networks: {role: network}, all trained together.
        predict: the role that predicts.
        process: how noise is added and what is learned.
        prepare: ``(batch, noise)`` gives all rows, those with states of another length apart; it
            also drops conditions at random.
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
        """The process's loss at random times, the mean over the rows."""
        parts = self.prepare(batch, noise)
        results = [
            self.process.loss(self.predict, p.x0, p.conditions, p.noise, p.strength) for p in parts
        ]
        losses, logs = zip(*results)
        return _mean(parts, losses), {n: _mean(parts, [log[n] for log in logs]) for n in logs[0]}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """The loss at five noise levels, and the means over them of it and of the trivial loss."""
        parts = self.prepare(batch, noise)
        logs: dict[str, Tensor] = {}
        trivial = []
        for level in LEVELS:
            at = [self._at(level, part) for part in parts]
            logs[f"loss/t={level}"] = _mean(parts, [log["loss"] for log in at])
            trivial.append(_mean(parts, [log["trivial"] for log in at]))
        logs["loss"] = torch.stack([logs[f"loss/t={level}"] for level in LEVELS]).mean()
        logs["trivial"] = torch.stack(trivial).mean()
        return logs

    def _at(self, level: float, part: Prepared) -> Logs:
        time = torch.full((len(part.x0),), self.process.level(level), device=part.x0.device)
        return self.process.loss_at(
            self.predict, part.x0, part.conditions, part.noise, time, part.strength
        )[1]


def _mean(parts: Sequence[Prepared], values: Sequence[Tensor]) -> Tensor:
    """The mean over all rows of what is a mean over the rows of each part."""
    counts = torch.tensor([len(part.x0) for part in parts], device=values[0].device)
    return (counts / counts.sum() * torch.stack(list(values))).sum()
