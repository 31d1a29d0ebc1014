"""Clips through a codec in tiles that overlap and are blended, and in parts of few frames.

A tile does not see beyond its edge, so a result is near that of the whole frame, not equal to it:
where tiles overlap, each counts less towards its own edge. Parts of a clip are another matter; see
`networks/ltx_vae_parts.py`. All of this is ours.

Letters: B batch, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.errors import InputError

OVERLAP = 0.25  # share of a tile's side that it has in common with the next
LEAST = 4  # latents along the side of a tile


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a codec takes clips apart.

    Args:
        frames: of pixels, that are in the works at a time; changes nothing but memory.
        side: of the square tiles, in pixels; 0 leaves frames whole.

    Raises:
        InputError: a number is below 1, or a side below 0.
    """

    frames: int
    side: int

    def __post_init__(self) -> None:
        if self.frames < 1 or self.side < 0:
            raise InputError(
                "a codec takes 1 frame or more at a time, and tiles of a side of 0 or more pixels, "
                f"not {self.frames} and {self.side}"
            )

    def latents(self, stride: int) -> int:
        """Latents along the side of a tile, 0 for whole frames.

        Raises:
            InputError: the side is no multiple of the stride, or too small for its edges.
        """
        if self.side % stride or 0 < self.side < LEAST * stride:
            raise InputError(
                f"the side of a tile is a multiple of {stride} pixels from {LEAST * stride} on, "
                f"or 0 for whole frames, not {self.side}"
            )
        return self.side // stride


@dataclass(frozen=True)
class Place:
    """Where a tile lies in what is cut into tiles: its first row and column, its size."""

    top: int
    left: int
    height: int
    width: int

    def of(self, x: Tensor) -> Tensor:
        """What the tile holds of (..., H, W)."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def scaled(self, factor: int) -> Place:
        """The same tile where each row and column is `factor` of them."""
        return Place(*(factor * n for n in (self.top, self.left, self.height, self.width)))


def places(height: int, width: int, side: int) -> Iterator[Place]:
    """Tiles that cover height x width cells, all of one size, row by row; at 0 a single one."""
    tall, wide = (min(side or length, length) for length in (height, width))
    for top in _starts(height, tall):
        for left in _starts(width, wide):
            yield Place(top, left, tall, wide)


def blended(made: Iterable[tuple[Place, Tensor]], size: tuple[int, int]) -> Tensor:
    """Tiles as one picture.

    Args:
        made: each tile (B, C, T, h, w) with its place in the result.
        size: height and width of the result.

    Returns:
        (B, C, T, H, W): the mean of the tiles at each place, weighted by the distance from their
        edges.
    """
    total = weights = None
    for place, tile in made:
        if (place.height, place.width) == size:
            return tile
        if total is None or weights is None:
            total, weights = tile.new_zeros(*tile.shape[:3], *size), tile.new_zeros(size)
        rows = _ramps(place.top, place.height, size[0], tile)
        columns = _ramps(place.left, place.width, size[1], tile)
        weight = rows[:, None] * columns
        place.of(total).add_(weight * tile)
        place.of(weights).add_(weight)
    assert total is not None, "there is at least one tile"
    assert weights is not None
    return total.div_(weights)


def joined(parts: Iterable[Tensor], length: int) -> Tensor:
    """Parts (B, C, t, H, W) of a clip as one of `length` frames, which are in memory once."""
    whole, at = None, 0
    for part in parts:
        if whole is None:
            whole = part.new_empty(*part.shape[:2], length, *part.shape[3:])
        whole[:, :, at : at + part.shape[2]] = part
        at += part.shape[2]
        del part  # it would stay while the next one is made
    assert whole is not None, "there is at least one part"
    assert at == length, f"{at} frames of {length}"
    return whole


def _starts(length: int, side: int) -> list[int]:
    """Where tiles of a side begin that cover a length; the last ends with it."""
    if side == length:
        return [0]
    return [*range(0, length - side, side - _overlap(side)), length - side]


def _overlap(side: int) -> int:
    return max(1, round(OVERLAP * side))


def _ramps(start: int, side: int, length: int, like: Tensor) -> Tensor:
    """Weights along a tile: they fall towards those of its edges where another tile goes on."""
    overlap = _overlap(side)
    rising = (torch.arange(side, device=like.device) + 0.5).div(overlap).clamp(max=1).to(like)
    weights = like.new_ones(side) if start == 0 else rising
    return weights if start + side == length else weights * rising.flip(0)
