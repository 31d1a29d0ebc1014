"""Levels of the U-Net in `video_unet.py`, and the slots in them; see `video_unet.py`.

Letters: as in `sd_blocks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor, nn

from kinema.networks.sd_blocks import (
    ClipNorm,
    Downsample,
    FrameNorm,
    PointwiseConv,
    ResnetBlock,
    Setting,
    SpatialTransformer,
    TransformerBlock,
    Upsample,
)
from kinema.nn.factory import Factory

Run = Callable[[nn.Module, Tensor], Tensor]  # runs a block on frames, in the setting of the call
Slot = Callable[..., nn.Module]  # (place, *, device, dtype) -> what stands there


class Place(NamedTuple):
    """Where something stands in the network, and the sizes there.

    Attributes:
        name: of the site: ``down_blocks.0.resnets.1``.
        channels, num_heads: of the level.
        context_channels: D.
        embedding_channels: E.
        num_groups: of group norms.
        projection: of transformers.
    """

    name: str
    channels: int
    num_heads: int
    context_channels: int
    embedding_channels: int
    num_groups: int
    projection: type[nn.Linear | PointwiseConv]

    def at(self, name: str) -> Place:
        """A place of the same sizes below this one."""
        return self._replace(name=f"{self.name}.{name}")


@dataclass(frozen=True, kw_only=True)
class Slots:
    """What a video model puts into the 2-D network; None leaves a slot empty.

    Each is called with its `Place` and torch's factory arguments, once for every site, and makes a
    module. That is called (x, setting) and returns something like x: frames (F, C, H, W) or, inside
    transformers, tokens (F, N, C).

    Attributes:
        norm: group norm of residual blocks and of the output: over each frame or each clip.
        after_resnet: works on what a residual block returns.
        after_transformer: works on what a transformer returns.
        before_ff: works on tokens between the attention to the text and the feed-forward.
        before_after_block: works on tokens on their way into `after_block`: gives them their place
            in the clip, for one.
        after_block: works on tokens behind the feed-forward, inside the transformer's projections.
        fusion: called (x, y, setting) with what a residual block or a transformer's block made, x,
            and what `after_resnet` or `after_block` made of it, y; if it is empty, y goes on.
        residual_in: called without a place, once for the network; the module is called (x, time,
            conditions), as the network is, and returns `Residuals`.
    """

    norm: type[FrameNorm | ClipNorm] = FrameNorm
    after_resnet: Slot | None = None
    after_transformer: Slot | None = None
    before_ff: Slot | None = None
    before_after_block: Slot | None = None
    after_block: Slot | None = None
    fusion: Slot | None = None
    residual_in: Slot | None = None


class Residuals(NamedTuple):
    """What a control branch adds; an empty tuple adds nothing.

    Attributes:
        levels: (F, C, H, W) for each level on the way down, added behind its last block, so that
            both what follows and the skip have it (T2I-Adapter, arXiv 2302.08453).
        skips: (F, C, H, W) for each skip in the order of the way down, then for the middle; added
            where the way up reads them (ControlNet, arXiv 2302.05543).
    """

    levels: tuple[Tensor, ...] = ()
    skips: tuple[Tensor, ...] = ()


def fill(slot: Slot | None, place: Place, factory: Factory) -> nn.Module | None:
    """What a slot makes at a place, or None if it is empty."""
    return None if slot is None else slot(place, **factory)


def fused(fusion: nn.Module | None, x: Tensor, y: Tensor, setting: Setting) -> Tensor:
    """x and y together, or y alone."""
    return y if fusion is None else fusion(x, y, setting)


class VideoResnet(nn.Module):
    """A residual block of frames, the slot behind it, and their fusion."""

    def __init__(self, spatial: ResnetBlock, temporal: nn.Module, fusion: nn.Module | None) -> None:
        super().__init__()
        self.spatial_res_block, self.temporal_res_block = spatial, temporal
        self.time_mixer = fusion

    def forward(self, x_FCHW: Tensor, setting: Setting) -> Tensor:
        """(F, C, H, W) -> (F, C', H, W)."""
        x = self.spatial_res_block(x_FCHW, setting)
        return fused(self.time_mixer, x, self.temporal_res_block(x, setting), setting)


class VideoTransformer(SpatialTransformer):
    """A transformer with a filled slot behind its block, inside its projections."""

    def __init__(
        self,
        spatial: TransformerBlock,
        temporal: nn.Module,
        before: nn.Module | None,
        fusion: nn.Module | None,
        channels: int,
        **sizes: Any,
    ) -> None:
        super().__init__(spatial, channels, **sizes)
        self.time_pos_embed = before
        self.temporal_transformer_blocks = nn.ModuleList([temporal])
        self.time_mixer = fusion

    def inner(self, x_FNC: Tensor, setting: Setting) -> Tensor:
        """(F, N, C) -> (F, N, C)."""
        x = super().inner(x_FNC, setting)
        y = x if self.time_pos_embed is None else self.time_pos_embed(x, setting)
        y = self.temporal_transformer_blocks[0](y, setting)
        return fused(self.time_mixer, x, y, setting)


def make_resnet(
    in_channels: int, place: Place, slots: Slots, **factory: Unpack[Factory]
) -> nn.Module:
    """A residual block with its slot."""
    spatial = ResnetBlock(
        in_channels,
        place.channels,
        embedding_channels=place.embedding_channels,
        num_groups=place.num_groups,
        norm=slots.norm,
        **factory,
    )
    temporal = fill(slots.after_resnet, place, factory)
    if temporal is None:
        return spatial
    return VideoResnet(spatial, temporal, fill(slots.fusion, place, factory))


def make_transformer(place: Place, slots: Slots, **factory: Unpack[Factory]) -> SpatialTransformer:
    """A transformer with the slots in it."""
    inside, behind = place.at("transformer_blocks.0"), place.at("temporal_transformer_blocks.0")
    block = TransformerBlock(
        inside.name,
        place.channels,
        place.context_channels,
        place.num_heads,
        before_ff=fill(slots.before_ff, inside, factory),
        **factory,
    )
    sizes: dict[str, Any] = {
        "num_groups": place.num_groups,
        "projection": place.projection,
        **factory,
    }
    temporal = fill(slots.after_block, behind, factory)
    if temporal is None:
        return SpatialTransformer(block, place.channels, **sizes)
    before = fill(slots.before_after_block, place, factory)
    fusion = fill(slots.fusion, place, factory)
    return VideoTransformer(block, temporal, before, fusion, place.channels, **sizes)


class Level(nn.Module):
    """Residual blocks of one level, each followed by a transformer where the level has them.

    Args:
        place: of the level.
        widths: channels that come into each residual block.
        transformers: how many there are, from the first residual block on.
        slots: what stands beside them.
    """

    def __init__(
        self,
        place: Place,
        widths: Sequence[int],
        transformers: int,
        slots: Slots,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            make_resnet(width, place.at(f"resnets.{i}"), slots, **factory)
            for i, width in enumerate(widths)
        )
        self.attentions = nn.ModuleList(
            make_transformer(place.at(f"attentions.{i}"), slots, **factory)
            for i in range(transformers)
        )
        self.temp_attentions = nn.ModuleList()
        if slots.after_transformer is not None:
            for i in range(transformers):
                behind = slots.after_transformer(place.at(f"temp_attentions.{i}"), **factory)
                self.temp_attentions.append(behind)

    def columns(self) -> Iterator[list[nn.Module]]:
        """For each residual block, what runs from it to the next, in order."""
        groups = (self.resnets, self.attentions, self.temp_attentions)
        for i in range(len(self.resnets)):
            yield [group[i] for group in groups if i < len(group)]


class DownLevel(Level):
    """One level on the way down, and the step to half the size where `last` is not set."""

    def __init__(self, place: Place, *sizes: Any, last: bool, **factory: Unpack[Factory]) -> None:
        super().__init__(place, *sizes, **factory)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(place.channels, **factory)])

    def forward(self, x: Tensor, run: Run, residual: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """(F, C, H, W) -> what the next level reads, and the skips of this one."""
        skips = []
        for i, parts in enumerate(self.columns(), start=1):
            for part in parts:
                x = run(part, x)
            if residual is not None and i == len(self.resnets):
                x = x + residual
            skips.append(x)
        for downsampler in self.downsamplers:
            x = downsampler(x)
            skips.append(x)
        return x, skips


class MidBlock(Level):
    """What stands between the way down and the way up."""

    def forward(self, x: Tensor, run: Run) -> Tensor:
        """(F, C, H, W) -> the same shape."""
        for parts in self.columns():
            for part in parts:
                x = run(part, x)
        return x


class UpLevel(Level):
    """One level on the way up, and the step to twice the size where `last` is not set."""

    def __init__(self, place: Place, *sizes: Any, last: bool, **factory: Unpack[Factory]) -> None:
        super().__init__(place, *sizes, **factory)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(place.channels, **factory)])

    def forward(self, x: Tensor, run: Run, skips: list[Tensor]) -> Tensor:
        """(F, C, H, W) -> what the next level reads; takes its skips from the end of the list."""
        for parts in self.columns():
            x = torch.cat([x, skips.pop()], dim=1)
            for part in parts:
                x = run(part, x)
        for upsampler in self.upsamplers:
            x = upsampler(x)
        return x
