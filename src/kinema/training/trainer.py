"""The trainer: the steps of every objective, and all that the next one depends on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kinema.data.batches import Source
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.training.ema import EMA
from kinema.training.muon import Muon
from kinema.training.objective import Batch, Objective
from kinema.training.recipe import Recipe

COUNTERS = ("step", "count")  # what optimizers keep on the CPU


class Trainer:
    """Trains an objective on a source by a recipe, step by step.

    Args:
        objective: the networks and their losses.
        source: training batches by sample index, unbounded.
        recipe: the numbers.
        seed: of the noise.
        device: where to train.

    Raises:
        InputError: the recipe splits batches whose rows belong together.
    """

    def __init__(
        self, objective: Objective, source: Source, recipe: Recipe, *, seed: int, device: str
    ) -> None:
        if recipe.accumulate > 1 and objective.couples_batch:
            raise InputError(
                f"this stage takes accumulate=1, not {recipe.accumulate}: {objective.couples_batch}"
            )
        self.objective = objective.to(device).train()
        self.source, self.recipe, self.seed, self.device = source, recipe, seed, device
        self.step = 0
        self.players = {player: objective.trained(player) for player in objective.players}
        trained = {name for parameters in self.players.values() for name in parameters}
        assert len(trained) == sum(map(len, self.players.values())), "two players train one tensor"
        for name, parameter in objective.named_parameters():
            parameter.requires_grad_(name in trained)
        self.optimizers = {p: optimizer(ps, recipe) for p, ps in self.players.items()}
        self.ema = EMA(objective, trained, recipe.ema)

    def train_step(self) -> dict[str, float]:
        """One step of every player whose turn it is; returns the numbers to log.

        Raises:
            InputError: a loss or a gradient is not finite; no weight of its player has moved.
        """
        recipe, logs = self.recipe, dict[str, float]()
        begin = time.perf_counter()
        turns = self.objective.turns(self.step)
        size = recipe.batch_size // recipe.accumulate
        for micro in range(recipe.accumulate):
            first = self.step * recipe.batch_size + micro * size
            samples = tuple(range(first, first + size))
            batch, noise = self.source(samples), Noise(self.seed, samples)
            logs["seconds_data"] = logs.get("seconds_data", 0.0) + time.perf_counter() - begin
            for player in turns:
                for name, value in self.backward(player, batch, noise).items():
                    name = f"{player}/{name}"
                    logs[name] = logs.get(name, 0.0) + float(value) / recipe.accumulate
        for player in turns:
            norm = nn.utils.clip_grad_norm_(self.players[player].values(), recipe.clip_norm)
            self._check_finite(f"gradient of {player}", norm)
            logs[f"{player}/gradient_norm"] = float(norm)
            for group in self.optimizers[player].param_groups:
                group["lr"] = recipe.rate(self.step)
            self.optimizers[player].step()
            self.optimizers[player].zero_grad(set_to_none=True)
        self.ema.update(self.objective)
        logs["seconds"] = time.perf_counter() - begin
        return logs

    def backward(self, player: str, batch: Batch, noise: Noise) -> Mapping[str, Tensor]:
        """Adds the gradient of one player's loss on one micro-batch."""
        for name, parameters in self.players.items():
            for parameter in parameters.values():
                parameter.requires_grad_(name == player)
        with self.autocast():
            loss, logs = self.objective.loss(player, batch, self.step, noise)
        self._check_finite(f"loss of {player}", loss)
        (loss / self.recipe.accumulate).backward()
        return logs

    def _check_finite(self, what: str, value: Tensor) -> None:
        if not torch.isfinite(value):
            raise InputError(
                f"the {what} is {value.item()} at step {self.step}; lower the learning rate"
            )

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside the block the objective is in eval mode and holds the average of its weights."""
        self.objective.eval()
        with self.ema.applied(self.objective):
            yield
        self.objective.train()

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The precision of the activations."""
        if self.recipe.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16)

    def finish(self) -> None:
        """The objective holds the average of its weights, in eval mode."""
        self.ema.copy_to(self.objective)
        self.objective.eval()

    # -- state -------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Everything that the steps to come depend on, beside step, seed and recipe."""
        tensors = {f"objective/{k}": v for k, v in self.objective.state_dict().items()}
        tensors |= {f"ema/{k}": v for k, v in self.ema.average.items()}
        for player, parameters in self.players.items():
            state = self.optimizers[player].state
            for name, parameter in parameters.items():
                for key, value in state.get(parameter, {}).items():
                    tensors[f"optimizer/{player}/{name}/{key}"] = value
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave; raises RuntimeError if it is that of another objective."""
        self.objective.load_state_dict(_below("objective/", tensors))
        self.ema.average = {k: v.to(self.device) for k, v in _below("ema/", tensors).items()}
        for player, parameters in self.players.items():
            for name, parameter in parameters.items():
                state = _below(f"optimizer/{player}/{name}/", tensors)
                for key, value in state.items():
                    place = "cpu" if key in COUNTERS else parameter.device
                    self.optimizers[player].state[parameter][key] = value.to(place)


def optimizer(parameters: Mapping[str, nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer; weight decay is for matrices and kernels, not for vectors."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters.values() if p.ndim > 1]},
        {"params": [p for p in parameters.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = {"adamw": torch.optim.AdamW, "muon": Muon}[recipe.optimizer]
    return kind(
        groups, lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
