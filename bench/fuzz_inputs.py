"""Reads spoilt files and sees that each is read or refused in one line, in 10 s and 1 GB.

python bench/fuzz_inputs.py media|checkpoints --count N [--seed S] [--jobs J] [--first I]
    [--json FILE] [--failures FOLDER]

Input number i of a seed is always the same: one of the whole or hostile inputs of `fuzz_media.py`
or `fuzz_checkpoints.py`, spoilt as `fuzz_mutations.py` draws it and read as `fuzz_readers.py` says.
Child processes read them one after the other. Before the first, a child reads every whole input
once, notes its address space, and forbids itself more than 1 GB above that (RLIMIT_AS); it dies by
a timer when an input takes 10 seconds of processor time, or 60 by the clock. What kills a child is
the fault of the input that it was reading; a new child goes on with the next one. The figures are
written to FILE after each batch; the same command goes on from there.

An input is fine when it is read, or refused by an `InputError` of one line. Failures are a death by
a signal, a hang, any other exception, a lack of memory, and code of a pickle that ran. The files of
each are saved under FOLDER; `--first I --count 1` makes it again.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fuzz_checkpoints import checkpoints
from fuzz_media import media
from fuzz_mutations import spoil
from fuzz_readers import CODE_RAN, Seed, calls
from long_runs import Figures, begun, keep

from kinema.errors import InputError
from kinema.worlds.world import Draws

SECONDS = 10  # of processor time: other work on the machine does not count
SLEEP = 60  # seconds by the clock
MEMORY = 2**30  # bytes
BATCH = 250  # inputs of one child
UNSPOILT = 0.02  # the share of inputs that are left as they are
READ, REFUSED, FAILED = "read", "refused", "failed"
SEEDS = {"media": media, "checkpoints": checkpoints}
MODULES = ["fuzz_media", "fuzz_checkpoints", "fuzz_mutations"]
HANGS = (signal.SIGPROF, signal.SIGALRM)
CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Args:
        index: its number.
        source: the name of the seed that it was made of.
        result: `READ`, `REFUSED` or `FAILED`.
        said: why it failed, or the line that refused it.
        seconds: of processor time that it took.
    """

    index: int
    source: str
    result: str
    said: str
    seconds: float


class Inputs:
    """Spoilt inputs by number.

    Args:
        seeds: by name.
        seed: of the draws.
    """

    def __init__(self, seeds: dict[str, Seed], seed: int) -> None:
        self.seeds, self.seed = seeds, seed
        self.others = {
            f"{name}/{path}": data for name, s in seeds.items() for path, data in s.files.items()
        }

    def source(self, index: int) -> str:
        """The name of the seed that an input is made of."""
        return self._draws(index).choice(tuple(self.seeds))

    def files(self, index: int) -> dict[str, bytes]:
        """The files of an input."""
        draws = self._draws(index)
        seed = self.seeds[draws.choice(tuple(self.seeds))]
        if draws.uniform(0, 1) < UNSPOILT:
            return dict(seed.files)
        return spoil(seed.files, self.others, draws, rename=seed.reader == "media")

    def write(self, index: int, folder: Path) -> None:
        """Writes the files of an input into a folder, which is emptied before."""
        write(self.files(index), folder)

    def _draws(self, index: int) -> Draws:
        return Draws("fuzz", self.seed, index)


