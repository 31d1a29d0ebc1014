"""Disks that are really full: small ones in memory, which Linux lets a namespace mount."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import test_full_disk

from kinema.cli.main import main

MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'
STORY = "a small red circle moves left | 1.5\na small red circle moves up | 2\n"
WINDOWS = 6
TELL = """
import shutil, subprocess, sys
from pathlib import Path
from kinema.cli.main import main
disk, model, story, out = sys.argv[1:]
for kilobytes in range(16, 4096, 16):
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)
    status = main(["generate", "--story", story, "--model", model, "-o", f"{disk}/a.mp4"])
    print("left", status, *sorted(path.name for path in Path(disk).rglob("*")), flush=True)
    if status == 0:
        shutil.copytree(disk, out)
        break
"""


def on_small_disk(disk: Path, size: str, *command: object) -> subprocess.CompletedProcess[str]:
    """Runs Python in a namespace of its own, in which a disk of some size is mounted."""
    disk.mkdir()
    given = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", size, disk]
    return subprocess.run(
        [*map(str, [*given, sys.executable, *command])],
        env={**os.environ, "OMP_NUM_THREADS": "1", test_full_disk.NAME: str(disk)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.fixture(autouse=True)
def can_mount(tmp_path: Path) -> None:
    """Skips where the system lets nobody mount anything."""
    if not shutil.which("unshare"):
        pytest.skip("this system has no namespaces")
    if on_small_disk(tmp_path / "probe", "64k", "-c", "").returncode:
        pytest.skip("this system lets nobody mount a disk")


@pytest.mark.slow
def test_every_kind_of_write_on_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    options = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp", disk / "tests")
    keep = ("-o", "tmp_path_retention_policy=none")
    done = on_small_disk(disk, "1m", "-m", "pytest", *options, *keep, test_full_disk.__file__)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > len(test_full_disk.WRITES)


@pytest.mark.slow
def test_a_story_keeps_its_windows_until_the_clip_fits(tmp_path: Path, model: Path) -> None:
    story = tmp_path / "story.txt"
    story.write_text(STORY)
    common = ["generate", "--story", str(story), "--model", str(model)]
    assert main([*common, "-o", str(tmp_path / "a.mp4")]) == 0
    given = (tmp_path / "disk", model, story, tmp_path / "told")
    done = on_small_disk(given[0], "16k", "-c", TELL, *given)
    assert done.returncode == 0, done.stderr
    told = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("left ")]
    *failed, last = told
    windows = [sum(bool(re.fullmatch(r"\d{5}\.npz", name)) for name in line) for line in failed]
    assert windows == sorted(windows)
    assert windows[0] < windows[-1] == WINDOWS, "the clip was never what did not fit"
    assert {line[0] for line in failed} == {"2"}
    errors = [line for line in done.stderr.splitlines() if line.startswith("kinema: error: ")]
    assert len(errors) == len(failed)
    assert all("the disk is full; make room" in line for line in errors), errors
    assert "Traceback" not in done.stderr
    assert not [name for line in failed for name in line if "partial" in name]
    assert last == ["0", "a.drift.png", "a.json", "a.mp4", "a.png"]
    for name in ("a.mp4", "a.png", "a.drift.png"):
        assert (tmp_path / "told" / name).read_bytes() == (tmp_path / name).read_bytes()
