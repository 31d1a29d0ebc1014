"""`bench/kill_trainings.py` at its smallest; a hang is no kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import kill_trainings
import pytest
from kill_trainings import COLUMNS, HUNG, Leg

STAGE = "ltx_video.codec"


@pytest.mark.slow
def test_killed_trainings_come_to_the_same_bits(tmp_path: Path) -> None:
    figures = tmp_path / "new" / "kills.json"
    command = [sys.executable, str(kill_trainings.__file__), "--count", "2", "--stages", STAGE]
    command += ["--json", str(figures)]
    stopped = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not figures.exists():
        assert stopped.poll() is None
        time.sleep(0.02)
    stopped.kill()
    assert stopped.wait() == -signal.SIGKILL
    before = json.loads(figures.read_text())
    assert before["draws"] >= 1
    assert before["kills"] < 2
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    told = json.loads(figures.read_text())
    assert told["kills"] == 2
    assert (told["refused"], told["different"]) == (0, 0)
    assert told["finished"] >= 1
    assert told["of"] == {STAGE: {column: told[column] for column in COLUMNS}}
    assert told["draws"] > 2
    assert told["seconds"] > before["seconds"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    other = subprocess.run([*command, "--seed", "1"], capture_output=True, text=True, timeout=60)
    assert other.stderr.startswith(f"{figures} is of a run with another seed; remove it")


@pytest.mark.slow
def test_a_run_that_does_not_end_is_no_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leg = Leg(STAGE, tmp_path)
    monkeypatch.setattr(kill_trainings, "LONGEST", 0.2)
    assert leg.start(leg.place, None, 10**9) == HUNG
    assert leg.start(leg.place, 0.1, None) < 0
