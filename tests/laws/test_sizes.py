"""Law: files stay short enough to be read in one sitting, and are named for what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "bench")
LONGEST = 600
LONGEST_PART = 400
LONGEST_SYSTEM = 260
EMPTY_NAMES = {"util", "utils", "helper", "helpers", "misc", "common"}


def limit(path: Path) -> int:
    """The most lines that the file at `path`, relative to the project, may have."""
    if path.parts[:3] == ("src", "kinema", "systems"):
        return LONGEST_SYSTEM
    return LONGEST_PART if path.parts[0] == "src" else LONGEST


def violations(root: Path) -> list[str]:
    """Files below `root` that are too long, or whose name says nothing of what they hold."""
    found = []
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            path = file.relative_to(root)
            lines = len(file.read_text().splitlines())
            if lines > limit(path):
                found.append(f"{path}: {lines} lines, at most {limit(path)}; a part is missing")
            words = {word for part in path.with_suffix("").parts for word in part.split("_")}
            found += [f"{path}: {word!r} names nothing" for word in sorted(words & EMPTY_NAMES)]
    return found


def test_files_are_short_and_named() -> None:
    assert (ROOT / "src" / "kinema" / "errors.py").exists()
    assert not violations(ROOT)


@pytest.mark.parametrize(
    ("file", "lines", "said"),
    [
        ("src/kinema/systems/ltx_video.py", 261, "at most 260"),
        ("src/kinema/nn/attention.py", 401, "at most 400"),
        ("src/kinema/clip.py", 401, "at most 400"),
        ("tests/nn/test_attention.py", 601, "at most 600"),
        ("src/kinema/nn/vae_utils.py", 1, "'utils'"),
        ("src/kinema/common/norms.py", 1, "'common'"),
    ],
)
def test_a_long_or_nameless_file_is_caught(
    tmp_path: Path, file: str, lines: int, said: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text("x = 1\n" * lines)
    (report,) = violations(tmp_path)
    assert report.startswith(file)
    assert said in report


def test_a_file_at_its_limit_stands(tmp_path: Path) -> None:
    for file, lines in (("src/kinema/systems/one.py", 260), ("src/kinema/nn/norms.py", 400)):
        path = tmp_path / file
        path.parent.mkdir(parents=True)
        path.write_text("x = 1\n" * lines)
    assert violations(tmp_path) == []
