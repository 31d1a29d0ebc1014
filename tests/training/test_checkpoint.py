"""A checkpoint is whole or it is refused: cut at every byte, changed in any bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kinema.errors import InputError
from kinema.training import checkpoint

TENSORS = {
    "objective/weight": torch.arange(6.0).reshape(2, 3),
    "ema/updates": torch.tensor(7),
    "optimizer/one/weight/step": torch.tensor(3.0),
    "objective/half": torch.ones(3, dtype=torch.bfloat16),
    "objective/none": torch.zeros(0, 4),
}
VALUES = {"step": 4, "seed": 0, "recipe": {"learning_rate": 0.1}}


def written(folder: Path, step: int) -> Path:
    path = checkpoint.path_of(folder, step)
    checkpoint.save(path, TENSORS, {**VALUES, "step": step})
    return path


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    tensors, values = checkpoint.load(written(tmp_path, 4))
    assert values == VALUES
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_a_run_without_checkpoints_has_no_latest(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "absent") is None
    (tmp_path / ".step-00000002.1234abcd.partial.safetensors").write_bytes(b"half")
    assert checkpoint.latest(tmp_path) is None


def test_cut_at_any_byte_the_one_before_is_taken(tmp_path: Path) -> None:
    written(tmp_path, 2)
    newest = written(tmp_path, 4)
    whole = newest.read_bytes()
    for length in range(len(whole)):
        newest.write_bytes(whole[:length])
        found = checkpoint.latest(tmp_path)
        assert found is not None
        assert found[1]["step"] == 2, f"taken with {length} of {len(whole)} bytes"


def test_cut_anywhere_at_the_size_of_a_run(tmp_path: Path) -> None:
    path = checkpoint.path_of(tmp_path, 2)
    tensors = {f"layer.{i}": torch.full((64, 64 + i), float(i)) for i in range(20)}
    checkpoint.save(path, tensors, VALUES)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    offsets = [
        header + offset
        for name, entry in json.loads(whole[8:header]).items()
        if name != "__metadata__"
        for offset in entry["data_offsets"]
    ]
    lengths = {
        0,
        1,
        7,
        8,
        9,
        header - 1,
        header,
        len(whole) - 1,
        *offsets,
        *(o - 1 for o in offsets),
    }
    for length in sorted(lengths - {len(whole)}):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="not a whole checkpoint"):
            checkpoint.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match="not a whole checkpoint"):
        checkpoint.load(path)


def test_changed_in_any_bit_it_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, 4)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in {5, place % 8}:  # bit 5 turns letters from small to large
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(InputError):
                checkpoint.load(path)


def test_a_damaged_one_is_passed_over_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, 2)
    newest = written(tmp_path, 4)
    newest.write_bytes(newest.read_bytes()[:-1])
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found[1]["step"] == 2
    (record,) = caplog.records
    assert newest.name in record.getMessage()


def test_when_none_is_whole_nothing_begins_anew(tmp_path: Path) -> None:
    for step in (2, 4):
        written(tmp_path, step).write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint in .* is whole"):
        checkpoint.latest(tmp_path)


def test_only_what_is_named_is_kept(tmp_path: Path) -> None:
    paths = [written(tmp_path, step) for step in (2, 4, 6)]
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"the user's")
    checkpoint.keep(tmp_path, {paths[0], paths[2]})
    assert {*tmp_path.iterdir()} == {paths[0], paths[2], other}
