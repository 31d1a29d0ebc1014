"""Mean and covariance of features, summed as they come, in parts that merge (our own design).

Sums are taken in float64 over blocks of rows whose borders are fixed by the number of a row in the
whole set, and blocks are added with their rounding errors kept (Knuth's two-sum). So one pass,
batches of any size, and parts that were summed in other processes give the same digits.

Letters: N rows, D features.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.files import parse_json
from kinema.weights import files
from kinema.weights.files import open_checkpoint

BLOCK = 256  # rows


class FeatureStats:
    """Sums of x and of x x^T over the rows `first`, `first` + 1, ... of a set.

    Args:
        width: D.
        first: number of the first row in the whole set; a process that takes rows 1000 to 1999
            starts at 1000.
    """

    def __init__(self, width: int, *, first: int) -> None:
        self.width, self.first, self.count = width, first, 0
        # Rows before the first border and after the last one: their blocks are not complete.
        self.head, self.tail = torch.empty(0, width), torch.empty(0, width)
        self.total, self.lost = torch.zeros(2, width + 1, width, dtype=torch.float64).unbind()

    @classmethod
    def of(cls, features: Tensor) -> FeatureStats:
        """The statistics of a whole set (N, D)."""
        stats = cls(features.shape[1], first=0)
        stats.update(features)
        return stats

    def __len__(self) -> int:
        return self.count

    def update(self, features: Tensor) -> None:
        """Takes in the next rows: (N, D) float32, finite.

        Raises:
            InputError: a feature is NaN or infinite.
        """
        assert features.shape[1:] == (self.width,), f"{tuple(features.shape)}, width {self.width}"
        if not features.isfinite().all():
            raise InputError("the features hold NaN or infinity; check the clips and the weights")
        rows = features.detach().cpu().float()
        if self._within_head():
            wanted = -self.first % BLOCK - self.count
            self.head = torch.cat([self.head, rows[:wanted]])
            self.count += len(rows[:wanted])
            rows = rows[wanted:]
        self.count += len(rows)
        *blocks, self.tail = _in_blocks(torch.cat([self.tail, rows]))
        for block in blocks:
            self._add(_sums(block), torch.zeros_like(self.lost))

    def merge(self, other: FeatureStats) -> None:
        """Takes in the part that begins where this one ends; every digit is that of one pass."""
        assert other.width == self.width, f"widths {self.width} and {other.width}"
        assert other.first == self.first + self.count, (
            f"rows {self.first} to {self.first + self.count} are followed by those from"
            f" {other.first}"
        )
        self.update(other.head)
        if len(other.head) == other.count:  # all of it lies within one block
            return
        self._add(other.total, other.lost)
        self.count += other.count - len(other.head) - len(other.tail)
        self.update(other.tail)

    def mean(self) -> Tensor:
        """(D,) float64."""
        return self._sums()[0] / self.count

    def covariance(self, *, unbiased: bool) -> Tensor:
        """(D, D) float64, over N - 1 or over N."""
        sums, mean = self._sums()[1:], self.mean()
        return (sums / self.count - torch.outer(mean, mean)) * (
            self.count / (self.count - 1) if unbiased else 1.0
        )

    def save(self, path: str | Path, *, overwrite: bool) -> None:
        """Writes a safetensors file. Raises InputError if it stands there or cannot be written."""
        tensors = {"head": self.head, "tail": self.tail, "total": self.total, "lost": self.lost}
        said = {"first": self.first, "count": self.count}
        files.save(Path(path), tensors, {"feature_stats": json.dumps(said)}, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> FeatureStats:
        """Reads what `save` wrote.

        Raises:
            InputError: the file is missing, damaged or something else.
        """
        opened = open_checkpoint(path)
        try:
            said = parse_json(opened.metadata["feature_stats"], "its metadata")
            tensors = {name: opened.tensors[name].read() for name in ("total", "lost")}
            stats = cls(tensors["total"].shape[1], first=int(said["first"]))
            stats.total, stats.lost, stats.count = *tensors.values(), int(said["count"])
            stats.head, stats.tail = (opened.tensors[name].read() for name in ("head", "tail"))
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"{path} holds no statistics of features; compute them anew"
            ) from error
        return stats

    def _within_head(self) -> bool:
        return self.first + self.count < -(-self.first // BLOCK) * BLOCK

    def _sums(self) -> Tensor:
        """Sum of x, then of x x^T: (1 + D, D)."""
        assert self.count, "statistics of no row"
        return self.total + (self.lost + _sums(self.head) + _sums(self.tail))

    def _add(self, total: Tensor, lost: Tensor) -> None:
        """Adds sums and what they lost to rounding; the new loss is exact (two-sum)."""
        added = self.total + total
        part = added - self.total
        self.lost += lost + ((self.total - (added - part)) + (total - part))
        self.total = added


def _sums(rows: Tensor) -> Tensor:
    """Sum of x, then of x x^T, in float64: (N, D) -> (1 + D, D)."""
    x = rows.double()
    return torch.cat([x.sum(0, keepdim=True), x.T @ x])


def _in_blocks(rows: Tensor) -> list[Tensor]:
    """Whole blocks of rows, then the rows that are left, perhaps none."""
    whole = len(rows) // BLOCK * BLOCK
    return [*rows[:whole].split(BLOCK)[: whole // BLOCK], rows[whole:].clone()]
