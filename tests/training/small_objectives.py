"""Objectives of a few numbers, on which the trainer and its checks can be seen through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.recipe import Recipe
from kinema.training.run import Run
from kinema.training.trainer import Trainer

RECIPE = Recipe(
    steps=10,
    batch_size=4,
    learning_rate=0.05,
    warmup=1,
    decay=0.0,
    report_every=5,
    save_every=5,
    held_out=4,
)


class Line(Objective):
    """Fits y = 2 x + 1 under a little noise."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 1)
        nn.init.constant_(self.line.weight, 0.5)
        nn.init.constant_(self.line.bias, 0.0)
        self.players: dict[str, tuple[str, ...]] = {"line": ("line.*",)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        x = batch["x"] + 0.1 * noise.normal(batch["x"].shape, "x")
        loss = (self.line(x) - batch["y"]).square().mean()
        return loss, {"loss": loss.detach()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        return {"loss": self.loss("line", batch, 0, noise)[0]}


class Unused(Line):
    """Trains a layer that nothing passes through."""

    def __init__(self) -> None:
        super().__init__()
        self.line.extra = nn.Linear(2, 2)


class Zeroed(Line):
    """A layer whose gradient is always zero."""

    def __init__(self) -> None:
        super().__init__()
        self.line.extra = nn.Linear(3, 1)

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        loss, logs = super().loss(player, batch, step, noise)
        return loss + 0.0 * self.line.extra(batch["x"]).sum(), logs


class Climbing(Line):
    """The right loss with its gradient reversed."""

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        loss, logs = super().loss(player, batch, step, noise)
        return 2 * loss.detach() - loss, logs


class Exploding(Line):
    """From step 3 on a loss that is finite, with a gradient that is not."""

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        loss, logs = super().loss(player, batch, step, noise)
        if step >= 3:
            loss = loss + (self.line.weight - self.line.weight.detach()).sum().abs().sqrt()
        return loss, logs


class Game(Line):
    """Two players; the second joins at step 4 and mirrors the first."""

    def __init__(self) -> None:
        super().__init__()
        self.mirror = nn.Linear(3, 1)
        nn.init.zeros_(self.mirror.weight)
        nn.init.zeros_(self.mirror.bias)
        self.players["mirror"] = ("mirror.*",)

    def turns(self, step: int) -> tuple[str, ...]:
        return ("line", "mirror") if step >= 4 else ("line",)

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        if player == "line":
            return super().loss(player, batch, step, noise)
        loss = (self.mirror(batch["x"]) - self.line(batch["x"])).square().mean()
        return loss, {"loss": loss.detach()}


def source(samples: tuple[int, ...]) -> dict[str, Tensor]:
    """x (B, 3) keyed by sample, and y = 2 sum(x) + 1."""
    x = Noise(11, samples).normal((len(samples), 3), "source")
    return {"x": x, "y": 2 * x.sum(1, keepdim=True) + 1}


def trainer(objective: Objective, **changes: Any) -> Trainer:
    """A trainer on `source` by `RECIPE` with changes."""
    seed = changes.pop("seed", 0)
    return Trainer(objective, source, replace(RECIPE, **changes), seed=seed, device="cpu")


def run(objective: Objective, folder: Path, **changes: Any) -> Run:
    """The run of such a trainer in a folder; its sheets are empty."""
    made = trainer(objective, **changes)
    held_out = source(tuple(range(100, 100 + made.recipe.held_out)))
    return Run(made, folder, held_out=held_out, sheet=Path.touch)


def weights(objective: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: value.clone() for name, value in objective.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two sets of weights are equal, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
