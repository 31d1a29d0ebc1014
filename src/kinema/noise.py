"""Keyed noise: the only source of random numbers.

Every stream is seeded by a hash of (seed, sample, name) and drawn on the CPU in float32, so the
noise of a sample does not depend on the batch it is in, on order, device or workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """Random numbers of a batch: row ``b`` belongs to sample ``samples[b]``.

    Args:
        seed: the seed of the run.
        samples: the index of the sample in each row; it counts over the whole run, not over the
            batch.
    """

    seed: int
    samples: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def generator(self, sample: int, stream: str) -> torch.Generator:
        """The CPU generator of one stream of one sample."""
        key = hashlib.blake2b(f"{self.seed}/{sample}/{stream}".encode(), digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)

    def normal(self, shape: Sequence[int], stream: str) -> Tensor:
        """Standard normal numbers of shape (B, ...), B = len(samples)."""
        rows = [
            torch.randn(tuple(shape[1:]), generator=self.generator(s, stream))
            for s in self._rows(shape)
        ]
        return torch.stack(rows)

    def uniform(self, shape: Sequence[int], stream: str) -> Tensor:
        """Uniform numbers in [0, 1) of shape (B, ...), B = len(samples)."""
        rows = [
            torch.rand(tuple(shape[1:]), generator=self.generator(s, stream))
            for s in self._rows(shape)
        ]
        return torch.stack(rows)

    def permutation(self, count: int, stream: str) -> Tensor:
        """A random order of 0 ... count - 1 for the first sample; shape (count,)."""
        return torch.randperm(count, generator=self.generator(self.samples[0], stream))

    def _rows(self, shape: Sequence[int]) -> tuple[int, ...]:
        assert shape[0] == len(self.samples), f"{shape[0]} rows, but {len(self.samples)} samples"
        return self.samples