def write(files: dict[str, bytes], folder: Path) -> None:
    """Writes files into a folder, which is emptied before."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read(seed: Seed, folder: Path) -> tuple[str, str]:
    """Reads the input in a folder by every call for it: what one gives, or all refuse."""
    said: list[str] = []
    count = 0
    try:
        for call in calls(seed, folder):
            try:
                call()
                count += 1
            except InputError as error:
                said.append(str(error))
    except Exception as error:
        return FAILED, _failure(error)
    if Path(CODE_RAN).exists():
        return FAILED, "code in the file ran"
    for line in said:
        if "\n" in line:
            return FAILED, f"several lines: {line!r}"
        if "allocate" in line:  # what FFmpeg and torch say when memory is refused
            return FAILED, f"memory: {line}"
    return (READ, "") if count else (REFUSED, said[0])


def _failure(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "memory: " + traceback.format_exc()
    return "traceback: " + traceback.format_exc()


def _child(inputs: Inputs, indices: Sequence[int], place: str, sent: Connection) -> None:
    os.chdir(place)
    folder = Path("input")
    for name, seed in inputs.seeds.items():
        if seed.whole:
            write(dict(seed.files), folder)
            result = read(seed, folder)
            assert result[0] == READ, f"{name}: {result}"
    os.dup2(os.open("stderr.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for timer in HANGS:
        signal.signal(timer, signal.SIG_DFL)
    with open("death.txt", "w") as trace:
        faulthandler.enable(trace)
        for index in indices:
            inputs.write(index, folder)
            seed = inputs.seeds[inputs.source(index)]
            trace.truncate(0)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.setitimer(signal.ITIMER_REAL, SLEEP)
            faulthandler.dump_traceback_later(0.8 * SECONDS, file=trace)
            begin = time.process_time()
            result = read(seed, folder)
            seconds = time.process_time() - begin
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
            sent.send((index, *result, seconds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sent.send((None, "peak", str(peak), 0.0))


def run_batch(inputs: Inputs, indices: Sequence[int]) -> list[Outcome]:
    """Reads inputs one after the other, in as many children as die on the way and one more."""
    done: list[Outcome] = []
    left = list(indices)
    with tempfile.TemporaryDirectory() as place:
        while left:
            received, sent = CONTEXT.Pipe(duplex=False)
            arguments = (inputs, left, place, sent)
            child: Any = CONTEXT.Process(target=_child, args=arguments, daemon=True)
            child.start()
            sent.close()
            with contextlib.suppress(EOFError):
                while True:
                    index, result, said, seconds = received.recv()
                    if index is not None:
                        left.remove(index)
                        done.append(Outcome(index, inputs.source(index), result, said, seconds))
            child.join()
            if left and child.exitcode >= 0:
                told = Path(place, "stderr.txt")
                raise SystemExit(f"a child gave up: {told.read_text() if told.exists() else ''}")
            if left:
                died = _death(-child.exitcode, Path(place) / "death.txt")
                done.append(Outcome(left[0], inputs.source(left[0]), FAILED, died, SECONDS))
                left = left[1:]
    return done


def _death(number: int, trace: Path) -> str:
    told = trace.read_text() if trace.exists() else ""
    name = signal.Signals(number).name
    return f"{'hang' if number in HANGS else f'signal {name}'}: {told}"


def run(inputs: Inputs, indices: Sequence[int], *, jobs: int) -> Iterator[list[Outcome]]:
    """What becomes of inputs, batch by batch in the order of their numbers; `jobs` at a time."""
    os.environ |= {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}  # address space is counted
    CONTEXT.set_forkserver_preload(MODULES)
    batches = [indices[i : i + BATCH] for i in range(0, len(indices), BATCH)]
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda batch: run_batch(inputs, batch), batches)


def make(kind: str, seed: int) -> Inputs:
    """The inputs of a kind: ``media`` or ``checkpoints``."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "seeds"
        folder.mkdir()
        os.chdir(place)
        try:
            return Inputs(SEEDS[kind](folder), seed)
        finally:
            os.chdir(before)


def nothing(asked: Mapping[str, Any]) -> Figures:
    """The figures of a run before its first input."""
    counts: Figures = dict.fromkeys(("inputs", READ, REFUSED, FAILED), 0)
    return {**asked, **counts, "seconds": 0.0, "slowest": [], "sources": {}, "failures": []}


def add(figures: Figures, outcomes: Sequence[Outcome], seconds: float) -> None:
    """Adds what became of a batch, and the seconds that it took."""
    for outcome in outcomes:
        figures["inputs"] += 1
        figures[outcome.result] += 1
        sources = figures["sources"]
        sources[outcome.source] = sources.get(outcome.source, 0) + 1
        slow = [round(outcome.seconds, 2), outcome.index, outcome.source]
        figures["slowest"] = max(figures["slowest"], slow)
        if outcome.result == FAILED:
            figures["failures"].append(asdict(outcome))
    figures["seconds"] = round(figures["seconds"] + seconds, 1)


def save_failure(inputs: Inputs, outcome: Outcome, place: Path) -> None:
    """Keeps the files of an input that failed, and says where."""
    inputs.write(outcome.index, place)
    (place / "failure.txt").write_text(f"{outcome.source}\n{outcome.said}\n")
    print(f"{place}: {outcome.source}: {outcome.said.strip().splitlines()[-1]}", flush=True)


def main() -> None:
    """Reads the arguments, runs, saves what failed; exits with 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=tuple(SEEDS))
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--failures", type=Path, default=Path("runs/fuzz"))
    given = parser.parse_args()
    inputs = make(given.kind, given.seed)
    asked = {name: getattr(given, name) for name in ("kind", "seed", "first", "count")}
    asked["seeds"] = len(inputs.seeds)  # others would be drawn
    figures = begun(given.json, asked) or nothing(asked)
    done, begin = figures["inputs"], time.perf_counter()
    if done:
        print(f"{done} of {given.count} inputs were read before; remove {given.json} to begin anew")
    left = range(given.first + done, given.first + given.count)
    for outcomes in run(inputs, left, jobs=given.jobs):
        for outcome in outcomes:
            if outcome.result == FAILED:
                place = given.failures / given.kind / f"{given.seed}-{outcome.index}"
                save_failure(inputs, outcome, place)
        now = time.perf_counter()
        add(figures, outcomes, now - begin)
        begin = now
        keep(given.json, figures)
    print(json.dumps({name: value for name, value in figures.items() if name != "failures"}))
    sys.exit(bool(figures[FAILED]))


if __name__ == "__main__":
    main()
