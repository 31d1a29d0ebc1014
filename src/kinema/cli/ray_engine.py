"""Pieces of work over Ray Data: in processes of this machine, or of a cluster.

Where RAY_ADDRESS names a cluster, its machines work; they need the same library and see the same
files under the same names. Else Ray runs on this machine, with as many cores as the workers ask
for, in a folder that goes when the work is done. It is told to report nothing to its makers, and
opens no dashboard.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError, RayTaskError

from kinema.cli.engines import Advance, P, R, Work
from kinema.cli.terminal import say
from kinema.errors import InputError

ADDRESS = "RAY_ADDRESS"
STORE = 128 * 2**20  # bytes for what passes between processes: numbers of pieces and answers
TRIES = 4  # of a piece whose workers die; Ray Data itself would go on for ever
PATIENCE = 10.0  # seconds for a cluster to answer
TRIES_TO_CONNECT = "RAY_gcs_server_port_wait_time_s"  # each takes half a minute
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


@dataclass(frozen=True)
class Ray:
    """Processes that load the work once each and take one piece after another.

    A worker that dies is started again, and does the piece that it was at again.

    Args:
        workers: how many.
        threads: cores of each.
        on_gpu: whether each has a GPU of its own.
    """

    workers: int
    threads: int
    on_gpu: bool
    in_process = False

    def each(
        self, work: Work[P, R], pieces: Sequence[P], advance: Advance
    ) -> Iterator[tuple[P, R]]:
        """Does every piece, and gives them as they are done.

        Raises:
            InputError: no cluster answers, a piece cannot be done, or its workers keep dying.
        """
        if not pieces:
            return
        with self._connected():
            try:
                for row in self._rows(pickle.dumps((work, pieces)), len(pieces)):
                    if row["error"]:
                        raise InputError(row["error"])
                    if row["tries"] > 1:
                        say("a worker of Ray died; what it was doing was done again")
                    advance(row["units"])
                    yield pieces[row["number"]], json.loads(row["answer"])
            except RayTaskError:  # the code is wrong
                raise
            except RayError as error:
                raise InputError(
                    f"Ray gave up ({type(error).__name__}); what is finished stays, and the same "
                    "command goes on"
                ) from error

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        """Ray is there inside the block."""
        os.environ |= QUIET
        # What Ray tells of workers that died would go to stdout, among our answers.
        ray._private.worker._worker_logs_enabled = False
        address = os.environ.get(ADDRESS) or "local"
        with contextlib.ExitStack() as leaving:
            here: dict[str, Any] = {}
            if address == "local":
                folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
                here = {
                    "num_cpus": self.workers * self.threads,
                    "object_store_memory": STORE,
                    "include_dashboard": False,
                    "_temp_dir": leaving.enter_context(folder),
                }
            else:
                _check_answers(address)
                if TRIES_TO_CONNECT not in os.environ:  # else a port that is silent costs minutes
                    os.environ[TRIES_TO_CONNECT] = "1"
                    leaving.callback(os.environ.pop, TRIES_TO_CONNECT)
            leaving.callback(ray.shutdown)
            handler = signal.getsignal(signal.SIGTERM)
            try:
                with _silent():
                    ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **here)
            except (RuntimeError, ValueError, OSError) as error:
                if address == "local":
                    raise
                raise _no_answer(address, error) from error
            finally:
                signal.signal(signal.SIGTERM, handler)  # Ray puts its own there
            yield

    def _rows(self, packed: bytes, count: int) -> Iterator[dict[str, Any]]:
        """What `Worker` gives for each piece, as soon as it is done."""
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_no_progress_timeout_s = -1  # a piece may take hours
        counter = ray.remote(num_cpus=0, max_restarts=-1)(Counter).remote()
        numbers = [{"number": number} for number in range(count)]
        done = ray.data.from_items(numbers, override_num_blocks=count).map(
            Worker,
            fn_constructor_args=(packed, os.getcwd(), counter),
            compute=ray.data.ActorPoolStrategy(
                size=min(self.workers, count), max_tasks_in_flight_per_actor=1
            ),
            num_cpus=self.threads,
            num_gpus=1 if self.on_gpu else None,
        )
        tables = done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        for table in tables:
            yield from table.to_pylist()


def _check_answers(address: str) -> None:
    """Raises InputError if nothing listens at an address; Ray itself would wait for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise _no_answer(address, error) from error


def _no_answer(address: str, error: Exception) -> InputError:
    said = " ".join(str(error).split())
    return InputError(f"no Ray answers at {ADDRESS}={address}: {said:.200}")


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Compiled code tells nothing on stderr inside the block: Ray's tells its level of logging."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


class Counter:
    """An actor of Ray that knows how often each piece was begun."""

    def __init__(self) -> None:
        self.begun: dict[int, int] = {}

    def count(self, number: int) -> int:
        """Counts one more."""
        self.begun[number] = self.begun.get(number, 0) + 1
        return self.begun[number]


class Worker:
    """What runs in a process of Ray.

    Args:
        packed: the work and all pieces, pickled.
        folder: where the command was given; relative names are meant from there.
        counter: that of all workers.
    """

    def __init__(self, packed: bytes, folder: str, counter: Any) -> None:
        self.packed, self.folder, self.counter = packed, folder, counter
        self.loaded: tuple[Any, Any] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Does the piece of a number; what a user can mend is told, not raised."""
        tries = ray.get(self.counter.count.remote(row["number"]))
        units: list[int] = []
        answer, error = None, ""
        try:
            if tries > TRIES:
                raise InputError(
                    f"{TRIES} workers of Ray died at the same piece, perhaps for lack of memory; "
                    "what is finished stays, and the same command goes on"
                )
            work, pieces = self.loaded = self.loaded or self._load()
            answer = work(pieces[row["number"]], units.append)
        except (InputError, OSError) as wrong:
            error = str(wrong) or repr(wrong)
        said = {"units": sum(units), "tries": tries, "answer": json.dumps(answer)}
        return {**row, **said, "error": error}

    def _load(self) -> tuple[Any, Any]:
        os.chdir(self.folder)
        work, pieces = pickle.loads(self.packed)
        return work, pieces
