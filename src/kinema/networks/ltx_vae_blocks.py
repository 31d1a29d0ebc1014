"""The blocks of LTX-Video's VAE: residual blocks, and the steps between resolutions.

Paper, code and license: see `ltx_vae.py`. Letters: B batch, C channels, T frames, H height,
W width.
A `conv` argument is the factory of the network's 3x3x3 convolutions, `conv(in, out, stride=...)`,
with causality, padding, device and type bound to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.nn.conv import CausalConv3d, Factors, depth_to_space, space_to_depth
from kinema.nn.embeddings import TimeEmbedder
from kinema.nn.factory import Factory
from kinema.nn.norms import ChannelNorm, PixelNorm

ConvFactory = Callable[..., CausalConv3d]
Rows = tuple[Tensor, ...]  # of a modulation; none without a time
NoiseSource = Callable[[tuple[int, int]], Tensor]  # (H, W) -> a map (H, W) or (B, 1, H, W)
SHORTCUT_NORM_EPS = 1e-6


class ResBlock(nn.Module):
    """PixelNorm, SiLU, conv, PixelNorm, SiLU, conv, plus the input.

    Timed, each norm is followed by the modulation (1 + scale) h + shift. Noisy, each convolution is
    followed by a Gaussian map times a learned scale per channel (StyleGAN's noise inputs). Where
    the number of channels changes, the shortcut is a LayerNorm over channels and a 1x1x1 conv.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        conv: ConvFactory,
        timed: bool,
        noisy: bool,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.norm1 = PixelNorm()
        self.conv1 = conv(in_channels, out_channels)
        self.norm2 = PixelNorm()
        self.conv2 = conv(out_channels, out_channels)
        self.norm3: nn.Module = nn.Identity()
        self.conv_shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.norm3 = ChannelNorm(in_channels, eps=SHORTCUT_NORM_EPS, **factory)
            self.conv_shortcut = nn.Conv3d(in_channels, out_channels, kernel_size=1, **factory)
        if noisy:
            self.per_channel_scale1 = nn.Parameter(torch.zeros(out_channels, 1, 1, **factory))
            self.per_channel_scale2 = nn.Parameter(torch.zeros(out_channels, 1, 1, **factory))
        if timed:
            table = torch.randn(4, in_channels, **factory) / in_channels**0.5
            self.scale_shift_table = nn.Parameter(table)

    def forward(self, x: Tensor, time: Tensor | None = None, maps: Sequence[Tensor] = ()) -> Tensor:
        """One residual step.

        Args:
            x: (B, C, T, H, W).
            time: (B, 4 C), the embedded time of a timed block.
            maps: two noise maps, (H, W) or (B, 1, H, W); or none, and no noise is injected.
        """
        rows = self.rows(time)
        h = self.conv1(self.enter(x, rows))
        h = self.conv2(self.between(h, rows, maps))
        return self.leave(x, h, maps)

    def rows(self, time: Tensor | None) -> Rows:
        """shift1, scale1, shift2, scale2 of a timed block, each (B, C, 1, 1, 1)."""
        return () if time is None else modulation(self.scale_shift_table, time)

    def enter(self, x: Tensor, rows: Rows) -> Tensor:
        """What the first convolution sees."""
        return active(x, self.norm1, rows[:2], out=None)

    def between(self, h: Tensor, rows: Rows, maps: Sequence[Tensor]) -> Tensor:
        """What the second convolution sees of what the first one made, whose place it takes."""
        if maps:
            h = h + (self.per_channel_scale1 * maps[0]).unsqueeze(-3)  # equal in every frame
        return active(h, self.norm2, rows[2:], out=reused(h))

    def leave(self, x: Tensor, h: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """The input, and what the second convolution made, whose place the sum takes."""
        if maps:
            h = h + (self.per_channel_scale2 * maps[1]).unsqueeze(-3)
        return torch.add(h, self.conv_shortcut(self.norm3(x)), out=reused(h))


def active(x: Tensor, norm: PixelNorm, rows: Rows, *, out: Tensor | None) -> Tensor:
    """SiLU of the norm of x, modulated by shift and scale if there are any; `out`: see the norm."""
    h = norm(x, out=out)
    if rows:
        shift, scale = rows
        h = torch.addcmul(shift, h, 1 + scale, out=reused(h))
    return F.silu(h, inplace=not torch.is_grad_enabled())


def reused(x: Tensor) -> Tensor | None:
    """x as the place of a result, where no gradient needs what is in it.

    A large tensor that is allocated anew costs the CPU more time than a sum takes.
    """
    return None if torch.is_grad_enabled() else x


def modulation(table: Tensor, time: Tensor) -> tuple[Tensor, ...]:
    """Learned table (n, C) + embedded time (B, n C) -> n tensors (B, C, 1, 1, 1).

    Source: adaLN-single of PixArt-alpha (arXiv:2310.00426), section 2.3.
    """
    rows = table + time.unflatten(1, table.shape)
    return rows[..., None, None, None].unbind(dim=1)


class ResGroup(nn.Module):
    """Residual blocks at one resolution, with one embedding of the time for all of them."""

    def __init__(
        self,
        channels: int,
        num_layers: int,
        *,
        conv: ConvFactory,
        timed: bool,
        noisy: bool,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.num_noise_maps = 2 * num_layers if noisy else 0
        if timed:
            self.time_embedder = TimeEmbedder(4 * channels, **factory)
        self.res_blocks = nn.ModuleList(
            ResBlock(channels, channels, conv=conv, timed=timed, noisy=noisy, **factory)
            for _ in range(num_layers)
        )

    def draw(self, noise: NoiseSource, x: Tensor) -> list[Tensor]:
        """The maps that these blocks add to an input like x, in the order of use."""
        size = (x.shape[-2], x.shape[-1])
        return [noise(size).to(x) for _ in range(self.num_noise_maps)]

    def forward(self, x: Tensor, time: Tensor | None = None, maps: Sequence[Tensor] = ()) -> Tensor:
        """The blocks in turn.

        Args:
            x: (B, C, T, H, W).
            time: (B,) in the unit of the sinusoids, for timed blocks.
            maps: `num_noise_maps` maps in the order of use, or none.
        """
        embedded = self.embedded(time)
        for i, block in enumerate(self.res_blocks):
            x = block(x, embedded, maps[2 * i : 2 * i + 2])
        return x

    def embedded(self, time: Tensor | None) -> Tensor | None:
        """The embedding (B, 4 C) of times (B,) that all blocks share."""
        return None if time is None else self.time_embedder(time)


class SpaceToDepthDown(nn.Module):
    """Halves a resolution by moving pixels into channels; the shortcut averages channel groups.

    The conv keeps the resolution and gives C' / (st sh sw) channels. A temporal stride repeats the
    first frame once, so that 8k + 1 frames stay a possible number at every level.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: Factors, conv: ConvFactory
    ) -> None:
        super().__init__()
        cell = math.prod(stride)
        self.stride = stride
        self.group_size = in_channels * cell // out_channels
        self.conv = conv(in_channels, out_channels // cell)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', ceil(T / st), H / sh, W / sw)."""
        if self.stride[0] == 2:
            x = torch.cat([x[:, :, :1], x], dim=2)
        return self.fold(x, self.conv(x))

    def fold(self, x: Tensor, h: Tensor) -> Tensor:
        """Input and what the conv made of it, both at the new resolution, added."""
        shortcut = space_to_depth(x, self.stride).unflatten(1, (-1, self.group_size)).mean(dim=2)
        return space_to_depth(h, self.stride) + shortcut


class DepthToSpaceUp(nn.Module):
    """Doubles a resolution by pixel shuffle; the shortcut shuffles the input and repeats channels.

    After a temporal step the first frame is dropped, 2T -> 2T - 1: it has no counterpart in a clip
    of 8k + 1 frames.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: Factors,
        residual: bool,
        conv: ConvFactory,
    ) -> None:
        super().__init__()
        cell = math.prod(stride)
        self.stride = stride
        self.repeats = out_channels * cell // in_channels if residual else 0
        self.conv = conv(in_channels, out_channels * cell)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T st - (st - 1), H sh, W sw)."""
        return self.spread(x, self.conv(x), self.stride[0] - 1)

    def spread(self, x: Tensor, h: Tensor, skip: int) -> Tensor:
        """Input and what the conv made of it at the new resolution, without the first frames."""
        h = depth_to_space(h, self.stride)[:, :, skip:]
        if not self.repeats:
            return h
        shortcut = depth_to_space(x, self.stride)[:, :, skip:]
        return torch.add(h, shortcut.repeat(1, self.repeats, 1, 1, 1), out=reused(h))


def patchify(x: Tensor, size: int) -> Tensor:
    """(B, C, T, H q, W r) -> (B, C r q, T, H, W): the column within the patch runs slower."""
    return rearrange(x, "b c t (h q) (w r) -> b (c r q) t h w", q=size, r=size)


def unpatchify(x: Tensor, size: int) -> Tensor:
    """The inverse of `patchify`."""
    return rearrange(x, "b (c r q) t h w -> b c t (h q) (w r)", q=size, r=size)
