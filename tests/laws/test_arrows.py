"""Law: imports point downwards, as the contracts in pyproject.toml say; broken ones are caught."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("errors", "files", "config", "card", "registry", "noise", "clip", "sample")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs import-linter in `folder`, on the package `kinema` that lies in it."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def rooms() -> list[str]:
    """Every room that the layers name and that exists by now: those without parentheses."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = (
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    names = [name.strip() for layer in layers for name in layer.replace("|", ":").split(":")]
    return [name for name in names if not name.startswith("(")]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """An empty package with the rooms of the real one, under the real contracts."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    package = tmp_path / "kinema"
    package.mkdir()
    (package / "__init__.py").touch()
    for room in rooms():
        if room in FILES:
            (package / f"{room}.py").touch()
        else:
            (package / room).mkdir()
            (package / room / "__init__.py").touch()
    return tmp_path


def test_imports_point_downwards(house: Path) -> None:
    package = house / "kinema"
    (package / "systems" / "__init__.py").write_text("import kinema.networks, kinema.training\n")
    (package / "training" / "__init__.py").write_text("import torch, kinema.processes\n")
    report = lint_imports(house)
    assert report.returncode == 0, report.stdout + report.stderr


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("nn/attention.py", "from kinema import systems"),
        ("nn/attention.py", "import kinema.data"),
        ("networks/unet.py", "from kinema.training import __name__"),
        ("processes/flow.py", "import kinema.systems"),
        ("systems/one.py", "def run():\n    import kinema.cli"),
        ("data/folder.py", "import kinema.nn"),
        ("worlds/shapes.py", "import kinema.networks"),
        ("weights/maps.py", "import kinema.networks"),
        ("config.py", "import kinema.clip"),
        ("planning/meters.py", "import kinema.nn"),
        ("systems/one.py", "import kinema.claims"),
        ("systems/one.py", "import kinema.rollout"),
        ("rollout/driver.py", "import kinema.cli"),
        ("claims/one.py", "import kinema.parity"),
        ("media/reading.py", "import torch"),
        ("clip.py", "import kinema.noise"),
    ],
)
def test_an_upward_import_is_caught(house: Path, file: str, line: str) -> None:
    (house / "kinema" / file).write_text(line + "\n")
    report = lint_imports(house)
    assert report.returncode == 1, report.stdout + report.stderr
    assert "BROKEN" in report.stdout


def test_a_room_without_a_place_is_caught(house: Path) -> None:
    (house / "kinema" / "attic.py").touch()
    report = lint_imports(house)
    assert report.returncode != 0
    assert "attic" in report.stdout + report.stderr
