"""Spoilt files are read or refused in one line; `bench/fuzz_inputs.py` reads many more of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fuzz_inputs
import fuzz_readers
import pytest
from fuzz_inputs import FAILED, READ, REFUSED, Inputs
from fuzz_readers import Read, Seed, Trap

from kinema.errors import InputError

FEW = {"media": 200, "checkpoints": 50}
MANY = {"media": 1000, "checkpoints": 300}


@pytest.mark.parametrize("kind", FEW)
def test_spoilt_inputs_are_read_or_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = fuzz_inputs.make(kind, seed=7)
    results = []
    for index in range(FEW[kind]):
        inputs.write(index, Path("input"))
        result, said = fuzz_inputs.read(inputs.seeds[inputs.source(index)], Path("input"))
        assert result != FAILED, f"{kind} {index} of {inputs.source(index)}: {said}"
        results.append(result)
    assert {*results} == {READ, REFUSED}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MANY)
def test_many_spoilt_inputs_in_children_with_little_memory(kind: str) -> None:
    batches = fuzz_inputs.run(fuzz_inputs.make(kind, seed=8), range(MANY[kind]), jobs=2)
    outcomes = [outcome for batch in batches for outcome in batch]
    assert sorted(outcome.index for outcome in outcomes) == list(range(MANY[kind]))
    assert not [outcome for outcome in outcomes if outcome.result == FAILED]


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    def command(name: str, batch: int) -> list[str]:
        code = f"import fuzz_inputs; fuzz_inputs.BATCH = {batch}; fuzz_inputs.main()"
        options = ["--count", "12", "--json", str(tmp_path / name), "--failures", str(tmp_path)]
        return [sys.executable, "-c", code, "media", *options]

    def done(name: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((tmp_path / name).read_text())
        return told

    place = Path(fuzz_inputs.__file__).parent
    stopped = subprocess.Popen(command("a.json", 3), cwd=place)
    while not (tmp_path / "a.json").exists():
        assert stopped.poll() is None
        time.sleep(0.02)
    stopped.kill()
    assert stopped.wait() == -signal.SIGKILL
    assert 3 <= done("a.json")["inputs"] < 12
    for name, batch in (("a.json", 3), ("b.json", 12)):
        subprocess.run(command(name, batch), cwd=place, check=True, capture_output=True)
    ours, theirs = done("a.json"), done("b.json")
    for name in ("seconds", "slowest"):
        assert ours.pop(name)
        assert theirs.pop(name)
    assert ours == theirs
    assert ours["inputs"] == ours[READ] + ours[REFUSED] == 12


@pytest.mark.parametrize("kind", FEW)
def test_what_is_whole_is_read_and_the_draws_can_be_repeated(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = fuzz_inputs.make(kind, seed=7)
    for name, seed in inputs.seeds.items():
        fuzz_inputs.write(dict(seed.files), Path("input"))
        result, said = fuzz_inputs.read(seed, Path("input"))
        assert result == READ if seed.whole else result != FAILED, f"{name}: {said}"
    again = Inputs(inputs.seeds, 7)
    assert [again.files(i) for i in range(20)] == [inputs.files(i) for i in range(20)]
    assert len({tuple(inputs.files(i).values()) for i in range(20)}) == 20


def fails() -> None:
    raise KeyError("shape")


def takes_too_much() -> None:
    raise MemoryError


def says_two_lines() -> None:
    raise InputError("one\ntwo")


@pytest.mark.parametrize(
    ("call", "said"),
    [(fails, "traceback"), (takes_too_much, "memory"), (says_two_lines, "several lines")],
)
def test_a_fault_of_a_reader_is_found(
    call: Read, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fuzz_readers.READERS, "broken", lambda folder: [call])
    result = fuzz_inputs.read(Seed({}, "broken"), tmp_path)
    assert result[0] == FAILED
    assert result[1].startswith(said)


def test_code_that_ran_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trap, arguments = Trap().__reduce__()
    monkeypatch.setitem(fuzz_readers.READERS, "broken", lambda folder: [lambda: trap(*arguments)])
    assert fuzz_inputs.read(Seed({}, "broken"), tmp_path) == (FAILED, "code in the file ran")
