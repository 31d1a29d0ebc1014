"""Runs of LTX-Video's stages at nano size, in processes of their own, with faults on demand."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from kinema.data.clips import SPLITS, split_of
from kinema.data.latents import Encoded, LatentKey, write
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano
from kinema.training import checkpoint
from kinema.training.log import read_log
from kinema.training.recipe import Recipe
from kinema.training.run import Run, Stopped
from kinema.training.stage import train
from kinema.weights import files
from kinema.weights.digest import digest
from kinema.worlds import World
from kinema.worlds.shown import shown

CACHED = 16  # samples in a cache: less than two epochs of a run
STEPS = 12  # the critic joins at step 4; every second step is saved
FINISHED, KILLED, ASKED, REFUSED = 0, -signal.SIGKILL, 130, 2
MODEL, ERROR = "model.safetensors", "error.txt"
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["kinema.systems.ltx_video", "torch.utils.tensorboard", "torch._dynamo"]
)


@dataclass(frozen=True)
class Fault:
    """What happens to a run, and when.

    ``kill`` and ``terminate`` send the signal before the step, ``kill in save`` sends it in the
    middle of writing the checkpoint after so many steps, and from a ``full disk`` step on no file
    may grow larger than half a checkpoint.
    """

    kind: Literal["kill", "terminate", "kill in save", "full disk"]
    step: int


def recipe_of(stage: str) -> Recipe:
    """The recipe of the preset nano, for a longer run."""
    return replace(LTXVideo.STAGES[stage].recipes["nano"], steps=STEPS, warmup=2)


def fresh() -> LTXVideo:
    """The model with the weights that every run starts from."""
    torch.manual_seed(0)
    return LTXVideo(nano())


def write_latents(folder: Path, model: LTXVideo) -> None:
    """A latent cache with captions of the world and, as latents, keyed noise."""
    size = model.config.sampling
    shape = model.codec.latent_shape(size.num_frames, size.height, size.width)
    clips = {name: getattr(size, name) for name in ("num_frames", "height", "width", "fps")}
    key = LatentKey(codec=digest(model.codec), source="noise", **clips)
    for split, seed in SPLITS.items():
        encode = partial(_noise_latents, split_of("shapes", split, size), seed, shape)
        write(folder / split, key, CACHED, encode)


def _noise_latents(
    world: World, seed: int, shape: tuple[int, ...], samples: range
) -> Iterator[Encoded]:
    latents = Noise(seed, tuple(samples)).normal((len(samples), *shape), "latents")
    for index, z in zip(samples, latents):
        sample = world.sample(index)
        seen = torch.from_numpy(shown(sample, (shape[1], shape[2], shape[3])))
        yield Encoded(z, captions=sample.captions, labels=sample.labels, beside={"shown": seen})


def run(stage: str, folder: Path, data: Path | None, fault: Fault | None = None) -> int:
    """Trains a stage in a new process, or goes on there, and returns its exit status."""
    process = CONTEXT.Process(target=_child, args=(stage, folder, data, fault))
    process.start()
    process.join(120)
    assert process.exitcode is not None, "the run does not end"
    return process.exitcode


def _child(stage: str, folder: Path, data: Path | None, fault: Fault | None) -> None:
    torch.set_num_threads(1)
    if fault is not None:
        _prepare(fault)
    model, leg, recipe = fresh(), LTXVideo.STAGES[stage], recipe_of(stage)
    named = str(data) if data else None
    try:
        train(model, leg, recipe, data=named, folder=folder, seed=7, device="cpu")
    except Stopped:
        sys.exit(ASKED)
    except InputError as error:
        (folder / ERROR).write_text(str(error))
        sys.exit(REFUSED)
    model.save_pretrained(folder / MODEL, overwrite=True)


def _prepare(fault: Fault) -> None:
    train_as_it_is, save_as_it_is = Run.train, Run.save

    def train(self: Run) -> None:
        step_as_it_is = self.trainer.train_step

        def train_step() -> dict[str, float]:
            if self.trainer.step == fault.step:
                _strike(fault, self.folder)
            return step_as_it_is()

        self.trainer.train_step = train_step  # type: ignore[method-assign]
        train_as_it_is(self)

    def save(self: Run) -> None:
        if fault.kind == "kill in save" and self.trainer.step == fault.step:
            _kill_at_value(20)
        save_as_it_is(self)

    Run.train, Run.save = train, save  # type: ignore[method-assign]


def _strike(fault: Fault, folder: Path) -> None:
    if fault.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.kind == "terminate":
        os.kill(os.getpid(), signal.SIGTERM)
    if fault.kind == "full disk":
        (newest, *_) = sorted(folder.glob(checkpoint.PATTERN), reverse=True)
        limit = newest.stat().st_size // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def _kill_at_value(count: int) -> None:
    write_as_it_is, written = files._write_values, []

    def write_values(*arguments: Any) -> None:
        written.append(arguments)
        if len(written) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        write_as_it_is(*arguments)

    files._write_values = write_values


def losses(folder: Path) -> list[dict[str, float]]:
    """The log of a run without what depends on the clock."""
    return [
        {name: value for name, value in line.items() if not name.startswith("seconds")}
        for line in read_log(folder)
    ]
