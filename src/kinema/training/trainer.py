"""The trainer: the steps of every objective, and all that the next one depends on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kinema.data.batches import Source
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.training import distributed
from kinema.training.distributed import share
from kinema.training.ema import EMA
from kinema.training.muon import Muon
from kinema.training.objective import Batch, Objective
from kinema.training.recipe import Recipe

COUNTERS = ("step", "count", "updates")  # what optimizers keep on the CPU, and the average
STATES = {  # of a parameter
    "adamw": ({"step", "exp_avg", "exp_avg_sq"},),
    "muon": ({"momentum"}, {"mean", "square", "count"}),
}
OPTIMIZER = "optimizer"


class Trainer:
    """Trains an objective on a source by a recipe, step by step.

    Of several processes each has a trainer, that sees its rows of every batch and holds its shares
    (see `distributed.py`); then `objective` is not the one that was given, but what came of it.

    Args:
        objective: the networks and their losses.
        source: training batches by sample index, unbounded.
        recipe: the numbers.
        seed: of the noise.
        device: where to train.

    Raises:
        InputError: batches cannot be split as the recipe and the number of processes ask.
    """

    def __init__(
        self, objective: Objective, source: Source, recipe: Recipe, *, seed: int, device: str
    ) -> None:
        check_split(objective, recipe)
        self.given = self.objective = objective.to(device).train()
        if distributed.count() > 1:
            self.objective = distributed.sharded(objective, device)
        objective = self.objective
        self.source, self.recipe, self.seed, self.device = source, recipe, seed, device
        self.step = 0
        self.players = {player: objective.trained(player) for player in objective.players}
        self.parameters = dict(objective.named_parameters())
        trained = {name for parameters in self.players.values() for name in parameters}
        assert len(trained) == sum(map(len, self.players.values())), "two players train one tensor"
        for name, parameter in self.parameters.items():
            parameter.requires_grad_(name in trained)
        self.optimizers = {
            player: optimizer(parameters, recipe, objective.rates)
            for player, parameters in self.players.items()
        }
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
            samples = distributed.rows(range(first, first + size))
            batch, noise = self.source(samples), Noise(self.seed, samples)
            logs["seconds_data"] = logs.get("seconds_data", 0.0) + time.perf_counter() - begin
            for player in turns:
                for name, value in self.backward(player, batch, noise).items():
                    name = f"{player}/{name}"
                    logs[name] = logs.get(name, 0.0) + float(value) / recipe.accumulate
        for player in turns:
            parameters = self.players[player].values()
            distributed.average_gradients(parameters)
            norm = distributed.clip_gradients(parameters, recipe.clip_norm)
            self._check_finite(f"gradient of {player}", norm)
            logs[f"{player}/gradient_norm"] = float(norm)
            for group in self.optimizers[player].param_groups:
                group["lr"] = recipe.rate(self.step) * group["factor"]
            self.optimizers[player].step()
            self.optimizers[player].zero_grad(set_to_none=True)
        self.ema.update(self.objective)
        logs["seconds"] = time.perf_counter() - begin
        return distributed.means(logs)

    def backward(self, player: str, batch: Batch, noise: Noise) -> Mapping[str, Tensor]:
        """Adds the gradient of one player's loss on one micro-batch."""
        for name, parameters in self.players.items():
            for parameter in parameters.values():
                parameter.requires_grad_(name == player)
        with self.autocast():
            loss, logs = self.objective.loss(player, batch, self.step, noise)
        self._check_finite(f"loss of {player}", distributed.mean(loss))
        (loss / self.recipe.accumulate).backward()
        return logs

    def _check_finite(self, what: str, value: Tensor) -> None:
        if not torch.isfinite(value):
            raise InputError(
                f"the {what} is {value.item()} at step {self.step}; lower the learning rate"
            )

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Objective]:
        """Gives the objective with the average of its weights, in eval mode.

        Of several processes only the first has it whole; the others have nothing in it.
        """
        if self.given is self.objective:
            self.objective.eval()
            with self.ema.applied(self.objective):
                yield self.objective
            self.objective.train()
        else:
            self.finish()
            yield self.given
            self.given.to_empty(device="meta")

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The precision of the activations."""
        if self.recipe.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16)

    def finish(self) -> None:
        """The objective that was given holds the average of its weights, in eval mode.

        Of several processes that of the first does.
        """
        if self.given is self.objective:
            self.ema.copy_to(self.objective)
        else:
            distributed.gather(self.objective, self.ema.average, self.given, self.device)
        self.given.eval()

    # -- state -------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Everything that the steps to come depend on, beside step, seed and recipe."""
        tensors = {f"objective/{k}": v for k, v in self.objective.state_dict().items()}
        tensors |= {f"ema/{k}": v for k, v in self.ema.average.items()}
        for player, parameters in self.players.items():
            state = self.optimizers[player].state
            for name, parameter in parameters.items():
                for key, value in state.get(parameter, {}).items():
                    tensors[f"{OPTIMIZER}/{player}/{name}/{key}"] = value
        return tensors

    def room(self, name: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Room for a tensor of `state`: for this process's share where it is one of shares."""
        kind, *_, last = path = name.split("/")
        parameter = self.parameters.get(path[-2] if kind == OPTIMIZER else last)
        if parameter is None or parameter.shape != shape:
            return torch.empty(shape, dtype=dtype, device="cpu")
        return torch.empty_like(parameter, dtype=dtype, requires_grad=False)

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave, of any number of processes.

        Raises:
            RuntimeError: it is that of another objective.
        """
        own = self.objective.state_dict()
        found = _below("objective/", tensors)
        self.objective.load_state_dict({k: share(v, own.get(k, v)) for k, v in found.items()})
        averages = _below("ema/", tensors)
        if averages.keys() != self.ema.average.keys():
            raise RuntimeError("the averages are of other parameters")
        for name, value in averages.items():
            like = self.parameters.get(name, value)
            _expect(name, value, self.ema.average[name])
            self.ema.average[name] = share(value.to(self.device), like)
        for player, parameters in self.players.items():
            for name, parameter in parameters.items():
                state = _below(f"{OPTIMIZER}/{player}/{name}/", tensors)
                if state and {*state} not in STATES[self.recipe.optimizer]:
                    raise RuntimeError("the optimizer is another one")
                for key, value in state.items():
                    _expect(key, value, parameter)
                    place = "cpu" if key in COUNTERS else parameter.device
                    self.optimizers[player].state[parameter][key] = share(
                        value.to(place), parameter
                    )


def check_split(objective: Objective, recipe: Recipe) -> None:
    """Whether batches can be split into micro-batches, and those over the processes.

    Raises:
        InputError: their rows belong together, or there are too few.
    """
    processes, why = distributed.count(), objective.couples_batch
    if recipe.accumulate > 1 and why:
        raise InputError(f"this stage takes accumulate=1, not {recipe.accumulate}: {why}")
    if processes == 1:
        return
    if any(isinstance(module, _BatchNorm) for module in objective.modules()):
        why = why or "its norms take statistics over the batch"
    if why and not objective.gathers_rows:
        name = type(objective).__name__
        raise InputError(f"{name} is trained by one process, not by {processes}: {why}")
    if recipe.batch_size % (recipe.accumulate * processes):
        raise InputError(
            f"batch_size {recipe.batch_size} in {recipe.accumulate} micro-batches cannot be split "
            f"over {processes} processes"
        )


def optimizer(
    parameters: Mapping[str, nn.Parameter], recipe: Recipe, rates: Mapping[str, float]
) -> torch.optim.Optimizer:
    """The recipe's optimizer; weight decay is for matrices and kernels, not for vectors.

    Args:
        parameters: by name.
        recipe: the numbers.
        rates: factors of the learning rate by name; 1 where there is none.
    """
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for is_vector in (False, True):
        for name, parameter in parameters.items():
            if (parameter.ndim <= 1) == is_vector:
                factor = rates.get(name, 1.0)
                decay = 0.0 if is_vector else recipe.weight_decay
                group = {"params": [], "factor": factor, "weight_decay": decay}
                groups.setdefault((is_vector, factor), group)["params"].append(parameter)
    kind = {"adamw": torch.optim.AdamW, "muon": Muon}[recipe.optimizer]
    return kind(
        [*groups.values()],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
    )


def _expect(name: str, value: Tensor, like: Tensor) -> None:
    """Raises RuntimeError unless a counter counts, and all else has the form of `like`."""
    if name in COUNTERS:
        fits = value.ndim == 0 and bool(value >= 0) and bool(value.isfinite())
    else:
        fits = value.shape == like.shape and value.dtype == like.dtype
    if not fits:
        raise RuntimeError(f"{name} is of other parameters")


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
