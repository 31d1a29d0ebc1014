"""Killed, stopped and refused runs go on to the same numbers, bit for bit, in both stages."""

from __future__ import annotations

import random
from pathlib import Path

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
    fresh,
    losses,
    run,
    write_latents,
)

from kinema.training import checkpoint

STAGES = ("codec", "generator")


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latents")
    write_latents(folder, fresh())
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, latents: Path) -> dict[str, Path]:
    """{stage: folder of a run that nothing disturbed}."""
    folders = {stage: tmp_path_factory.mktemp(stage) for stage in STAGES}
    for stage, folder in folders.items():
        assert run(stage, folder, data(stage, latents)) == FINISHED
    return folders


def data(stage: str, latents: Path) -> Path | None:
    return latents if stage == "generator" else None


def assert_same(folder: Path, whole: Path) -> None:
    """Two runs: all digits of all losses, all bits of the last checkpoint and of the model."""
    assert losses(folder) == losses(whole)
    tensors, values = checkpoint.load(checkpoint.path_of(folder, STEPS))
    expected, expected_values = checkpoint.load(checkpoint.path_of(whole, STEPS))
    assert values == expected_values
    assert tensors.keys() == expected.keys()
    different = [name for name in tensors if not torch.equal(tensors[name], expected[name])]
    assert not different
    assert (folder / MODEL).read_bytes() == (whole / MODEL).read_bytes()
    left = {path.name for path in folder.glob(".*")}
    assert not left, "a killed run's unfinished files stay"


def test_a_run_holds_what_it_should(whole: dict[str, Path]) -> None:
    lines = losses(whole["codec"])
    steps = [line["step"] for line in lines if "codec/loss" in line]
    assert steps == list(range(STEPS))
    critic = [line["step"] for line in lines if "critic/loss" in line]
    assert critic == list(range(4, STEPS))
    reports = [line["step"] for line in lines if "held_out/psnr" in line]
    assert reports == [3, 7, 11]
    for folder in whole.values():
        kept = sorted(path.name for path in folder.glob("*.safetensors"))
        assert kept == [MODEL, "step-00000010.safetensors", "step-00000012.safetensors"]
        sheets = [path.name for path in sorted((folder / "sheets").iterdir())]
        assert sheets == [f"step-{step:08d}.png" for step in (4, 8, 12)]
        assert list((folder / "tensorboard").iterdir())


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_five_steps(
    stage: str, tmp_path: Path, latents: Path, whole: dict[str, Path]
) -> None:
    steps = sorted(random.Random(STAGES.index(stage)).sample(range(STEPS), 5))
    for step in steps:
        status = run(stage, tmp_path, data(stage, latents), Fault("kill", step))
        assert status == KILLED
    assert run(stage, tmp_path, data(stage, latents)) == FINISHED
    assert_same(tmp_path, whole[stage])


@pytest.mark.parametrize("stage", STAGES)
def test_killed_while_a_checkpoint_is_written(
    stage: str, tmp_path: Path, latents: Path, whole: dict[str, Path]
) -> None:
    assert run(stage, tmp_path, data(stage, latents), Fault("kill in save", 6)) == KILLED
    assert list(tmp_path.glob(".step-00000006.*.partial.safetensors"))
    assert not checkpoint.path_of(tmp_path, 6).exists()
    assert run(stage, tmp_path, data(stage, latents)) == FINISHED
    assert_same(tmp_path, whole[stage])


def test_asked_to_stop(tmp_path: Path, latents: Path, whole: dict[str, Path]) -> None:
    assert run("generator", tmp_path, latents, Fault("terminate", 6)) == ASKED
    assert checkpoint.path_of(tmp_path, 7).exists()  # the step was finished and saved
    assert not (tmp_path / MODEL).exists()
    assert run("generator", tmp_path, latents) == FINISHED
    assert_same(tmp_path, whole["generator"])


def test_asked_to_stop_in_the_last_step(
    tmp_path: Path, latents: Path, whole: dict[str, Path]
) -> None:
    assert run("generator", tmp_path, latents, Fault("terminate", STEPS - 1)) == FINISHED
    assert_same(tmp_path, whole["generator"])


def test_a_full_disk(tmp_path: Path, whole: dict[str, Path]) -> None:
    assert run("codec", tmp_path, None, Fault("full disk", 5)) == REFUSED
    said = (tmp_path / ERROR).read_text()
    assert said.startswith("cannot write")
    assert checkpoint.path_of(tmp_path, 6).name in said
    assert "\n" not in said
    assert [path.name for path in sorted(tmp_path.glob("*step-*"))] == [
        "step-00000002.safetensors",
        "step-00000004.safetensors",
    ]
    assert run("codec", tmp_path, None) == FINISHED
    assert_same(tmp_path, whole["codec"])


def test_a_damaged_checkpoint_costs_two_steps(
    tmp_path: Path, latents: Path, whole: dict[str, Path]
) -> None:
    assert run("generator", tmp_path, latents, Fault("kill", 9)) == KILLED
    path = checkpoint.path_of(tmp_path, 8)
    path.write_bytes(path.read_bytes()[:-100])
    assert run("generator", tmp_path, latents, Fault("kill", 7)) == KILLED  # it went on at 6
    assert run("generator", tmp_path, latents) == FINISHED
    assert_same(tmp_path, whole["generator"])
