"""The latent upsamplers of LTX-Video 0.9.7 and 0.9.8: twice the size, or twice the frame rate.

Between two passes of the generator the latents of the first are enlarged without leaving latent
space. Authors' code: github.com/Lightricks/LTX-Video (Apache-2.0), LatentUpsampler; the paper
(LTX-Video, arXiv:2501.00103) does not describe it. Parameter names are the authors'.

Verified against the authors' code: the steps in space, in time, and in both. Inferred: the sizes of
the temporal upsampler, which are the defaults of the authors' class.

Letters: B batch, C channels, T frames, H height, W width of the latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.networks.official import check_arguments
from kinema.nn.conv import depth_to_space
from kinema.nn.factory import Factory
from kinema.nn.frames import by_frame

NUM_GROUPS = 32


@config
class LatentUpsamplerConfig:
    """Sizes of a `LatentUpsampler`.

    Attributes:
        in_channels: of the latents.
        mid_channels: inside, a multiple of 32.
        num_blocks_per_stage: residual blocks before, and again after, the step.
        upsample: what is doubled: height and width, the frame rate, or all.

    Raises:
        InputError: `mid_channels` cannot be split into 32 groups.
    """

    in_channels: int
    mid_channels: int
    num_blocks_per_stage: int
    upsample: Literal["space", "time", "all"]

    def __post_init__(self) -> None:
        if self.mid_channels % NUM_GROUPS:
            raise InputError(f"mid_channels must be a multiple of 32, not {self.mid_channels}")


def spatial_0_9_7() -> LatentUpsamplerConfig:
    """Height and width x 2, for 0.9.7 and 0.9.8. 126,250,624 parameters."""
    return LatentUpsamplerConfig(
        in_channels=128, mid_channels=512, num_blocks_per_stage=4, upsample="space"
    )


def temporal_0_9_7() -> LatentUpsamplerConfig:
    """Frame rate x 2, for 0.9.7 and 0.9.8. 130,968,192 parameters."""
    return LatentUpsamplerConfig(
        in_channels=128, mid_channels=512, num_blocks_per_stage=4, upsample="time"
    )


_DEFAULTS: dict[str, Any] = {
    "in_channels": 128,
    "mid_channels": 512,
    "num_blocks_per_stage": 4,
    "spatial_upsample": True,
    "temporal_upsample": False,
}
# The authors' class, and that of diffusers, which has the same arguments and tensors.
_FIXED = {"_class_name": ("LatentUpsampler", "LTXLatentUpsamplerModel"), "dims": (3,)}


def from_official(arguments: Mapping[str, Any]) -> LatentUpsamplerConfig:
    """The configuration for the arguments of the authors' constructor.

    Raises:
        InputError: an argument is unknown or has a value of no published version.
    """
    check_arguments("the latent upsampler", arguments, needed=(), optional=_DEFAULTS, fixed=_FIXED)
    given = _DEFAULTS | dict(arguments)
    axes = (bool(given["spatial_upsample"]), bool(given["temporal_upsample"]))
    names = {(True, False): "space", (False, True): "time", (True, True): "all"}
    if axes not in names:
        raise InputError("spatial_upsample or temporal_upsample of the upsampler must be true")
    sizes = ("in_channels", "mid_channels", "num_blocks_per_stage")
    values = {name: given[name] for name in sizes} | {"upsample": names[axes]}
    return from_dict(LatentUpsamplerConfig, values)


class ResBlock(nn.Module):
    """SiLU(x + norm(conv(SiLU(norm(conv(x)))))), GroupNorms of 32 groups."""

    def __init__(self, channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, kernel_size=3, padding=1, **factory)
        self.norm1 = nn.GroupNorm(NUM_GROUPS, channels, **factory)
        self.conv2 = nn.Conv3d(channels, channels, kernel_size=3, padding=1, **factory)
        self.norm2 = nn.GroupNorm(NUM_GROUPS, channels, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> the same shape."""
        h = F.silu(self.norm1(self.conv1(x)))
        return F.silu(self.norm2(self.conv2(h)) + x)


class DepthToSpace(nn.Module):
    """Pixel shuffle that doubles the frames, or the frames, height and width."""

    def __init__(self, factors: tuple[int, int, int]) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x: Tensor) -> Tensor:
        """See `depth_to_space`."""
        return depth_to_space(x, self.factors)


class LatentUpsampler(nn.Module):
    """Latents as they leave the encoder, before normalization -> more of them.

    The step in space works frame by frame; a step in time drops the first frame, T -> 2T - 1, as
    the VAE's decoder does.
    """

    def __init__(self, config: LatentUpsamplerConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        size, mid = config.in_channels, config.mid_channels
        self.config = config
        self.initial_conv = nn.Conv3d(size, mid, kernel_size=3, padding=1, **factory)
        self.initial_norm = nn.GroupNorm(NUM_GROUPS, mid, **factory)
        count = range(config.num_blocks_per_stage)
        self.res_blocks = nn.ModuleList(ResBlock(mid, **factory) for _ in count)
        conv: nn.Module
        if config.upsample == "space":
            conv = nn.Conv2d(mid, 4 * mid, kernel_size=3, padding=1, **factory)
            self.upsampler = nn.Sequential(conv, nn.PixelShuffle(2))
        else:
            factors = (2, 1, 1) if config.upsample == "time" else (2, 2, 2)
            cell = factors[0] * factors[1] * factors[2]
            conv = nn.Conv3d(mid, cell * mid, kernel_size=3, padding=1, **factory)
            self.upsampler = nn.Sequential(conv, DepthToSpace(factors))
        self.post_upsample_res_blocks = nn.ModuleList(ResBlock(mid, **factory) for _ in count)
        self.final_conv = nn.Conv3d(mid, size, kernel_size=3, padding=1, **factory)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, 2H, 2W), (B, C, 2T - 1, H, W) or (B, C, 2T - 1, 2H, 2W)."""
        x = F.silu(self.initial_norm(self.initial_conv(latents)))
        for block in self.res_blocks:
            x = block(x)
        if self.config.upsample == "space":
            x = by_frame(self.upsampler, x)
        else:
            x = self.upsampler(x)[:, :, 1:]
        for block in self.post_upsample_res_blocks:
            x = block(x)
        return self.final_conv(x)
