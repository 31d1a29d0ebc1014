"""Kills trainings at random points and compares what they come to with undisturbed ones.

python bench/kill_trainings.py --count N [--seed S] [--stages SYSTEM.STAGE ...] [--json FILE]

Every stage of every system runs at its nano size. A run is killed (SIGKILL) after a random part of
the time that an undisturbed one takes, or in the middle of writing a random tensor of a checkpoint,
started again in the same folder, killed again, until it comes to its end. Its last checkpoint, its
model and its log must then equal those of the undisturbed run, bit for bit. Kills go round the
stages until there were N. Processes are forked from a server that has imported everything. The
figures are written to FILE after each kill; the same command goes on from there, but makes the
undisturbed runs again, and the kills of runs that were not at their end yet.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from long_runs import Figures, begun, keep

from kinema import registry
from kinema.data import latents
from kinema.data.clips import SPLITS, split_of
from kinema.training import checkpoint
from kinema.training.encode import encode_world, latent_key
from kinema.training.log import read_log
from kinema.training.stage import train
from kinema.weights import files
from kinema.worlds.world import Draws

MODEL, ERROR = "model.safetensors", "error.txt"
IN_WRITING = 0.4  # the share of kills in the middle of a checkpoint
WRITES = 3  # a run may outlive so many checkpoints before it is killed in one
LATEST = 0.8  # of the time that a run takes; later kills mostly come too late
CACHED = 16  # samples of a latent cache
LONGEST = 280.0  # seconds of a run
HUNG = 1
COLUMNS = ("kills", "in writing", "finished", "refused", "different")
CONTEXT = multiprocessing.get_context("forkserver")


class Leg:
    """A stage of a system at nano size, and its undisturbed run.

    Args:
        name: ``system.stage``.
        folder: empty.

    Attributes:
        counts: what came of the runs that are over, by `COLUMNS`.
        pending: the same of the run that was killed last and stands in `place`.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.counts, self.pending = Counter[str](), Counter[str]()
        self.data = _latents(name, folder)
        self.seconds = 0.0
        if self.start(folder / "whole", None, None):
            raise SystemExit(f"{name} does not run undisturbed: {_said(folder / 'whole')}")

    @property
    def place(self) -> Path:
        """The folder of the run that is killed."""
        return self.folder / "killed"

    def start(self, folder: Path, seconds: float | None, write: int | None) -> int:
        """Runs the stage in a new process; kills it after some seconds or in some writing.

        Returns:
            The exit status: 0, that of the kill, or 1 if the run failed or took over `LONGEST`.
        """
        received, sent = CONTEXT.Pipe(duplex=False)
        arguments = (self.name, folder, self.data, write, sent)
        child: Any = CONTEXT.Process(target=_child, args=arguments)
        child.start()
        sent.close()
        received.recv()  # it is about to train
        begin = time.perf_counter()
        child.join(LONGEST if seconds is None else seconds)
        self.seconds = self.seconds or time.perf_counter() - begin
        if child.is_alive():
            child.kill()
            child.join()
            if seconds is None:  # nobody asked for this kill
                return HUNG
        return int(child.exitcode)

    def kill(self, draws: Draws) -> None:
        """Runs until a kill or the end, where the result is compared and removed."""
        if draws.uniform(0, 1) < IN_WRITING:
            write = int(draws.uniform(0, WRITES * self.tensors))
            status = self.start(self.place, None, write)
        else:
            status = self.start(self.place, draws.uniform(0, LATEST * self.seconds), None)
        if status == 0:
            self.compare()
        elif status == -signal.SIGKILL:
            self.pending["kills"] += 1
            self.pending["in writing"] += any(self.place.glob(".step-*.partial*"))
        else:
            self.refuse()

    @property
    def tensors(self) -> int:
        """How many tensors a checkpoint has."""
        newest = max((self.folder / "whole").glob(checkpoint.PATTERN))
        return len(checkpoint.load(newest)[0])

    def finish(self) -> None:
        """Brings the run that was killed last to its end."""
        if self.pending:
            if self.start(self.place, None, None):
                self.refuse()
            else:
                self.compare()

    def refuse(self) -> None:
        """Counts a run that failed, and removes it."""
        print(f"{self.name}: {_said(self.place)}", file=sys.stderr)
        self._end("refused")

    def compare(self) -> None:
        """Compares a run that came to its end, counts, and removes it."""
        differs = [name for name in _results(self.folder / "whole") if not self._same(name)]
        differs += ["log"] * (_losses(self.place) != _losses(self.folder / "whole"))
        differs += [path.name for path in self.place.glob(".*")]  # what nobody cleaned up
        if differs:
            print(f"{self.name}: {', '.join(differs)}", file=sys.stderr)
        self._end("finished", *["different"] * bool(differs))

    def _end(self, *results: str) -> None:
        self.counts += self.pending + Counter(results)
        self.pending.clear()
        shutil.rmtree(self.place, ignore_errors=True)

    def _same(self, name: str) -> bool:
        ours, theirs = self.place / name, self.folder / "whole" / name
        return ours.exists() and ours.read_bytes() == theirs.read_bytes()


