"""The KL autoencoder of latent diffusion, as Stable Diffusion has it; 8 pixels to a latent.

High-Resolution Image Synthesis with Latent Diffusion Models, Rombach et al. 2022, arXiv 2112.10752,
section 3.1 and appendix G. Authors' code: github.com/CompVis/latent-diffusion (MIT) and
github.com/Stability-AI/generative-models (MIT). Parameter names are diffusers'.

Verified by recorded cases: the encoder; by manifests: all names and sizes of the f=8 and f=4
versions. The decoder is verified through that of Stable Video Diffusion, which adds to it.

It is an image model: clips go through it frame by frame.

Letters: B batch, C channels, T frames, H height, W width; lower case h, w for the latent grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Unpack

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.networks.kl_vae_config import KLVAEConfig
from kinema.networks.sd_blocks import Upsample
from kinema.networks.video_vae import VideoVAE, check_clips
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory
from kinema.nn.frames import by_frame
from kinema.nn.sites import Site, attend

EPS = 1e-6

Block = Callable[[int, int], nn.Module]  # from the numbers of channels that enter and leave


class ResBlock(nn.Module):
    """Twice norm, SiLU, 3x3 conv; a 1x1 conv in the shortcut where the channels change."""

    def __init__(
        self, in_channels: int, channels: int, *, groups: int, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, EPS, **factory)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, **factory)
        self.norm2 = nn.GroupNorm(groups, channels, EPS, **factory)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, **factory)
        if in_channels != channels:
            self.conv_shortcut = nn.Conv2d(in_channels, channels, 1, **factory)
        self.widens = in_channels != channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.conv_shortcut(x) if self.widens else x)


class Attention(nn.Module):
    """Every place of an image attends to all others, with one head as wide as the channels."""

    def __init__(
        self, site: Site, channels: int, *, groups: int, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        self.site = site
        self.group_norm = nn.GroupNorm(groups, channels, EPS, **factory)
        self.to_q = nn.Linear(channels, channels, **factory)
        self.to_k = nn.Linear(channels, channels, **factory)
        self.to_v = nn.Linear(channels, channels, **factory)
        self.to_out = nn.Sequential(nn.Linear(channels, channels, **factory))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        tokens = rearrange(self.group_norm(x), "b c h w -> b 1 (h w) c")
        out = attend(self.site, self.to_q(tokens), self.to_k(tokens), self.to_v(tokens), None)
        return x + rearrange(self.to_out(out), "b 1 (h w) c -> b c h w", h=x.shape[2])


class Downsample(nn.Module):
    """Halves height and width: a 3x3 conv of stride 2, padded at the right and the bottom only."""

    def __init__(self, channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / 2, W / 2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Middle(nn.Module):
    """A residual block, attention, a residual block, at the lowest resolution."""

    def __init__(self, channels: int, *, block: Block, attention: Attention) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([block(channels, channels), block(channels, channels)])
        self.attentions = nn.ModuleList([attention])

    def forward(self, x: Tensor, *context: int) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        x = self.attentions[0](self.resnets[0](x, *context))
        return self.resnets[1](x, *context)


class Level(nn.Module):
    """Residual blocks of one resolution, and the step to the next unless it is the last.

    Args:
        widths: channels before the first block and after each.
        block: makes a residual block.
        step: the step under its name in diffusers, ``downsamplers`` or ``upsamplers``.
    """

    def __init__(self, widths: Sequence[int], *, block: Block, **step: nn.Module) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(map(block, widths, widths[1:]))
        self.steps = tuple(step)
        for name, module in step.items():
            self.add_module(name, nn.ModuleList([module]))

    def forward(self, x: Tensor, *context: int) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        for block in self.resnets:
            x = block(x, *context)
        for name in self.steps:
            x = self.get_submodule(f"{name}.0")(x)
        return x


class Encoder(Checkpointed):
    """Images -> mean and log-variance of the latents, as channels."""

    def __init__(self, config: KLVAEConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        groups, deepest = config.norm_groups, config.channels[-1]
        block = partial(ResBlock, groups=groups, **factory)
        site = Site("encoder.mid_block.attentions.0", "self")
        widths = (config.channels[0], *config.channels)
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1, **factory)
        self.down_blocks = nn.ModuleList()
        for before, width in zip(widths, config.channels):
            is_last = len(self.down_blocks) == len(config.channels) - 1
            step = {} if is_last else {"downsamplers": Downsample(width, **factory)}
            level = Level([before] + [width] * config.num_layers, block=block, **step)
            self.down_blocks.append(level)
        attention = Attention(site, deepest, groups=groups, **factory)
        self.mid_block = Middle(deepest, block=block, attention=attention)
        self.conv_norm_out = nn.GroupNorm(groups, deepest, EPS, **factory)
        self.conv_out = nn.Conv2d(deepest, 2 * config.latent_channels, 3, padding=1, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2 C, h, w)."""
        h = self.through((*self.down_blocks, self.mid_block), self.conv_in(x))
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class Decoder(Checkpointed):
    """Latents -> images.

    Args:
        block: makes the residual blocks.
    """

    def __init__(self, config: KLVAEConfig, *, block: Block, **factory: Unpack[Factory]) -> None:
        super().__init__()
        groups, channels = config.norm_groups, config.channels[::-1]
        site = Site("decoder.mid_block.attentions.0", "self")
        widths = (channels[0], *channels)
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1, **factory)
        attention = Attention(site, widths[0], groups=groups, **factory)
        self.mid_block = Middle(widths[0], block=block, attention=attention)
        self.up_blocks = nn.ModuleList()
        for before, width in zip(widths, channels):
            is_last = len(self.up_blocks) == len(channels) - 1
            step = {} if is_last else {"upsamplers": Upsample(width, **factory)}
            level = Level([before] + [width] * (config.num_layers + 1), block=block, **step)
            self.up_blocks.append(level)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS, **factory)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1, **factory)

    def forward(self, z: Tensor, *context: int) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W); `context` is what the residual blocks take beside."""
        h = self.through((self.mid_block, *self.up_blocks), self.conv_in(z), *context)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class FrameEncoder(VideoVAE):
    """Clips (B, 3, T, H, W) in [-1, 1] -> latents (B, C, T, h, w), frame by frame.

    The posterior's mean is what Stable Video Diffusion takes for the conditioning frame.
    """

    def __init__(self, config: KLVAEConfig, **factory: Unpack[Factory]) -> None:
        stride = (1, config.stride, config.stride)
        super().__init__(stride=stride, channels=config.latent_channels, in_channels=3)
        self.config = config
        self.encoder = Encoder(config, **factory)
        moments = 2 * config.latent_channels
        self.quant_conv = nn.Conv2d(moments, moments, 1, **factory)

    def moments(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) -> mean and log-variance as channels, (B, 2 C, T, h, w)."""
        return by_frame(lambda images: self.quant_conv(self.encoder(images)), x)

    def normalize(self, z: Tensor) -> Tensor:
        """Latents as the encoder gives them -> latents of deviation about 1."""
        return z * self.config.scale

    def denormalize(self, z: Tensor) -> Tensor:
        """The inverse of `normalize`."""
        return z / self.config.scale


class KLVAE(FrameEncoder):
    """The codec: clips (B, 3, T, H, W) in [-1, 1] <-> latents (B, C, T, h, w), frame by frame."""

    def __init__(self, config: KLVAEConfig, **factory: Unpack[Factory]) -> None:
        super().__init__(config, **factory)
        block = partial(ResBlock, groups=config.norm_groups, **factory)
        self.post_quant_conv = nn.Conv2d(self.channels, self.channels, 1, **factory)
        self.decoder = Decoder(config, block=block, **factory)

    def decode(self, z: Tensor) -> Tensor:
        """Latents (B, C, T, h, w) -> clips (B, 3, T, H, W), about [-1, 1], not clamped.

        Raises:
            InputError: z is not of this codec.
        """
        check_clips("latents", z, self.channels)
        return by_frame(lambda x: self.decoder(self.post_quant_conv(x)), self.denormalize(z))
