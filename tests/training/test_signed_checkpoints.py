"""Checkpoints whose digest fits and whose content does not: anyone can compute a digest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from small_objectives import Line, run, trainer
from torch import Tensor

from kinema.config import to_dict
from kinema.errors import InputError
from kinema.training import checkpoint, shards
from kinema.weights import files

DEEP = "[" * 9999
Tensors = dict[str, Tensor]


def state(step: int) -> tuple[Tensors, dict[str, Any]]:
    """What a run saves after a step."""
    made = trainer(Line())
    for made.step in range(step):
        made.train_step()
    return made.state(), {"step": step, "seed": 0, "recipe": to_dict(made.recipe)}


def assert_passed_over(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The checkpoint of step 2 is taken, and one line said why that of step 4 is not."""
    resumed = run(Line(), folder)
    assert resumed.resume()
    assert resumed.trainer.step == 2
    (record,) = (record for record in caplog.records if record.name == checkpoint.LOGGER.name)
    assert "step-00000004" in record.getMessage()
    assert "\n" not in record.getMessage()


# One file.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with a checkpoint of step 2."""
    checkpoint.save(checkpoint.path_of(tmp_path, 2), *state(2))
    return tmp_path


VALUES = [
    *("[1]", "null", '"text"', "{}", '{"step": 4}', "{", DEEP, "9" * 5000),
    '{"step": "4", "seed": 0, "recipe": {}}',
    '{"step": true, "seed": 0, "recipe": {}}',
    '{"step": -1, "seed": 0, "recipe": {}}',
    '{"step": 4, "seed": 0, "recipe": [1]}',
]


@pytest.mark.parametrize("text", VALUES, ids=range(len(VALUES)))
def test_values_that_say_too_little(
    folder: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    tensors, _ = state(4)
    metadata = {"values": text, "digest": checkpoint._digest(tensors, text)}
    files.save(checkpoint.path_of(folder, 4), tensors, metadata, overwrite=True)
    assert_passed_over(folder, caplog)


def without(name: str) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.__delitem__(name)


def instead(name: str, value: Tensor) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({name: value})


ADAM = "optimizer/line/line.weight"


@pytest.mark.parametrize(
    "change",
    [
        without("objective/line.bias"),
        instead("objective/line.bias", torch.ones(7)),
        without("ema/line.weight"),
        without("ema/updates"),
        instead("ema/line.weight", torch.ones(2)),
        instead("ema/other", torch.ones(2)),
        instead("ema/updates", torch.tensor(-10)),
        without(f"{ADAM}/exp_avg"),
        instead(f"{ADAM}/exp_avg", torch.ones(())),
        instead(f"{ADAM}/exp_avg_sq", torch.ones(9)),
        instead(f"{ADAM}/step", torch.tensor(-1.0)),
        instead(f"{ADAM}/step", torch.ones(1, 3)),
        instead(f"{ADAM}/momentum", torch.ones(1, 3)),
    ],
)
def test_tensors_that_no_such_run_has(folder: Path, change: Callable[[Tensors], None]) -> None:
    tensors, values = state(4)
    change(tensors)
    checkpoint.save(checkpoint.path_of(folder, 4), tensors, values)
    with pytest.raises(InputError, match="trains another model"):
        run(Line(), folder).resume()


@pytest.mark.parametrize(("name", "value"), [("a\nb", 1), ("optimizer", "x\ny" * 999)])
def test_another_recipe_is_named_in_a_line(folder: Path, name: str, value: Any) -> None:
    tensors, values = state(4)
    values["recipe"] |= {name: value}
    checkpoint.save(checkpoint.path_of(folder, 4), tensors, values)
    with pytest.raises(InputError, match=r"has .*, not .*; use another --output$") as said:
        run(Line(), folder).resume()
    assert len(str(said.value)) < 500


# A folder of files.


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A run with checkpoints of steps 2 and 4, as several processes write them."""
    for step in (2, 4):
        shards.write(shards.path_of(tmp_path, step), *state(step))
    return tmp_path


def sign(path: Path) -> None:
    """Gives a folder digests that fit."""
    values = json.loads((path / shards.VALUES).read_text())["values"]
    digests = shards._digests(path)
    whole = {"values": values, "files": digests, "digest": shards._digest(values, digests)}
    (path / shards.VALUES).write_text(json.dumps(whole))


def test_whole_ones_are_read(sharded: Path) -> None:
    sign(shards.path_of(sharded, 4))
    resumed = run(Line(), sharded)
    assert resumed.resume()
    assert resumed.trainer.step == 4
    tensors, _ = state(4)
    assert all(torch.equal(value, tensors[name]) for name, value in resumed.trainer.state().items())


@pytest.mark.parametrize("values", [None, [1], "text", {}, {"step": 4}, {"step": "4"}])
def test_values_of_a_folder_that_say_too_little(
    sharded: Path, values: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = shards.path_of(sharded, 4)
    (path / shards.VALUES).write_text(json.dumps({"values": values}))
    sign(path)
    assert_passed_over(sharded, caplog)


def rewritten(path: Path, change: Callable[[dict[str, str]], None]) -> None:
    """Changes what the one file in a folder says of itself, and signs it."""
    (file,) = path.glob("*.safetensors")
    content = file.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    change(header["__metadata__"])
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])
    sign(path)


def offsets(value: Any) -> Callable[[dict[str, str]], None]:
    """Says that a tensor of (1, 3) begins elsewhere in the whole one."""

    def change(metadata: dict[str, str]) -> None:
        (key,) = (key for key, text in metadata.items() if "saved_offsets" in text)
        places = json.loads(metadata[key])
        places["objective/line.weight"]["saved_offsets"] = value
        metadata[key] = json.dumps(places)

    return change


def said(text: str) -> Callable[[dict[str, str]], None]:
    """Replaces all that a file says of places."""

    def change(metadata: dict[str, str]) -> None:
        for key, value in metadata.items():
            if "saved_offsets" in value:
                metadata[key] = text

    return change


CHANGES = [
    *(said("{"), said("[]"), said("{}"), said(DEEP), said("1")),
    *(offsets([2**40, 0]), offsets([2**70, 0]), offsets([-1, 0]), offsets(["0", "0"])),
    *(offsets([0.5, 0]), offsets([]), offsets(None), offsets([2**62, 2**62])),
]


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
def test_files_that_say_nonsense_of_themselves(
    sharded: Path, change: Callable[[dict[str, str]], None], caplog: pytest.LogCaptureFixture
) -> None:
    rewritten(shards.path_of(sharded, 4), change)
    assert_passed_over(sharded, caplog)


@pytest.mark.parametrize("content", [b"", b"junk", b"\xff" * 9, save({})[:-1]])
def test_files_of_another_kind(
    sharded: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = shards.path_of(sharded, 4)
    next(path.glob("*.safetensors")).write_bytes(content)
    sign(path)
    assert_passed_over(sharded, caplog)


def test_a_folder_without_tensors_is_of_another_model(sharded: Path) -> None:
    path = shards.path_of(sharded, 4)
    next(path.glob("*.safetensors")).unlink()
    sign(path)
    with pytest.raises(InputError, match="trains another model"):
        run(Line(), sharded).resume()


def test_two_files_that_hold_one_tensor(sharded: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = shards.path_of(sharded, 4)
    (file,) = path.glob("*.safetensors")
    shutil.copy(file, path / "again.safetensors")
    sign(path)
    assert_passed_over(sharded, caplog)
