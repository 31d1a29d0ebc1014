from __future__ import annotations

import numpy as np
import pytest
import torch

from kinema.errors import InputError
from kinema.weights.npz import open_npz


def test_arrays_are_read_by_name(tmp_path):
    np.savez(tmp_path / "a.npz", **{"conv1a/W": np.ones((2, 3), np.float32), "n": np.arange(4)})
    tensors = open_npz(tmp_path / "a.npz")
    assert {name: value.shape for name, value in tensors.items()} == {"conv1a/W": (2, 3), "n": (4,)}
    assert torch.equal(tensors["conv1a/W"].read(), torch.ones(2, 3))
    assert tensors["n"].read().dtype == torch.int64


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_npz(tmp_path / "missing.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.save(tmp_path / "one.npy", np.ones(3))
    np.savez(tmp_path / "objects.npz", a=np.array([{"b": 1}], dtype=object))
    np.savez(tmp_path / "words.npz", a=np.array(["b"]))
    np.savez(tmp_path / "whole.npz", a=np.ones(10_000))
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("text.npz", "one.npy", "objects.npz", "words.npz", "cut.npz"):
        with pytest.raises(InputError, match=f"{name} is no .npz file of numbers"):
            open_npz(tmp_path / name)
