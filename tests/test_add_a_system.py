"""What `docs/add-a-system.md` tells is done here, to the letter, in a copy of the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kinema import registry

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "toy_video"
IGNORED = shutil.ignore_patterns("__pycache__", "shipped")
KNOWN = "NETWORKS = {\n"
ADDED = f'{KNOWN}    "63-toy-video": "kinema.parity.toy_video",\n'
MODEL = "toy_video@runs/toy/model.safetensors"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its tests with the example in it."""
    folder = tmp_path_factory.mktemp("checkout")
    for room in ("src", "tests"):
        shutil.copytree(ROOT / room, folder / room, ignore=IGNORED)
        shutil.copytree(EXAMPLE / room, folder / room, dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    runner = folder / "src" / "kinema" / "parity" / "runner.py"
    text = runner.read_text()
    assert KNOWN in text
    runner.write_text(text.replace(KNOWN, ADDED))
    return folder


def run(folder: Path, *arguments: str) -> str:
    """Runs a module of Python on the copy and gives what it says on stdout."""
    answer = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_the_example_is_a_system(checkout: Path) -> None:
    listed = run(checkout, "kinema", "systems").splitlines()
    names = [line.split()[1] for line in listed]
    assert names == ["name", *registry.cards(), "toy_video"]
    cases = run(checkout, "kinema", "parity", "tests/cases/63-toy-video")
    assert cases.splitlines()[-1] == "1 passed, 0 failed"


def test_laws_and_contracts_hold_for_it(checkout: Path) -> None:
    arrows = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    report = subprocess.run(
        arrows,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 0, report.stdout
    laws = ("tests/laws/test_cards.py", "tests/laws/test_sizes.py", "tests/laws/test_style.py")
    run(checkout, "pytest", "-q", "-x", *laws)
    run(checkout, "pytest", "-q", "-x", "tests/contract", "-k", "toy_video")
    run(checkout, "pytest", "-q", "-x", "tests/networks/test_toy_transformer.py")


def test_it_trains_and_makes_a_clip(checkout: Path) -> None:
    stage = ("--stage", "generator", "--preset", "nano", "--output", "runs/toy")
    assert run(checkout, "kinema", "train", "toy_video", *stage) == "runs/toy/model.safetensors\n"
    prompt = "a small red circle moves left on a navy background"
    run(checkout, "kinema", "generate", prompt, "--model", MODEL, "--output", "one.mp4")
    run(checkout, "kinema", "run", MODEL, prompt, "--output", "two.mp4")
    assert (checkout / "one.mp4").read_bytes() == (checkout / "two.mp4").read_bytes()
