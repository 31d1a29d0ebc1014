from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kinema.errors import InputError
from kinema.weights.files import load_into, load_tensors, open_checkpoint, save
from kinema.weights.keymap import KeyMap, Lazy, Prefix, Rename

DIRECT = KeyMap()
UNREADABLE = Path("/proc/self/mem")  # of Linux: it opens, but nothing lies at its beginning


class Small(nn.Module):
    """Parameters, a persistent buffer and nothing else."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.inner = nn.Linear(3, 4, device=device)
        self.out = nn.Conv1d(4, 2, 1, device=device)
        self.register_buffer("mean", torch.zeros(4, device=device))
        self.out.weight.requires_grad_(False)


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {key: torch.randn_like(value) for key, value in Small().state_dict().items()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save(tmp_path / "small.safetensors", state(), {}, overwrite=False)
    return tmp_path / "small.safetensors"


def assert_loaded(module: nn.Module, expected: dict[str, torch.Tensor]) -> None:
    found = module.state_dict()
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


# Loading.


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_file_is_loaded_into_a_module_with_or_without_memory(checkpoint, device):
    module = Small(device)
    load_into(module, checkpoint, DIRECT)
    assert_loaded(module, state())
    assert isinstance(module.inner.weight, nn.Parameter)
    assert module.inner.weight.requires_grad
    assert not module.out.weight.requires_grad
    module.inner(torch.zeros(1, 3)).sum().backward()
    assert module.inner.bias.grad is not None


def test_the_module_keeps_its_dtype_and_owns_its_memory(checkpoint):
    module = Small("meta").to(torch.bfloat16)
    load_into(module, checkpoint, DIRECT)
    assert_loaded(module, {key: value.bfloat16() for key, value in state().items()})
    same = Small("meta")
    load_into(same, checkpoint, DIRECT)
    checkpoint.write_bytes(b"\0" * checkpoint.stat().st_size)
    assert_loaded(same, state())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_files_in_fewer_bits_are_read(tmp_path, dtype):
    small = {key: value.to(dtype) for key, value in state().items()}
    save_file(small, tmp_path / "small.safetensors")
    module = Small()
    load_into(module, tmp_path / "small.safetensors", DIRECT)
    assert_loaded(module, {key: value.float() for key, value in small.items()})


def test_one_tensor_at_a_time_is_held():
    size, alive, most = 1000, [], 0

    def read() -> torch.Tensor:
        nonlocal most
        value = torch.ones(size)
        alive.append(weakref.ref(value))
        most = max(most, sum(ref() is not None for ref in alive))
        return value

    module = nn.ParameterList(torch.empty(size, device="meta") for _ in range(6))
    load_tensors(module, {str(i): Lazy((size,), read) for i in range(6)}, DIRECT, where="memory")
    assert len(alive) == 6
    assert most <= 2  # the one before is let go when the next has been read


def test_names_go_through_the_map(tmp_path):
    keymap = KeyMap(Prefix("net."), Rename("first.*", "inner.*"))
    theirs = keymap.to_theirs(state())
    assert "net.first.weight" in theirs
    save(tmp_path / "theirs.safetensors", theirs, {}, overwrite=False)
    module = Small("meta")
    load_into(module, tmp_path / "theirs.safetensors", keymap)
    assert_loaded(module, state())


@pytest.mark.parametrize("ending", [".pt", ".ckpt", ".pyth", ".pth.tar", ""])
@pytest.mark.parametrize("nest", [None, "state_dict", "model_state", "model", "module"])
def test_pickled_tensors_are_read(tmp_path, ending, nest):
    path = tmp_path / f"small{ending}"
    torch.save(state() if nest is None else {nest: state(), "epoch": 3}, path)
    module = Small()
    load_into(module, path, DIRECT)
    assert_loaded(module, state())


def test_pickles_of_old_torch_are_read(tmp_path):
    torch.save(state(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    module = Small()
    load_into(module, tmp_path / "old.pt", DIRECT)
    assert_loaded(module, state())


@pytest.mark.parametrize("name", ["small.pyth", "small"])
def test_a_file_is_what_it_holds_whatever_its_name(tmp_path, name):
    save(tmp_path / "small.safetensors", state(), {"config": '{"a": 1}'}, overwrite=False)
    (tmp_path / "small.safetensors").rename(tmp_path / name)
    assert open_checkpoint(tmp_path / name).config == {"a": 1}
    torch.save(state(), tmp_path / name)
    module = Small()
    load_into(module, tmp_path / name, DIRECT)
    assert_loaded(module, state())


def test_a_header_as_long_as_a_pickle_begins_is_one(tmp_path):
    for padding in range(8, 400, 8):
        save(tmp_path / "a.pt.safetensors", state(), {"x": "y" * padding}, overwrite=True)
        data = (tmp_path / "a.pt.safetensors").read_bytes()
        if data[0] == 0x80:
            break
    else:
        raise AssertionError("no header is of that length")
    (tmp_path / "a.pt").write_bytes(data)
    assert set(open_checkpoint(tmp_path / "a.pt").tensors) == set(state())


# Folders.


def write_folder(folder: Path, shards: dict[str, list[str]], *, index: bool) -> None:
    folder.mkdir()
    (folder / "config.json").write_text('{"layers": 2}')
    tensors = state()
    for file, keys in shards.items():
        save_file({key: tensors[key] for key in keys}, folder / file)
    if index:
        names = {key: file for file, keys in shards.items() for key in keys}
        text = json.dumps({"metadata": {}, "weight_map": names})
        (folder / "model.safetensors.index.json").write_text(text)


KEYS = sorted(state())
SHARDS = {"model-1-of-2.safetensors": KEYS[:2], "model-2-of-2.safetensors": KEYS[2:]}


@pytest.mark.parametrize("shards", [{"model.safetensors": KEYS}, SHARDS])
@pytest.mark.parametrize("index", [True, False])
def test_folders_are_read_whole_or_in_shards(tmp_path, shards, index):
    write_folder(tmp_path / "net", shards, index=index)
    assert open_checkpoint(tmp_path / "net").config == {"layers": 2}
    module = Small()
    load_into(module, tmp_path / "net", DIRECT)
    assert_loaded(module, state())


def test_a_missing_shard_is_named(tmp_path):
    write_folder(tmp_path / "net", SHARDS, index=True)
    (tmp_path / "net" / "model-2-of-2.safetensors").unlink()
    with pytest.raises(InputError, match=r"model-2-of-2\.safetensors"):
        open_checkpoint(tmp_path / "net")


def test_an_index_cannot_name_files_elsewhere(tmp_path):
    write_folder(tmp_path / "net", SHARDS, index=True)
    save_file(state(), tmp_path / "outside.safetensors")
    names = dict.fromkeys(KEYS, "../outside.safetensors")
    index = tmp_path / "net" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    with pytest.raises(InputError, match="outside"):
        open_checkpoint(tmp_path / "net")


def test_an_index_must_agree_with_its_shards(tmp_path):
    write_folder(tmp_path / "net", SHARDS, index=True)
    index = tmp_path / "net" / "model.safetensors.index.json"
    names = json.loads(index.read_text())["weight_map"]
    del names[KEYS[0]]
    index.write_text(json.dumps({"weight_map": names}))
    with pytest.raises(InputError, match=KEYS[0]):
        open_checkpoint(tmp_path / "net")


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}'])
def test_a_broken_index_is_named(tmp_path, text):
    write_folder(tmp_path / "net", SHARDS, index=True)
    (tmp_path / "net" / "model.safetensors.index.json").write_text(text)
    with pytest.raises(InputError, match=r"model\.safetensors\.index\.json"):
        open_checkpoint(tmp_path / "net")


def test_two_files_with_the_same_tensor_are_refused(tmp_path):
    write_folder(tmp_path / "net", {"a.safetensors": KEYS, "b.safetensors": KEYS}, index=False)
    with pytest.raises(InputError, match="keep one"):
        open_checkpoint(tmp_path / "net")


def test_a_pipeline_folder_names_its_parts(tmp_path):
    for part in ("transformer", "vae"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text("{}")
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(InputError, match="transformer, vae"):
        open_checkpoint(tmp_path)


# Bad files: one line that names the file, and nothing of the module is changed.


def assert_refused(path: Path, *named: str) -> str:
    module = Small()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(InputError) as error:
        load_into(module, path, DIRECT)
    message = str(error.value)
    assert "\n" not in message
    for text in (str(path), *named):
        assert text in message
    assert_loaded(module, before)
    return message


@pytest.mark.parametrize("cut", [0, 1, 4, 7, 8, 9, 60, -200, -17, -1])
def test_a_truncated_file_is_refused(checkpoint, cut):
    data = checkpoint.read_bytes()
    checkpoint.write_bytes(data[:cut])
    assert_refused(checkpoint, "damaged")


def test_a_file_with_more_than_it_declares_is_refused(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes() + b"more")
    assert_refused(checkpoint, "damaged")


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


LIES = {
    "declares 10**15 bytes": {"a": entry([250_000_000_000_000], 0, 10**15)},
    "more than its offsets": {"a": entry([10**6, 10**6], 0, 16)},
    "a product beyond 64 bits": {"a": entry([2**62, 2**62], 0, 16)},
    "overlapping": {"a": entry([4], 0, 16), "b": entry([4], 0, 16)},
    "a hole": {"a": entry([1], 0, 4), "b": entry([1], 12, 16)},
    "backwards": {"a": entry([4], 16, 0)},
    "negative": {"a": entry([4], -16, 0)},
    "unknown type": {"a": entry([4], 0, 16, "F31")},
    "no offsets": {"a": {"dtype": "F32", "shape": [4]}},
    "no mapping": [1, 2, 3],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused_before_anything_is_allocated(tmp_path, lie):
    text = json.dumps(LIES[lie]).encode()
    path = tmp_path / "lie.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 16)
    assert_refused(path, "damaged")


@pytest.mark.parametrize("length", [10**15, 2**64 - 1, 0, 3])
def test_an_absurd_header_length_is_refused(tmp_path, length):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}" + b"\0" * 100)
    assert_refused(path, "damaged")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused_with_their_tensor(tmp_path, value):
    tensors = state()
    tensors["inner.weight"][2, 1] = value
    save(tmp_path / "bad.safetensors", tensors, {}, overwrite=False)
    with pytest.raises(InputError, match=r"bad\.safetensors: inner\.weight holds NaN or infinity"):
        load_into(Small(), tmp_path / "bad.safetensors", DIRECT)


class Attack:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (os.environ["KINEMA_TEST_ATTACK"],))


@pytest.mark.parametrize("old", [True, False])
def test_a_pickle_with_code_is_refused_and_the_code_does_not_run(tmp_path, monkeypatch, old):
    monkeypatch.setenv("KINEMA_TEST_ATTACK", str(tmp_path / "ran"))
    path = tmp_path / "evil.pt"
    torch.save({**state(), "x": Attack()}, path, _use_new_zipfile_serialization=not old)
    assert_refused(path, "code would run")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_pickle_is_refused(tmp_path, share):
    path = tmp_path / "cut.pt"
    torch.save(state(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert_refused(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"epoch": 3, "x": torch.ones(2)}])
def test_a_pickle_of_other_things_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    assert_refused(tmp_path / "other.pt")


def test_a_foreign_checkpoint_is_told_by_its_names(tmp_path):
    save(tmp_path / "f.safetensors", nn.LSTM(2, 2).state_dict(), {}, overwrite=False)
    message = assert_refused(tmp_path / "f.safetensors", "does not fit Small", "none of its 4")
    assert "5 missing: mean, inner.weight, inner.bias and 2 more" in message
    assert "4 unexpected: bias_hh_l0, bias_ih_l0, weight_hh_l0 and 1 more" in message


def test_a_wrong_shape_is_named(tmp_path):
    tensors = {**state(), "inner.weight": torch.zeros(4, 5)}
    save(tmp_path / "w.safetensors", tensors, {}, overwrite=False)
    assert_refused(tmp_path / "w.safetensors", "inner.weight is (4, 5) instead of (4, 3)")


def test_whole_numbers_do_not_pass_for_weights(tmp_path):
    tensors = {**state(), "inner.bias": torch.zeros(4, dtype=torch.int8)}
    save(tmp_path / "q.safetensors", tensors, {}, overwrite=False)
    with pytest.raises(InputError, match=r"inner\.bias is torch\.int8, expected torch\.float32"):
        load_into(Small(), tmp_path / "q.safetensors", DIRECT)


@pytest.mark.skipif(not UNREADABLE.is_file(), reason="there is no such file here")
def test_a_file_that_cannot_be_read_is_named():
    assert_refused(UNREADABLE, "cannot be read")


@pytest.mark.parametrize("name", ["none.safetensors", "none.pt", "none"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    assert_refused(tmp_path / name, "no such file")


@pytest.mark.parametrize("content", [b"", b"PK", b"\0" * 100, b"\x89PNG\r\n", b"a list of names\n"])
def test_a_file_of_another_kind_is_named(tmp_path, content):
    (tmp_path / "other.pth").write_bytes(content)
    assert_refused(tmp_path / "other.pth", "is no checkpoint: expected a safetensors file")


def test_an_empty_folder_is_named(tmp_path):
    assert_refused(tmp_path, "no safetensors file")


@pytest.mark.parametrize("text", ["{", "[]", "1"])
def test_a_configuration_that_is_no_json_object_is_refused(tmp_path, text):
    save(tmp_path / "c.safetensors", state(), {"config": text}, overwrite=False)
    with pytest.raises(InputError, match=r"'config' of .*c\.safetensors"):
        open_checkpoint(tmp_path / "c.safetensors")


# Saving.


def test_what_is_saved_is_what_the_safetensors_package_reads(tmp_path):
    tensors = {
        "whole": torch.arange(6).reshape(2, 3),
        "half": torch.randn(3, 5).bfloat16(),
        "turned": torch.randn(4, 6).t(),
        "part": torch.randn(10)[2:5],
        "scalar": torch.tensor(7.5),
        "none": torch.empty(0, 3),
        "mask": torch.tensor([True, False, True]),
        "double": torch.randn(2, dtype=torch.float64),
    }
    path = tmp_path / "all.safetensors"
    save(path, tensors, {"config": '{"a": 1}', "license": "x"}, overwrite=False)
    found = load_file(path)
    assert set(found) == set(tensors)
    for key, value in tensors.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)
    opened = open_checkpoint(path)
    assert opened.config == {"a": 1}
    assert opened.metadata == {"config": '{"a": 1}', "license": "x"}


SAVE_TWICE = """
import sys, torch
from kinema.weights.files import save
names = sys.argv[2].split()
torch.manual_seed(0)
tensors = {name: torch.randn(3) for name in "abcdef"}
save(sys.argv[1], {n: tensors[n] for n in names}, {n: n for n in names}, overwrite=False)
"""


def test_equal_content_gives_equal_bytes_in_every_run(tmp_path):
    written = []
    for run, order in enumerate(["a b c d e f", "f d b a c e"]):
        path = tmp_path / f"{run}.safetensors"
        subprocess.run([sys.executable, "-c", SAVE_TWICE, path, order], check=True)
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_what_exists_is_replaced_only_when_asked(checkpoint):
    before = checkpoint.read_bytes()
    with pytest.raises(InputError, match="exists"):
        save(checkpoint, state(1), {}, overwrite=False)
    assert checkpoint.read_bytes() == before
    save(checkpoint, state(1), {}, overwrite=True)
    assert_loaded_file(checkpoint, state(1))
    assert os.listdir(checkpoint.parent) == [checkpoint.name]


def assert_loaded_file(path: Path, expected: dict[str, torch.Tensor]) -> None:
    module = Small()
    load_into(module, path, DIRECT)
    assert_loaded(module, expected)


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.safetensors"):
        save(tmp_path / "small.pt", state(), {}, overwrite=False)
    assert os.listdir(tmp_path) == []
