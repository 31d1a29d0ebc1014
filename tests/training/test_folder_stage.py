"""Files of a folder: which are held out, when a run looks at them, that they stay the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinema.errors import InputError
from kinema.training.folder_stage import check_once, is_folder, unsorted


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "data"
    folder.mkdir()
    paths = [folder / f"{number:02d}.png" for number in range(21)]
    for path in paths:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    return paths


def test_every_tenth_is_held_out_and_each_keeps_its_number(pictures: list[Path]) -> None:
    files = unsorted(pictures[0].parent, pictures)
    assert [file.label for file in files.held_out] == [9, 19]
    assert [file.label for file in files.train] == [n for n in range(21) if n not in (9, 19)]
    assert all(file.path == pictures[file.label] for file in files.files)
    assert files.described() == "21 files; 2 are held out"
    few = unsorted(pictures[0].parent, pictures[:9])
    assert few.held_out == few.train
    assert "none is held out" in few.described()


def test_a_run_looks_at_its_files_once(pictures: list[Path], tmp_path: Path) -> None:
    files, run = unsorted(pictures[0].parent, pictures), tmp_path / "run"
    check_once(files, run)
    assert (run / "files.txt").read_text().splitlines() == files.names
    pictures[3].write_bytes(b"none")
    check_once(files, run)  # their names are the same
    with pytest.raises(InputError, match=r"03\.png"):
        check_once(files, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_other_files_are_those_of_another_run_once_it_has_trained(
    pictures: list[Path], tmp_path: Path
) -> None:
    folder, run = pictures[0].parent, tmp_path / "run"
    check_once(unsorted(folder, pictures), run)
    check_once(unsorted(folder, pictures[1:]), run)
    assert len((run / "files.txt").read_text().splitlines()) == 20
    (run / "step-000002.safetensors").touch()
    with pytest.raises(InputError, match="holds other files since the run in"):
        check_once(unsorted(folder, pictures), run)


def test_a_world_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("shapes", "mine"):
        Path(name).mkdir()
    assert is_folder("mine", ("shapes",))
    assert not is_folder("shapes", ("shapes",))
    assert not is_folder("shapes:level=2", ("shapes",))
    assert not is_folder("missing", ("shapes",))
    assert not is_folder(None, ("shapes",))
