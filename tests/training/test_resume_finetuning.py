"""A fine-tuning on a folder of clips that was killed goes on to the same numbers, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nano_stage import (
    ASKED,
    ERROR,
    FINISHED,
    KILLED,
    MODEL,
    REFUSED,
    STEPS,
    Fault,
    losses,
    run,
)

from kinema.clip import Clip
from kinema.training import checkpoint


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of two shapes with a word that the model does not know."""
    folder = tmp_path_factory.mktemp("clips")
    for index in range(6):
        size = (32, 32) if index % 3 else (32, 80)
        shade = np.linspace(20 * index, 255, 9).astype(np.uint8)
        frames = np.broadcast_to(shade[:, None, None, None], (9, *size, 3)).copy()
        Clip(frames, 12.0).write(folder / f"{index}.mp4")
        (folder / f"{index}.txt").write_text(f"a glimmering circle moves {index % 2 and 'left'}")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert run("finetune", folder, clips) == FINISHED
    return folder


@pytest.mark.parametrize("step", [0, 5])
def test_a_killed_run_goes_on_as_if_nothing_had_been(
    whole: Path, clips: Path, tmp_path: Path, step: int
) -> None:
    assert run("finetune", tmp_path, clips, Fault("kill", step)) == KILLED
    assert run("finetune", tmp_path, clips) == FINISHED
    assert losses(tmp_path) == losses(whole)
    tensors, values = checkpoint.load(checkpoint.path_of(tmp_path, STEPS))
    expected, expected_values = checkpoint.load(checkpoint.path_of(whole, STEPS))
    assert values == expected_values
    assert tensors.keys() == expected.keys()
    assert [n for n in tensors if not torch.equal(tensors[n], expected[n])] == []
    assert (tmp_path / MODEL).read_bytes() == (whole / MODEL).read_bytes()


def test_other_clips_are_no_way_to_go_on(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for path in clips.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert run("finetune", tmp_path / "run", folder, Fault("terminate", 4)) == ASKED
    (folder / "2.txt").write_text("a glimmering circle")
    assert run("finetune", tmp_path / "run", folder) == REFUSED
    said = (tmp_path / "run" / ERROR).read_text()
    assert said.startswith("2.mp4 changed since the run in ")
    assert said.endswith("began; use another --output")
