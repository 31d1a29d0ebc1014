"""Files appear complete or not at all, and nothing that stood there is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kinema.errors import InputError
from kinema.files import DEEPEST, atomic, check_writable, parse_json, write_text

FULL = Path("/dev/full")
WRITER = """
import os, signal, sys
from contextlib import ExitStack
from pathlib import Path
from kinema.files import atomic
with ExitStack() as stack:
    place = Path(sys.argv[1])
    for _ in range(int(sys.argv[2])):
        place = stack.enter_context(atomic(place, overwrite=True))
        place.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def writer(path: Path, depth: int = 1) -> subprocess.Popen[str]:
    """A process in the middle of writing `path`; it kills itself when its input ends."""
    command = [sys.executable, "-c", WRITER, str(path), str(depth)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    """Ends a writer in the middle of its work."""
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def write_half(path: Path, then: Callable[[], object], *, overwrite: bool) -> None:
    """Writes a partial file, then something else happens."""
    with atomic(path, overwrite=overwrite) as partial:
        partial.write_text("half")
        then()


def test_a_file_appears_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "clip.mp4"
    with atomic(path) as partial:
        assert partial.parent == path.parent
        assert partial.suffix == ".mp4"
        partial.write_bytes(b"frames")
        assert not path.exists()
    assert path.read_bytes() == b"frames"
    assert names(path.parent) == ["clip.mp4"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_stood_there_survives_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        raise error

    with pytest.raises(error):
        write_half(path, fail, overwrite=True)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_failure_before_anything_was_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), atomic(tmp_path / "a.txt"):
        raise ValueError("early")
    assert names(tmp_path) == []


@pytest.mark.skipif(
    not FULL.is_char_device(), reason="this system has no device that is always full"
)
@pytest.mark.parametrize(
    ("stood", "left"), [(True, "what stood there is intact"), (False, "nothing is left there")]
)
def test_a_full_disk_is_named(tmp_path: Path, stood: bool, left: str) -> None:
    path = tmp_path / "a.txt"
    if stood:
        write_text(path, "old")
    with pytest.raises(InputError) as raised:
        write_half(path, lambda: FULL.write_text("the other half"), overwrite=True)
    assert str(raised.value) == f"cannot write {path}: the disk is full; make room ({left})"
    assert names(tmp_path) == ["a.txt"] * stood
    assert not stood or path.read_text() == "old"


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(InputError, match=r"a\.txt exists; choose another name or pass --overwrite"):
        write_text(path, "new")
    assert path.read_text() == "old"
    write_text(path, "new", overwrite=True)
    assert path.read_text() == "new"


def test_what_appears_during_the_work_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(InputError, match="exists"):
        write_half(path, lambda: path.write_text("theirs"), overwrite=False)
    assert path.read_text() == "theirs"
    assert names(tmp_path) == ["a.txt"]


def test_a_link_to_nowhere_is_something_that_stands_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link exists"):
        write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()


def test_writers_may_be_nested_and_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic(path) as outer:
        with atomic(outer) as inner:
            inner.write_text("one")
        assert outer.read_text() == "one"
    with atomic(path, overwrite=True) as first, atomic(path, overwrite=True) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # its block ends last
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("depth", [1, 2])
def test_what_a_killed_writer_left_is_removed(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "a.txt"
    kill(writer(path, depth))
    assert len(names(tmp_path)) == depth
    assert not path.exists()
    write_text(path, "whole")
    assert names(tmp_path) == ["a.txt"]


def test_only_what_nobody_writes_is_removed(tmp_path: Path) -> None:
    killed, living = writer(tmp_path / "killed.txt"), writer(tmp_path / "living.txt")
    kill(killed)
    (dead,) = tmp_path.glob(".killed.*.partial.txt")
    owner = dead.name.split(".")[2]
    machine, process, token = owner.split("-")
    elsewhere = f"{int(machine, 16) ^ 1:08x}-{process}-{token}"
    kept = [f".killed.{elsewhere}.partial.txt", ".a.partial.txt", f"a.{owner}.txt", ".hidden"]
    for name in kept:
        (tmp_path / name).touch()
    (partial,) = tmp_path.glob(".living.*.partial.txt")
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == sorted([*kept, "a.txt", partial.name])
    kill(living)


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        check_writable(tmp_path, overwrite=True)
    with pytest.raises(InputError, match=r"cannot make the folder .*file"):
        check_writable(tmp_path / "file" / "a.txt")
    with pytest.raises(InputError, match="is a device or a pipe"):
        check_writable(os.devnull, overwrite=True)
    with pytest.raises(InputError, match=r"cannot write .*: .*; choose another name"):
        check_writable(tmp_path / ("x" * 300))
    with pytest.raises(InputError, match=r"cannot write .*nothing is left there"):
        write_text(tmp_path / ("a." + "x" * 250), "too long with the name of its writer")


def test_long_names_leave_room_for_the_writer(tmp_path: Path) -> None:
    path = tmp_path / ("\N{LATIN SMALL LETTER E WITH ACUTE}" * 120 + ".txt")  # 244 bytes
    with atomic(path) as outer, atomic(outer, overwrite=True) as inner:
        inner.write_text("x")
    assert path.read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot write in the folder"):
        check_writable(tmp_path / "a.txt")


def test_a_folder_that_cannot_be_listed_can_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o300)
    write_text(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "x"
    tmp_path.chmod(0o700)


def test_json_is_read_from_text_and_bytes() -> None:
    for text in ("[1, {}]", b"[1, {}]", "[1, {}]".encode("utf-16")):
        assert parse_json(text, "it") == [1, {}]
    for text in ("{", b"\xff", "9" * 5000, ""):
        with pytest.raises(InputError, match=r"^it is no JSON: ") as said:
            parse_json(text, "it")
        assert "\n" not in str(said.value)


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_json_may_be_nested_so_deeply_and_no_deeper(begin: str, end: str) -> None:
    levels = DEEPEST // (begin.count("[") + begin.count("{"))
    assert parse_json(begin * levels + "1" + end * levels, "it")
    for deeper in (levels + 1, 900, 100_000):
        with pytest.raises(InputError, match="it is no JSON that can be read"):
            parse_json(begin * deeper + "1" + end * deeper, "it")
