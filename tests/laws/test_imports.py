"""Law: what a person waits for at the prompt does not load torch, and answers at once."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("kinema"))
SECONDS = 0.5
HEAVY = ("torch", "transformers", "diffusers")


def heavy_imports(statement: str, folder: Path) -> list[str]:
    """The heavy packages that a fresh interpreter, started in `folder`, has after `statement`."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.split()


def fastest(arguments: list[str], *, runs: int) -> float:
    """Seconds of the fastest of `runs`: the others tell what else the machine was doing."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        answer = subprocess.run(arguments, capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
        assert answer.returncode == 0, answer.stderr
    return min(seconds)


@pytest.mark.parametrize(
    "module",
    ["kinema", "kinema.cli.main", "kinema.card", "kinema.registry", "kinema.clip", "kinema.media"],
)
def test_import_is_light(module: str, tmp_path: Path) -> None:
    assert heavy_imports(f"import {module}", tmp_path) == []


def test_a_heavy_import_is_caught(tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    (tmp_path / "light.py").write_text("import torch\n")
    assert heavy_imports("import light", tmp_path) == ["torch"]


@pytest.mark.parametrize("verb", ["--help", "systems"])
def test_the_command_line_answers_at_once(verb: str) -> None:
    seconds = fastest([COMMAND, verb], runs=5)
    assert seconds < SECONDS, f"kinema {verb} takes {seconds:.2f} s, at most {SECONDS} s"


def test_a_slow_command_is_caught() -> None:
    command = [sys.executable, "-c", f"import time; time.sleep({SECONDS})"]
    assert fastest(command, runs=2) > SECONDS