def _results(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.safetensors"))


def _losses(folder: Path) -> list[dict[str, float]]:
    return [
        {name: value for name, value in line.items() if not name.startswith("seconds")}
        for line in read_log(folder)
    ]


def _said(folder: Path) -> str:
    return (folder / ERROR).read_text() if (folder / ERROR).exists() else "no word"


def _fresh(system: str) -> Any:
    torch.manual_seed(0)
    kind = registry.system_class(system)
    return kind(kind.PRESETS["nano"]())


def _latents(name: str, folder: Path) -> str | None:
    """Latents of the world shapes, for a stage that reads some."""
    system, _, stage = name.partition(".")
    model = _fresh(system)
    role = model.STAGES[stage].latents_of
    if not role:
        return None
    for split in SPLITS:
        world = split_of("shapes", split, model.config.sampling)
        encode = partial(encode_world, model.encoded, model.told, world, batch_size=8)
        key = latent_key(model.parts[role], world, model.STILLS)
        place = folder / "latents" / split
        latents.write(place, key, CACHED, encode)
    return str(folder / "latents")


def _child(name: str, folder: Path, data: str | None, write: int | None, sent: Connection) -> None:
    torch.set_num_threads(1)
    system, _, stage = name.partition(".")
    model = _fresh(system)
    if write is not None:
        _kill_at(write)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the log of the run
    plan = model.STAGES[stage]
    sent.send("ready")
    try:
        train(model, plan, plan.recipes["nano"], data=data, folder=folder, seed=7, device="cpu")
        model.save_pretrained(folder / MODEL, overwrite=True)
    except Exception as error:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ERROR).write_text(f"{type(error).__name__}: {error}")
        sys.exit(1)


def _kill_at(write: int) -> None:
    """Kills this process in front of the tensor with this number, counted over all checkpoints."""
    as_it_is, left = files._write_values, iter(range(write))

    def write_values(*arguments: Any) -> None:
        if next(left, None) is None:
            arguments[0].flush()
            os.kill(os.getpid(), signal.SIGKILL)
        as_it_is(*arguments)

    files._write_values = write_values


def stages() -> list[str]:
    """Every stage of every system."""
    found = {name: registry.system_class(name) for name in registry.cards()}
    return [f"{name}.{stage}" for name in found for stage in getattr(found[name], "STAGES", ())]


def run(figures: Figures, path: Path | None) -> None:
    """Kills until there were as many as asked for, and adds to the figures what came of it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    begin, before = time.perf_counter(), figures["seconds"]
    systems = [f"kinema.systems.{name.partition('.')[0]}" for name in figures["stages"]]
    preload = ["torch.utils.tensorboard", "torch._dynamo", "kinema.training.stage", *systems]
    CONTEXT.set_forkserver_preload(preload)

    def told() -> None:
        for leg in legs:
            figures["of"][leg.name] = {column: leg.counts[column] for column in COLUMNS}
        figures.update(total(figures["of"]))
        figures["seconds"] = round(before + time.perf_counter() - begin, 1)
        keep(path, figures)

    with tempfile.TemporaryDirectory() as place:
        legs = []
        for name in figures["stages"]:
            folder = Path(place) / name
            folder.mkdir()
            legs.append(Leg(name, folder))
            legs[-1].counts.update(figures["of"][name])
            print(f"{name}: {legs[-1].seconds:.1f} s undisturbed", file=sys.stderr)
        while sum((leg.counts + leg.pending)["kills"] for leg in legs) < figures["count"]:
            number = figures["draws"]
            legs[number % len(legs)].kill(Draws("kill", figures["seed"], number))
            figures["draws"] += 1
            told()
        for leg in legs:
            leg.finish()
            told()


def total(rows: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """What came of the runs of all stages."""
    return {column: sum(row[column] for row in rows.values()) for column in COLUMNS}


def main() -> None:
    """Reads the arguments, kills, prints a table; exits with 1 if a run was lost or differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", default=stages(), metavar="SYSTEM.STAGE")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    asked = {"seed": given.seed, "count": given.count, "stages": list(given.stages)}
    rows = {name: dict.fromkeys(COLUMNS, 0) for name in given.stages}
    nothing = {**asked, "draws": 0, "seconds": 0.0, **total(rows), "of": rows}
    figures = begun(given.json, asked) or nothing
    if figures["kills"] < given.count:
        run(figures, given.json)
    print(f"{'stage':32}" + "".join(f"{column:>12}" for column in COLUMNS))
    for name, counts in [*figures["of"].items(), ("all", figures)]:
        print(f"{name:32}" + "".join(f"{counts[column]:12d}" for column in COLUMNS))
    sys.exit(bool(figures["different"] or figures["refused"]))


if __name__ == "__main__":
    main()
