"""The command line as tests call it, and a tiny model that it can load."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from kinema.cli.main import main


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The only line on stderr of a command that was given something wrong."""
        assert self.status == 2, self
        (line,) = self.err.splitlines()
        assert line.startswith("kinema: error: "), line
        return line.removeprefix("kinema: error: ")

    @property
    def json(self) -> Any:
        """The answer of a command with --json."""
        return json.loads(self.out)


Kinema = Callable[..., Answer]


@pytest.fixture
def kinema(capsys: pytest.CaptureFixture[str]) -> Kinema:
    """Runs the command line in this process."""

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Answer(status, said.out, said.err)

    return run


@pytest.fixture(autouse=True)
def in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts in a folder of its own; threads are as before when it ends."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class Process:
    """The command line in a process of its own."""

    def __init__(self, *arguments: object, terminal: int | None = None, **options: Any) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "kinema", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if terminal is None else terminal,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            **options,
        )

    def stop(self, number: signal.Signals, when: Callable[[], bool]) -> Answer:
        """Sends a signal as soon as `when` is true."""
        deadline = time.monotonic() + 60
        while not when():
            assert self.popen.poll() is None, self.popen.communicate()
            assert time.monotonic() < deadline, "nothing happened in a minute"
            time.sleep(0.02)
        self.popen.send_signal(number)
        return self.answer()

    def answer(self) -> Answer:
        """Waits for the end."""
        out, err = self.popen.communicate(timeout=60)
        return Answer(self.popen.returncode, out, err)


@pytest.fixture
def process() -> Iterator[Callable[..., Process]]:
    """Starts the command line in a process of its own, which does not outlive the test."""
    started = []

    def start(*arguments: object, **options: Any) -> Process:
        started.append(Process(*arguments, **options))
        return started[-1]

    yield start
    for each in started:
        with contextlib.suppress(ProcessLookupError):
            each.popen.kill()
        each.popen.wait()
