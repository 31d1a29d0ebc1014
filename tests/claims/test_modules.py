"""Digests of the modules that an experiment stands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinema.claims import modules

FILES = {
    "__init__.py": "",
    "one.py": "import os\nfrom kinema import two\nfrom kinema.room.three import x\n",
    "two.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import kinema.types\n",
    "types.py": "",
    "room/__init__.py": "from kinema.base import y\n",
    "room/three.py": "def f():\n    import kinema.deep\nx = 1\n",
    "base.py": "import kinema.one\ny = 1\n",
    "deep.py": "",
    "apart.py": "",
}
REACHED = ["base", "deep", "one", "room", "room.three", "two"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with imports at the top, in functions, in circles and for type checkers."""
    for name, text in FILES.items():
        file = tmp_path / "kinema" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(modules, "PACKAGE", tmp_path / "kinema")
    modules.imported.cache_clear()
    yield tmp_path / "kinema"
    modules.imported.cache_clear()


def test_all_that_is_imported_at_any_depth_is_found(package: Path) -> None:
    found = modules.digests("kinema.one")
    assert list(found) == ["kinema", *(f"kinema.{name}" for name in REACHED)]


def test_what_changed_is_named(package: Path) -> None:
    recorded = modules.digests("kinema.one")
    assert modules.changed(recorded) == []
    (package / "apart.py").write_text("z = 1\n")
    assert modules.changed(recorded) == []
    (package / "deep.py").write_text("z = 1\n")
    (package / "two.py").unlink()
    assert modules.changed(recorded) == ["kinema.deep", "kinema.two"]


def test_an_experiment_stands_on_its_system_and_its_world() -> None:
    found = modules.digests("kinema.claims.ltx_given_tokens")
    expected = {"systems.ltx_video", "networks.ltx_transformer", "worlds.shapes", "noise"}
    assert {f"kinema.{name}" for name in expected} <= set(found)
    assert "kinema.cli.main" not in found
    assert "kinema.systems.gr1" not in found
