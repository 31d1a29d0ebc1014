"""Places that cannot be written, that two processes write, odd names, files from the future."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from kinema import worlds
from kinema.clip import Clip
from kinema.errors import InputError
from kinema.files import LOCK, alone
from kinema.media import write_contact_sheet
from kinema.sample import Sound, Table, Text
from kinema.training import checkpoint
from kinema.weights import files
from kinema.worlds.folder import write_folder

CLIP = Clip(np.zeros((2, 16, 16, 3), np.uint8), 8.0)
NOWHERE = Path("/proc")  # nobody can make a file there, not even root

ODD = [
    "a\nb",
    "-o",
    "--help",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{SMILING FACE WITH SUNGLASSES}",
    "e\N{COMBINING ACUTE ACCENT}",
    "dot.",
    " spaces ",
    "100%d",
    "*?[a]",
    "a:b",
    "quote's \"",
    "back\\slash",
    "\N{RIGHT-TO-LEFT OVERRIDE}txt",
    "x" * (255 - 4),
    "\N{SMILING FACE WITH SUNGLASSES}" * 62,
]


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_odd_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = Path(name + ".mp4")
    CLIP.write(place)
    assert Clip.read(place).num_frames == 2
    Text("x").write(Path(name + ".txt"))
    write_contact_sheet(
        name + ".png", [CLIP], [name], columns=1, frames_per_clip=2, overwrite=False
    )
    Sound(np.zeros((1, 800), np.float32), 8000).write(Path(name + ".wav"))
    short = Path(name[:60])
    files.save(short.with_name(short.name + ".safetensors"), {}, {}, overwrite=False)
    wanted = {name + ending for ending in (".mp4", ".txt", ".png", ".wav")}
    assert {path.name for path in tmp_path.iterdir()} == wanted | {short.name + ".safetensors"}


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    for name in ("x" * 300 + ".mp4", "a\0b.mp4"):
        with pytest.raises(InputError) as caught:
            CLIP.write(tmp_path / name)
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError):
            Clip.read(tmp_path / name)
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(not NOWHERE.is_dir(), reason="this system has no such folder")
def test_a_place_where_nothing_can_be_made() -> None:
    table = Table(("a",), ((1,),))
    writes = {
        "clip.mp4": CLIP.write,
        "clip.gif": CLIP.write,
        "t.json": table.write,
        "a.txt": Text("x").write,
        "w.safetensors": lambda path: files.save(path, {}, {}, overwrite=False),
        "new/folder/clip.mp4": CLIP.write,
    }
    for name, write in writes.items():
        with pytest.raises(InputError, match=f"cannot (write|make).*{NOWHERE}") as caught:
            write(NOWHERE / name)
        assert "\n" not in str(caught.value)


# Two processes.


HOLD = """
import sys, time
from kinema.files import alone
with alone(sys.argv[1]):
    print("inside", flush=True)
    time.sleep(60)
"""
COUNT = """
import sys, time
from pathlib import Path
from kinema.errors import InputError
from kinema.files import alone
place, done = Path(sys.argv[1], "number"), 0
while done < 50:
    try:
        with alone(sys.argv[1]):
            place.write_text(str(int(place.read_text()) + 1))
            done += 1
    except InputError:
        time.sleep(0.001)
"""


def started(script: str, folder: Path) -> subprocess.Popen[str]:
    """A script in a process of its own, told a folder."""
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes in `tmp_path`."""
    with started(HOLD, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        yield process
        process.kill()


def small_world() -> worlds.World:
    return worlds.load("shapes", seed=0, split="train", num_frames=2, height=32, width=32, fps=8.0)


def test_the_second_process_gets_a_line(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    line = f"another process writes in {tmp_path}; wait for it, or choose another folder"
    with pytest.raises(InputError) as caught:
        write_folder(small_world(), range(2), tmp_path)
    assert str(caught.value) == line
    holder.kill()
    holder.wait()
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert write_folder(small_world(), range(2), tmp_path) == 2  # a lock dies with its process
    assert not (tmp_path / LOCK).exists()


def test_one_after_the_other(tmp_path: Path) -> None:
    for _ in range(2):
        with alone(tmp_path):
            with pytest.raises(InputError, match="another process"), alone(tmp_path):
                pass
            with alone(tmp_path / "another"):
                pass
            assert (tmp_path / LOCK).exists()
        assert not (tmp_path / LOCK).exists()


def test_no_two_are_inside_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    for process in [started(COUNT, tmp_path) for _ in range(3)]:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert (tmp_path / "number").read_text() == "150"


# Clocks.


def test_times_of_files_do_not_matter(tmp_path: Path) -> None:
    tensors = {"x": torch.ones(3)}
    for step, when in ((2, 4e9), (4, 1e9), (6, 0.0)):
        path = checkpoint.path_of(tmp_path, step)
        checkpoint.save(path, tensors, {"step": step, "seed": 0, "recipe": {}})
        os.utime(path, (when, when))
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.values["step"] == 6
    left = tmp_path / f".clip.{'0' * 8}-1-{'0' * 8}.partial.mp4"
    left.touch()
    os.utime(left, (4e9, 4e9))
    CLIP.write(tmp_path / "clip.mp4")
    assert left.exists()  # of another machine, whatever its clock says
