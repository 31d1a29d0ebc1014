"""The VAE of LTX-Video on clips in parts: the same results with the memory of a few frames.

Paper, code and license: see `ltx_vae.py`; all of this is ours. Every convolution keeps those frames
of its input that the next part needs too, and everything else works frame by frame, so nothing is
computed twice and the results are those of the whole clip up to rounding. The decoder sees ahead:
at its lowest resolution by more frames than most clips have. So the length of a part differs from
block to block, such that each holds about the same number of values: the few large frames of the
highest resolution go one by one, the many small ones of the lowest all at once.

Iterators here are objects or `map`, no generators: one that waits must not hold on to a part.

Letters: B batch, C channels, T frames, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kinema.networks.ltx_vae_blocks import (
    DepthToSpaceUp,
    NoiseSource,
    ResBlock,
    ResGroup,
    SpaceToDepthDown,
    patchify,
    unpatchify,
)
from kinema.nn.conv import CausalConv3d
from kinema.nn.winograd import convolved

if TYPE_CHECKING:
    from kinema.networks.ltx_vae import Decoder, Encoder

KERNEL = 3
Parts = Iterator[Tensor]  # (B, C, T, H, W), one after another in time


def own_copy(x: Tensor, place: Tensor | None) -> Tensor:
    """What is kept of a part, not as a view, which would hold all of it, and in the place of what
    was kept before: small pieces all over the heap would keep it from being used again.
    """
    if place is None or place.shape != x.shape:
        return x.clone()
    return place.copy_(x)


class Convolved(Parts):
    """Parts as they leave a convolution; a part may be longer or shorter than the one it needs."""

    def __init__(self, conv: CausalConv3d, parts: Parts) -> None:
        self.conv, self.parts = conv, parts
        self.kept: Tensor | None = None
        self.ended = conv.causal  # otherwise the last frame is still to be repeated

    def __next__(self) -> Tensor:
        stride = self.conv.conv.stride[0]
        while True:
            frames = self._frames()
            count = max(0, (frames.shape[2] - KERNEL) // stride + 1)
            self.kept = own_copy(frames[:, :, count * stride :], self.kept)
            if count:
                return convolved(self.conv.conv, frames, (0, 0))

    def _frames(self) -> Tensor:
        part = next(self.parts, None)
        if self.kept is None:
            assert part is not None, "a clip has frames"
            first = part[:, :, :1]
            return torch.cat((first, first, part) if self.conv.causal else (first, part), dim=2)
        if part is None:
            if self.ended:
                raise StopIteration
            self.ended = True
            part = self.kept[:, :, -1:]
        return torch.cat((self.kept, part), dim=2)


class Grouped(Parts):
    """The same frames in parts of another length.

    Args:
        parts: of any length.
        values: how many numbers a part holds at most, if that is a frame or more.
        multiple: the lengths of all parts but the last are multiples of it.
    """

    def __init__(self, parts: Parts, *, values: int, multiple: int) -> None:
        self.parts, self.values, self.multiple = parts, values, multiple
        self.held: Tensor | None = None

    def __next__(self) -> Tensor:
        while self.held is None or self.held.shape[2] < self._length():
            part = next(self.parts, None)
            if part is None:
                break
            self.held = part if self.held is None else torch.cat((self.held, part), dim=2)
        if self.held is None:
            raise StopIteration
        given, left = self.held.tensor_split([self._length()], dim=2)
        self.held = left.clone() if left.shape[2] else None
        return given

    def _length(self) -> int:
        assert self.held is not None, "the first part says how large a frame is"
        fitting = self.values // self.held[:, :, :1].numel()
        return max(self.multiple, fitting - fitting % self.multiple)


class Aside(Parts):
    """Parts that pass by, and are kept for the shortcut until their frames are taken."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.held: list[Tensor] = []
        self.left: Tensor | None = None

    def __next__(self) -> Tensor:
        self.held.append(next(self.parts))
        return self.held[-1]

    def take(self, count: int) -> Tensor:
        """The next frames, (B, C, count, H, W)."""
        held = torch.cat(self.held, dim=2)
        self.left = own_copy(held[:, :, count:], self.left)
        self.held = [self.left]
        return held[:, :, :count]


def encoded(encoder: Encoder, x: Tensor, *, frames: int) -> Parts:
    """What the encoder makes of a clip, in parts (B, C + 1, t, h, w).

    Args:
        x: (B, 3, T, H, W).
        frames: pixel frames of a part at the highest resolution.
    """
    size = encoder.patch_size
    channels = encoder.conv_in.conv.out_channels
    values = frames * channels * x[:, 0, 0].numel() // size**2
    parts: Parts = map(partial(patchify, size=size), x.split(frames, dim=2))
    parts = Convolved(encoder.conv_in, parts)
    for block in encoder.down_blocks:
        parts = _down(block, parts, values)
    return Convolved(encoder.conv_out, map(encoder.leave, parts))


