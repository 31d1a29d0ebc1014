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
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kinema.errors import InputError
from kinema.networks.kl_vae_config import KLVAEConfig
from kinema.networks.sd_blocks import Upsample
from kinema.nn.sites import Site, attend

EPS = 1e-6
LOG_VARIANCE_RANGE = (-30.0, 20.0)

Block = Callable[[int, int], nn.Module]  # from the numbers of channels that enter and leave


class ResBlock(nn.Module):
    """Twice norm, SiLU, 3x3 conv; a 1x1 conv in the shortcut where the channels change."""

    def __init__(self, in_channels: int, channels: int, *, groups: int, **factory: Any) -> None:
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

    def __init__(self, site: Site, channels: int, *, groups: int, **factory: Any) -> None:
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

    def __init__(self, channels: int, **factory: Any) -> None:
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


class Encoder(nn.Module):
    """Images -> mean and log-variance of the latents, as channels."""

    def __init__(self, config: KLVAEConfig, **factory: Any) -> None:
        super().__init__()
        groups, deepest = config.norm_groups, config.channels[-1]
        block = partial(ResBlock, groups=groups, **factory)
        site = Site("encoder.mid_block.attentions.0", "self")
        widths = (config.channels[0], *config.channels)
        self.gradient_checkpointing = False
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
        h = self.conv_in(x)
        for block in (*self.down_blocks, self.mid_block):
            h = _run(self, block, h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class Decoder(nn.Module):
    """Latents -> images.

    Args:
        block: makes the residual blocks.
    """

    def __init__(self, config: KLVAEConfig, *, block: Block, **factory: Any) -> None:
        super().__init__()
        groups, channels = config.norm_groups, config.channels[::-1]
        site = Site("decoder.mid_block.attentions.0", "self")
        widths = (channels[0], *channels)
        self.gradient_checkpointing = False
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
        h = self.conv_in(z)
        for block in (self.mid_block, *self.up_blocks):
            h = _run(self, block, h, *context)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


class FrameEncoder(nn.Module):
    """Clips (B, 3, T, H, W) in [-1, 1] -> latents (B, C, T, h, w), frame by frame.

    Attributes:
        stride: pixels per latent over time, height, width.
        channels: C.
        causal: no frame is encoded with another.
        gradient_checkpointing: in training, blocks are run again in the backward pass instead of
            keeping their activations.
    """

    causal = True

    def __init__(
        self,
        config: KLVAEConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.stride = (1, config.stride, config.stride)
        self.channels = config.latent_channels
        self.encoder = Encoder(config, device=device, dtype=dtype)
        moments = 2 * config.latent_channels
        self.quant_conv = nn.Conv2d(moments, moments, 1, device=device, dtype=dtype)

    @property
    def gradient_checkpointing(self) -> bool:
        return self.encoder.gradient_checkpointing

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, on: bool) -> None:
        for side in self.children():
            if isinstance(side, Encoder | Decoder):
                side.gradient_checkpointing = on

    def latent_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T, h, w) of a clip.

        Raises:
            InputError: height or width is no multiple of the stride; the message names the nearest.
        """
        step = self.config.stride
        for name, size in (("height", height), ("width", width)):
            if size < step or size % step:
                near = max(step, round(size / step) * step)
                raise InputError(
                    f"the codec takes a {name} that is a multiple of {step}, not {size};"
                    f" the nearest is {near}"
                )
        return self.channels, num_frames, height // step, width // step

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, within [-30, 20], of the latents before scaling: (B, C, T, h, w).

        The mean is what Stable Video Diffusion takes for the conditioning frame.

        Raises:
            InputError: x is no clip, or has a size that the codec cannot take.
        """
        check_clips("clips", x, 3)
        self.latent_shape(*x.shape[2:])
        mean, log_variance = self.moments(x).chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def moments(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) -> mean and log-variance as channels, (B, 2 C, T, h, w)."""
        images = rearrange(x, "b c t h w -> (b t) c h w")
        moments = self.quant_conv(self.encoder(images))
        return rearrange(moments, "(b t) c h w -> b c t h w", b=len(x))

    def encode(self, x: Tensor, *, noise: Tensor | None = None) -> Tensor:
        """(B, 3, T, H, W) in [-1, 1] -> latents (B, C, T, h, w) of deviation about 1.

        Args:
            noise: standard normal, of the latents' shape, for a draw from the posterior; without it
                the latents are the posterior's mode.

        Raises:
            InputError: x is no clip, or has a size that the codec cannot take.
        """
        z, log_variance = self.posterior(x)
        if noise is not None:
            z = z + torch.exp(0.5 * log_variance) * noise
        return z * self.config.scale


class KLVAE(FrameEncoder):
    """The codec: clips (B, 3, T, H, W) in [-1, 1] <-> latents (B, C, T, h, w), frame by frame."""

    def __init__(
        self,
        config: KLVAEConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(config, device=device, dtype=dtype)
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        block = partial(ResBlock, groups=config.norm_groups, **factory)
        self.post_quant_conv = nn.Conv2d(self.channels, self.channels, 1, **factory)
        self.decoder = Decoder(config, block=block, **factory)

    def decode(self, z: Tensor) -> Tensor:
        """Latents (B, C, T, h, w) -> clips (B, 3, T, H, W), about [-1, 1], not clamped.

        Raises:
            InputError: z is not of this codec.
        """
        check_clips("latents", z, self.channels)
        frames = rearrange(z / self.config.scale, "b c t h w -> (b t) c h w")
        images = self.decoder(self.post_quant_conv(frames))
        return rearrange(images, "(b t) c h w -> b c t h w", b=len(z))


def check_clips(what: str, x: Tensor, channels: int) -> None:
    """Refuses what is not (B, channels, T, H, W), with an InputError that says `what` it was."""
    if x.ndim != 5 or x.shape[1] != channels:
        shape = tuple(x.shape)
        raise InputError(f"{what} must be (batch, {channels}, time, height, width), not {shape}")


def _run(side: Encoder | Decoder, block: nn.Module, x: Tensor, *context: int) -> Tensor:
    """One block, checkpointed if its side asks for it."""
    if side.gradient_checkpointing and side.training:
        return checkpoint(block, x, *context, use_reentrant=False)
    return block(x, *context)
