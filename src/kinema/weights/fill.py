"""Deterministic weights for recorded cases: values made from a tensor's name, shape and a seed.

A case was recorded with the authors' network filled by this rule, so the case needs no weight
file and the same values can be made here under the authors' names, then sent through the key map.
Only numpy is used, so that the values do not depend on torch's version.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

# One-dimensional tensors with these last names scale a norm: they are drawn around 1, not 0.
SCALE_NAMES = ("weight", "gamma", "scale", "g")


def fill_one(key: str, shape: Sequence[int], seed: int) -> np.ndarray:
    """The values of one tensor, float32 (int64 zeros for a batch norm's counter).

    Matrices and kernels have variance 1 / fan-in, running variances are at least 0.5, norm scales
    are 1 + 0.1 x, everything else (biases, tables of one dimension, scalars) is 0.1 x, x standard
    normal.

    Args:
        key: the authors' name of the tensor; the random stream and the rule depend on it.
        shape: its shape; ``()`` for a scalar.
        seed: seed of the case.
    """
    stream = np.random.Generator(np.random.PCG64(zlib.crc32(f"{seed}:{key}".encode())))
    x = stream.standard_normal(tuple(shape))
    x = np.asarray(x, dtype=np.float32)  # a scalar draw is no array by itself
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(tuple(shape), np.int64)
    if last == "running_var":
        return 0.5 + np.abs(x)
    if x.ndim >= 2:
        fan_in = max(1, int(np.prod(x.shape[1:])))
        return x / np.float32(np.sqrt(fan_in))
    if last in SCALE_NAMES:
        return np.asarray(1 + np.float32(0.1) * x)
    return np.asarray(np.float32(0.1) * x)


def fill(manifest: Mapping[str, Sequence[int]], seed: int) -> dict[str, np.ndarray]:
    """The values of every tensor of a manifest {authors' key: shape}."""
    return {key: fill_one(key, shape, seed) for key, shape in manifest.items()}
