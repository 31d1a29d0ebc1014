"""No run of six lines of code stands in two files of systems, or of networks."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import kinema

RUN = 6
ROOMS = ("systems", "networks")
SOURCE = Path(kinema.__file__).parent


def code_lines(path: Path) -> list[tuple[int, str]]:
    """(number, text) of the lines that say something: no blanks, comments, imports or brackets."""
    lines = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if text.strip("()[]{},:") and not text.startswith(("#", "import ", "from ", '"""')):
            lines.append((number, text))
    return lines


def repeated_runs(paths: list[Path]) -> list[str]:
    """``a.py:10 ~ b.py:20`` for each run of six lines that two files share."""
    places: dict[tuple[str, ...], list[tuple[Path, int]]] = defaultdict(list)
    for path in paths:
        lines = code_lines(path)
        for start in range(len(lines) - RUN + 1):
            run = tuple(text for _, text in lines[start : start + RUN])
            places[run].append((path, lines[start][0]))
    return [
        " ~ ".join(f"{path.name}:{number}" for path, number in where)
        for where in places.values()
        if len({path for path, _ in where}) > 1
    ]


def test_systems_and_networks_repeat_nothing() -> None:
    paths = [path for room in ROOMS for path in sorted((SOURCE / room).glob("*.py"))]
    assert len(paths) > 50
    assert repeated_runs(paths) == []


def test_a_repeated_run_is_found(tmp_path: Path) -> None:
    body = "\n".join(f"x{i} = f({i})" for i in range(RUN))
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(f"{name} = 1\n\n{body}\n# end\n")
    (tmp_path / "c.py").write_text(body.replace("x5", "y5"))
    assert repeated_runs(sorted(tmp_path.glob("*.py"))) == ["a.py:3 ~ b.py:3"]
