"""The trainer: one loop for every objective. A killed run resumes to the same losses, exactly."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from kinema.config import to_dict
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.training import checkpoint
from kinema.training.ema import EMA
from kinema.training.log import Log
from kinema.training.muon import Muon
from kinema.training.objective import Batch, Objective
from kinema.training.recipe import Recipe

Source = Callable[[tuple[int, ...]], Batch]
"""Gives the batch of some sample indices; the same indices always give the same batch."""

HELD_OUT_SEED = 1_000_003
COUNTERS = ("step", "count")  # what optimizers keep on the CPU


class Stopped(Exception):  # noqa: N818 (nothing went wrong: the run was asked to stop)
    """The run was asked to stop (SIGINT, SIGTERM) and has saved where it stands."""


class Trainer:
    """Trains an objective on a source by a recipe; a folder holds all that is known about the run.

    Args:
        objective: the networks and their losses.
        source: training batches by sample index, unbounded.
        held_out: one batch that is never trained on.
        recipe: the numbers.
        folder: checkpoints, `log.jsonl`, TensorBoard events and sheets go there.
        seed: of the noise.
        device: where to train.

    Raises:
        InputError: the recipe splits batches whose rows belong together.
    """

    def __init__(
        self,
        objective: Objective,
        source: Source,
        held_out: Batch,
        recipe: Recipe,
        *,
        folder: Path,
        seed: int,
        device: str,
    ) -> None:
        if recipe.accumulate > 1 and objective.couples_batch:
            raise InputError(
                f"this stage takes accumulate=1, not {recipe.accumulate}: {objective.couples_batch}"
            )
        self.objective = objective.to(device).train()
        self.source, self.held_out, self.recipe = source, held_out, recipe
        self.folder, self.seed, self.device = folder, seed, device
        self.step = 0
        self.saved: Path | None = None
        self.players = {player: objective.trained(player) for player in objective.players}
        trained = {name for parameters in self.players.values() for name in parameters}
        assert len(trained) == sum(map(len, self.players.values())), "two players train one tensor"
        for name, parameter in objective.named_parameters():
            parameter.requires_grad_(name in trained)
        self.optimizers = {p: optimizer(ps, recipe) for p, ps in self.players.items()}
        self.ema = EMA(objective, trained, recipe.ema)

    # -- the loop ----------------------------------------------------------------------------

    def run(self, *, sheet: Callable[[Path], None]) -> None:
        """Trains from the current step to the end of the recipe.

        Args:
            sheet: draws what the averaged weights can do into a picture at the given path.

        Raises:
            Stopped: after SIGINT or SIGTERM; the state was saved.
        """
        stop = StopSignal()
        with Log(self.folder, start=self.step, total=self.recipe.steps) as log, stop.caught():
            while self.step < self.recipe.steps:
                log.write(self.step, self.train_step())
                self.step += 1
                last = self.step == self.recipe.steps
                if last or self.step % self.recipe.report_every == 0:
                    self.report(log, sheet)
                if last or stop.asked or self.step % self.recipe.save_every == 0:
                    self.save()
                if stop.asked and not last:
                    raise Stopped(f"stopped at step {self.step}; saved in {self.folder}")

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

    def report(self, log: Log, sheet: Callable[[Path], None]) -> None:
        """Held-out numbers and a sample sheet with the averaged weights."""
        noise = Noise(HELD_OUT_SEED, tuple(range(self.recipe.held_out)))
        with self.averaged(), torch.no_grad():
            with self.autocast():
                logs = self.objective.held_out(self.held_out, noise)
            log.report(self.step, {f"held_out/{k}": float(v) for k, v in logs.items()})
            sheet(self.folder / "sheets" / f"step-{self.step:08d}.png")

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

    # -- saving ------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes a checkpoint of everything; of the others only the one before it is kept.

        Raises:
            InputError: it cannot be written; those that were written before stay.
        """
        tensors = {f"objective/{k}": v for k, v in self.objective.state_dict().items()}
        tensors |= {f"ema/{k}": v for k, v in self.ema.average.items()}
        for player, parameters in self.players.items():
            state = self.optimizers[player].state
            for name, parameter in parameters.items():
                for key, value in state.get(parameter, {}).items():
                    tensors[f"optimizer/{player}/{name}/{key}"] = value
        values = {"step": self.step, "seed": self.seed, "recipe": to_dict(self.recipe)}
        path = checkpoint.path_of(self.folder, self.step)
        checkpoint.save(path, tensors, values)
        checkpoint.keep(self.folder, {path, self.saved or path})
        self.saved = path

    def resume(self) -> bool:
        """Goes back to the newest whole checkpoint of the folder; false if there is none.

        Raises:
            InputError: the run in the folder has another seed, recipe (its length may grow) or
                model, or none of its checkpoints is whole.
        """
        found = checkpoint.latest(self.folder)
        if found is None:
            return False
        tensors, values = found
        mine = {"seed": self.seed, "recipe": to_dict(self.recipe)}
        for name, old in (values["recipe"] | {"seed": values["seed"]}).items():
            new = mine["seed"] if name == "seed" else mine["recipe"].get(name)
            if name != "steps" and new != old:
                raise InputError(
                    f"the run in {self.folder} has {name}={old}, not {new}; use another --output"
                )
        if values["step"] > self.recipe.steps:
            raise InputError(
                f"the run in {self.folder} has done {values['step']} steps, more than "
                f"{self.recipe.steps}; use another --output"
            )
        try:
            self.objective.load_state_dict(_below("objective/", tensors))
        except RuntimeError as error:
            raise InputError(
                f"the run in {self.folder} trains another model; use another --output"
            ) from error
        self.step, self.saved = values["step"], checkpoint.path_of(self.folder, values["step"])
        self.ema.average = {k: v.to(self.device) for k, v in _below("ema/", tensors).items()}
        for player, parameters in self.players.items():
            for name, parameter in parameters.items():
                state = _below(f"optimizer/{player}/{name}/", tensors)
                for key, value in state.items():
                    place = "cpu" if key in COUNTERS else parameter.device
                    self.optimizers[player].state[parameter][key] = value.to(place)
        return True


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


class StopSignal:
    """Remembers that SIGINT or SIGTERM came, so that a step can be finished and saved."""

    asked = False

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catches both signals inside the block."""
        before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's `log.jsonl`."""
    with (folder / "log.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
