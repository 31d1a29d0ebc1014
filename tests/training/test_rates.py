"""Learning rates fall with depth: one step of Adam moves each tensor by its own rate."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective
from kinema.training.recipe import Recipe
from kinema.training.trainer import Trainer


class Squares(Objective):
    """The sum of two numbers' squares."""

    players: ClassVar = {"one": ("*",)}

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
        self.rates = {"first": 0.25}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        loss = self.first.square().sum() + self.last.square().sum()
        return loss, {"loss": loss.detach()}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_step_is_as_long_as_its_rate(kind):
    recipe = Recipe(
        steps=4, batch_size=1, learning_rate=0.01, warmup=1, decay=0.0, weight_decay=0.0,
        optimizer=kind, ema=0.0,
    )  # fmt: skip
    objective = Squares()
    Trainer(objective, lambda samples: {}, recipe, seed=0, device="cpu").train_step()
    first, last = ((1 - p.detach()).abs().mean() for p in (objective.first, objective.last))
    assert float(first / last) == pytest.approx(0.25, rel=1e-3)
