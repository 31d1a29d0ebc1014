"""The autoencoder of Stable Video Diffusion: image encoder, decoder with layers over time.

Stable Video Diffusion: Scaling Latent Video Diffusion Models to Large Datasets, Blattmann et al.
2023, arXiv 2311.15127; the decoder is that of Video LDM, arXiv 2304.08818, section 3.1.1. Authors'
code: github.com/Stability-AI/generative-models (MIT), ``VideoDecoder``; weights under a
non-commercial community license. Parameter names are diffusers'.

Verified by recorded cases: encoder and decoder; by manifests: all names and sizes, of the authors'
files and of diffusers'.

Letters: B batch, C channels, T frames, H height, W width; lower case h, w for the latent grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.networks import kl_vae_config
from kinema.networks.kl_vae import Decoder, FrameEncoder, ResBlock
from kinema.networks.kl_vae_config import KLVAEConfig
from kinema.networks.sd_blocks import close
from kinema.networks.video_vae import check_clips
from kinema.nn.conv import TIME_KERNEL, TimeConv
from kinema.nn.factory import Factory
from kinema.nn.frames import by_clip, by_frame

TIME_EPS = 1e-5


def from_official(arguments: Mapping[str, Any]) -> KLVAEConfig:
    """The configuration for the arguments of the authors' ``VideoDecoder``.

    Raises:
        InputError: an argument is unknown, missing, or would make another network.
    """
    image = dict(arguments)
    kernel = image.pop("video_kernel_size", None)
    if kernel != list(TIME_KERNEL):
        raise InputError(
            f"the decoder over time has video_kernel_size = {list(TIME_KERNEL)}, not {kernel!r}"
        )
    return kl_vae_config.from_official(image)


class TimeResBlock(nn.Module):
    """Twice norm, SiLU, conv over time; nothing is added at first. Norms are over T, H, W."""

    def __init__(self, channels: int, *, groups: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, TIME_EPS, **factory)
        self.conv1 = TimeConv(channels, **factory)
        self.norm2 = nn.GroupNorm(groups, channels, TIME_EPS, **factory)
        self.conv2 = TimeConv(channels, **factory)
        close(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class TimeMixer(nn.Module):
    """a temporal + (1 - a) spatial, with a = sigmoid(mix_factor), 1/2 at first.

    The U-Net of the same paper mixes the other way round.
    """

    def __init__(self, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.mix_factor = nn.Parameter(torch.zeros(1, **factory))

    def forward(self, spatial: Tensor, temporal: Tensor) -> Tensor:
        """Two tensors of one shape -> one."""
        return torch.lerp(spatial, temporal, self.mix_factor.sigmoid())


class SpaceTimeResBlock(nn.Module):
    """A residual block of the image decoder, then its twin over time, mixed with its input."""

    def __init__(
        self, in_channels: int, channels: int, *, groups: int, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        self.spatial_res_block = ResBlock(in_channels, channels, groups=groups, **factory)
        self.temporal_res_block = TimeResBlock(channels, groups=groups, **factory)
        self.time_mixer = TimeMixer(**factory)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Frames ((B T), C, H, W), T of them a clip -> ((B T), C', H, W)."""
        return by_clip(self._mixed, self.spatial_res_block(x), num_frames)

    def _mixed(self, x: Tensor) -> Tensor:
        return self.time_mixer(x, self.temporal_res_block(x))


class VideoDecoder(Decoder):
    """Latents -> frames of clips; no frame is decoded without its neighbors."""

    def __init__(self, config: KLVAEConfig, **factory: Unpack[Factory]) -> None:
        block = partial(SpaceTimeResBlock, groups=config.norm_groups, **factory)
        super().__init__(config, block=block, **factory)
        self.time_conv_out = TimeConv(3, **factory)

    def forward(self, z: Tensor, *context: int) -> Tensor:
        """((B T), C, h, w), the number of frames T of a clip -> ((B T), 3, H, W)."""
        (num_frames,) = context
        return by_clip(self.time_conv_out, super().forward(z, num_frames), num_frames)


class SVDVAE(FrameEncoder):
    """The codec: clips (B, 3, T, H, W) in [-1, 1] <-> latents (B, C, T, h, w).

    Frames are encoded one by one and decoded together.
    """

    def __init__(self, config: KLVAEConfig, **factory: Unpack[Factory]) -> None:
        super().__init__(config, **factory)
        self.decoder = VideoDecoder(config, **factory)

    def decode(self, z: Tensor) -> Tensor:
        """Latents (B, C, T, h, w) -> clips (B, 3, T, H, W), about [-1, 1], not clamped.

        A long clip may be decoded in parts, 14 frames at a time in the authors' sampling; frames at
        the borders of the parts then differ.

        Raises:
            InputError: z is not of this codec.
        """
        check_clips("latents", z, self.channels)
        return by_frame(lambda x: self.decoder(x, z.shape[2]), self.denormalize(z))