def decoded(
    decoder: Decoder,
    z: Tensor,
    time: Tensor | None,
    maps: Sequence[Sequence[Tensor]],
    *,
    frames: int,
) -> Parts:
    """What the decoder makes of latents, in parts (B, 3, T, H, W).

    Args:
        z, time: as `Decoder.forward` takes them.
        maps: for each block those that it adds, see `drawn`.
        frames: pixel frames of a part at the highest resolution.
    """
    scaled, size = decoder.scaled(time), decoder.patch_size
    steps = [block.stride for block in decoder.up_blocks if isinstance(block, DepthToSpaceUp)]
    cells = z[:, 0, 0].numel() * math.prod(tall * wide for _, tall, wide in steps)
    values = frames * decoder.conv_out.conv.in_channels * cells
    parts: Parts = Convolved(decoder.conv_in, iter((z,)))
    for block, own in zip(decoder.up_blocks, maps):
        growth = 1
        if isinstance(block, DepthToSpaceUp):  # it is what it makes that must not be too large
            growth = block.conv.conv.out_channels // block.conv.conv.in_channels
        parts = Grouped(parts, values=values // growth, multiple=1)
        parts = _up(block, parts, scaled, own)
    parts = Grouped(parts, values=values, multiple=1)
    parts = Convolved(decoder.conv_out, map(partial(decoder.leave, scaled=scaled), parts))
    return map(partial(unpatchify, size=size), parts)


def drawn(decoder: Decoder, z: Tensor, noise: NoiseSource | None) -> list[list[Tensor]]:
    """The noise maps of every block, in the order in which the decoder would draw them.

    Args:
        z: (B, C, t, h, w), latents.
        noise: as `Decoder.forward` takes it.
    """
    maps: list[list[Tensor]] = []
    height, width = z.shape[-2:]
    for block in decoder.up_blocks:
        if isinstance(block, ResGroup) and noise is not None:
            maps.append(block.draw(noise, z.new_empty(0, height, width)))
        else:
            maps.append([])
        if isinstance(block, DepthToSpaceUp):
            height, width = height * block.stride[1], width * block.stride[2]
    return maps


def _up(block: nn.Module, parts: Parts, scaled: Tensor | None, maps: Sequence[Tensor]) -> Parts:
    """Parts through a block of the decoder."""
    if isinstance(block, ResGroup):
        return _res_group(block, parts, scaled, maps)
    if isinstance(block, ResBlock):
        return _res_block(block, parts, None, ())
    assert isinstance(block, DepthToSpaceUp), f"no block of the decoder: {block}"
    passing, skips = Aside(parts), chain((block.stride[0] - 1,), repeat(0))
    return map(partial(_beside, block.spread, passing), Convolved(block.conv, passing), skips)


def _down(block: nn.Module, parts: Parts, values: int) -> Parts:
    """Parts through a block of the encoder."""
    if isinstance(block, SpaceToDepthDown):
        stride = block.stride[0]
        if stride == 2:
            first = next(parts)
            parts = chain((torch.cat((first[:, :, :1], first), dim=2),), parts)
        passing = Aside(Grouped(parts, values=values, multiple=stride))
        return map(partial(_beside, block.fold, passing), Convolved(block.conv, passing))
    parts = Grouped(parts, values=values, multiple=1)
    if isinstance(block, ResGroup):
        return _res_group(block, parts, None, ())
    if isinstance(block, ResBlock):
        return _res_block(block, parts, None, ())
    assert isinstance(block, CausalConv3d), f"no block of the encoder: {block}"
    return Convolved(block, parts)


def _beside(combine: Callable[..., Tensor], passing: Aside, h: Tensor, *others: object) -> Tensor:
    """A part that was computed, combined with the same frames of what it was computed from."""
    return combine(passing.take(h.shape[2]), h, *others)


def _res_group(
    group: ResGroup, parts: Parts, scaled: Tensor | None, maps: Sequence[Tensor]
) -> Parts:
    embedded = group.embedded(scaled)
    for i, block in enumerate(group.res_blocks):
        assert isinstance(block, ResBlock)
        parts = _res_block(block, parts, embedded, maps[2 * i : 2 * i + 2])
    return parts


def _res_block(
    block: ResBlock, parts: Parts, embedded: Tensor | None, maps: Sequence[Tensor]
) -> Parts:
    rows, passing = block.rows(embedded), Aside(parts)
    h: Parts = Convolved(block.conv1, map(partial(block.enter, rows=rows), passing))
    h = Convolved(block.conv2, map(partial(block.between, rows=rows, maps=maps), h))
    return map(partial(_beside, partial(block.leave, maps=maps), passing), h)
