"""Buckets: clips of many sizes and lengths, each brought to one of the few that share a batch.

The size of a bucket has about as many pixels as the model's own, in sides that its codec takes; its
length is one frame (pictures), the model's own, or a shorter one that the codec takes. The idea is
NovelAI's (aspect ratio bucketing, 2022); the order of batches is ours.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kinema.noise import Noise

FULLEST = 0.75  # of the model's pixels: sides that hold fewer are not offered


class Bucket(NamedTuple):
    """Frames, and rows and columns in pixels, of the clips of one bucket."""

    num_frames: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.num_frames} x {self.height} x {self.width}"


@dataclass(frozen=True)
class Shaper:
    """Chooses buckets for a model.

    Args:
        largest: length and size of the model's own clips.
        stride: pixels of the codec's latents over time, rows and columns; a clip has one frame more
            than a multiple of the first.
    """

    largest: Bucket
    stride: tuple[int, int, int]

    @property
    def shortest(self) -> int:
        """The fewest frames of a clip that is no picture."""
        return min(1 + self.stride[0], self.largest.num_frames)

    @functools.cached_property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """All (height, width) on offer, those with the most pixels first."""
        _, down, across = self.stride
        pixels = self.largest.height * self.largest.width
        rows = range(down, pixels // across + 1, down)
        found = [
            (height, width)
            for height in rows
            for width in range(across, pixels // height + 1, across)
            if height * width >= FULLEST * pixels
        ]
        return tuple(sorted(found, key=lambda size: (-size[0] * size[1], size)))

    def bucket(self, num_frames: int, height: int, width: int) -> Bucket:
        """The bucket for a clip: its length is no longer, its shape the nearest.

        Args:
            num_frames: at the model's frame rate; 1, or at least `shortest`.
            height, width: of the file.
        """
        assert num_frames == 1 or num_frames >= self.shortest, num_frames
        step, longest = self.stride[0], self.largest.num_frames
        length = longest if num_frames >= longest else 1 + (num_frames - 1) // step * step
        aspect = math.log(height / width)
        # Of equally near shapes the one with the most pixels comes first.
        size = min(self.sizes, key=lambda s: round(abs(math.log(s[0] / s[1]) - aspect), 6))
        return Bucket(length, *size)


def windows(num_frames: int, length: int) -> tuple[int, ...]:
    """The first frames of the windows of a clip: as many as nearly fit, spread over all of it.

    Args:
        num_frames: of the clip.
        length: of a window, no longer than the clip.
    """
    spare = num_frames - length
    count = (2 * num_frames + length) // (2 * length)  # rounded to the nearest
    if count == 1:
        return (spare // 2,)
    return tuple(spare * i // (count - 1) for i in range(count))


class BucketOrder:
    """Which rows of which bucket make up the batch of a step.

    In a cycle of as many steps as there are rows, a bucket of n rows has n of the batches, in an
    order drawn for that cycle: so every row of every bucket is seen equally often. Within a bucket,
    all rows are seen once, in a new order, before one is seen again.

    Args:
        sizes: the rows of each bucket, 1 or more.
        batch_size: rows of a step.
        seed: of both orders.
    """

    def __init__(self, sizes: Sequence[int], *, batch_size: int, seed: int) -> None:
        self.sizes, self.batch_size, self.seed = tuple(sizes), batch_size, seed
        self._owners = [bucket for bucket, size in enumerate(sizes) for _ in range(size)]
        self._turns = functools.lru_cache(2)(self._draw_turns)
        self._order = functools.lru_cache(4 * len(self.sizes))(self._draw_order)

    def __call__(self, samples: tuple[int, ...]) -> tuple[int, list[int]]:
        """The bucket, and the rows in it, of sample indices of one step."""
        step = samples[0] // self.batch_size
        assert samples[-1] // self.batch_size == step, "a batch holds samples of one step"
        cycle, place = divmod(step, len(self._owners))
        bucket, before = self._turns(cycle)[place]
        first = (cycle * self.sizes[bucket] + before) * self.batch_size - step * self.batch_size
        return bucket, [self._row(bucket, first + sample) for sample in samples]

    def _row(self, bucket: int, index: int) -> int:
        epoch, place = divmod(index, self.sizes[bucket])
        return self._order(bucket, epoch)[place]

    def _draw_turns(self, cycle: int) -> list[tuple[int, int]]:
        """For each step of a cycle its bucket, and how many of its steps came before."""
        order = Noise(self.seed, (cycle,)).permutation(len(self._owners), "buckets").tolist()
        seen, turns = [0] * len(self.sizes), []
        for place in order:
            bucket = self._owners[place]
            turns.append((bucket, seen[bucket]))
            seen[bucket] += 1
        return turns

    def _draw_order(self, bucket: int, epoch: int) -> list[int]:
        noise = Noise(self.seed, (epoch,))
        return noise.permutation(self.sizes[bucket], f"bucket {bucket}").tolist()
