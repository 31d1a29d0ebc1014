"""The video VAE of LTX-Video, versions 0.9.0, 0.9.1 and 0.9.5 (the one of the 13B models too).

LTX-Video: Realtime Video Latent Diffusion, HaCohen et al. 2024, arXiv:2501.00103, section 2.1.
Authors' code: github.com/Lightricks/LTX-Video (Apache-2.0), CausalVideoAutoencoder. Parameter names
are the authors', except for the two latent statistics (file: per_channel_statistics.mean-of-means
and .std-of-means).

Verified by recorded cases: encoding, decoding, single images. Inferred: that the time-conditioned
decoder of 0.9.1 is the paper's denoising decoder.

A clip of 8k + 1 frames is cut into 4x4 pixel patches, 3 -> 48 channels, before the first conv. The
encoder is causal in time: the latent of frame 0 is the latent of a still image. The decoder is not.

Letters: B batch, C channels, T frames, H height, W width; lower case t, h, w for the latent grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Unpack

import torch
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.networks.ltx_vae_blocks import (
    ConvFactory,
    DepthToSpaceUp,
    NoiseSource,
    ResBlock,
    ResGroup,
    SpaceToDepthDown,
    active,
    modulation,
    patchify,
    unpatchify,
)
from kinema.networks.ltx_vae_config import LTXVAEConfig
from kinema.networks.ltx_vae_parts import decoded, drawn, encoded
from kinema.networks.video_vae import VideoVAE, check_clips
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.conv import CausalConv3d
from kinema.nn.embeddings import TimeEmbedder
from kinema.nn.factory import Factory
from kinema.nn.norms import PixelNorm
from kinema.nn.tiles import Place, Tiling, blended, joined, places

INITIAL_LOG_VARIANCE = -6.0
TIME_SCALE = 1000.0


class Encoder(Checkpointed):
    """Pixels -> means of the latents, and one log-variance for all as last channel."""

    def __init__(self, config: LTXVAEConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        conv = _conv(config, causal=True, **factory)
        channels = config.encoder_base_channels
        self.patch_size = config.patch_size
        self.conv_in = conv(config.in_channels * config.patch_size**2, channels)
        self.down_blocks = nn.ModuleList()
        for block in config.encoder_blocks:
            wider = channels * block.multiplier
            down: nn.Module
            if block.kind == "res_x":
                down = ResGroup(
                    channels, block.num_layers, conv=conv, timed=False, noisy=False, **factory
                )
            elif block.kind == "res_x_y":
                down = ResBlock(channels, wider, conv=conv, timed=False, noisy=False, **factory)
            elif block.has_shortcut:
                down = SpaceToDepthDown(channels, wider, stride=block.stride, conv=conv)
            else:
                down = conv(channels, channels, stride=block.stride)
            self.down_blocks.append(down)
            channels = wider
        self.conv_norm_out = PixelNorm()
        self.conv_out = conv(channels, config.latent_channels + 1)
        with torch.no_grad():  # training starts with little noise on the latents
            nn.init.constant_(self.conv_out.bias[-1:], INITIAL_LOG_VARIANCE)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, C + 1, t, h, w)."""
        h = self.through(self.down_blocks, self.conv_in(patchify(x, self.patch_size)))
        return self.conv_out(self.leave(h)).contiguous()  # in the order in which files keep it

    def leave(self, h: Tensor) -> Tensor:
        """What the last convolution sees of what the blocks made."""
        return active(h, self.conv_norm_out, (), out=None)


class Decoder(Checkpointed):
    """Latents -> pixels; timed, it also removes the noise that is left in them (section 2.1)."""

    def __init__(self, config: LTXVAEConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        timed = config.timestep_conditioning
        conv = _conv(config, causal=config.causal_decoder, **factory)
        channels = config.decoder_base_channels
        channels *= math.prod(block.multiplier for block in config.decoder_blocks)
        self.patch_size = config.patch_size
        self.timed = timed
        self.conv_in = conv(config.latent_channels, channels)
        self.up_blocks = nn.ModuleList()
        for block in config.decoder_blocks:
            narrower = channels // block.multiplier
            up: nn.Module
            if block.kind == "res_x":
                up = ResGroup(
                    channels,
                    block.num_layers,
                    conv=conv,
                    timed=timed,
                    noisy=block.inject_noise,
                    **factory,
                )
            elif block.kind == "res_x_y":
                up = ResBlock(channels, narrower, conv=conv, timed=False, noisy=False, **factory)
            else:
                up = DepthToSpaceUp(
                    channels, narrower, stride=block.stride, residual=block.residual, conv=conv
                )
            self.up_blocks.append(up)
            channels = narrower
        self.conv_norm_out = PixelNorm()
        self.conv_out = conv(channels, config.in_channels * config.patch_size**2)
        if timed:
            self.timestep_scale_multiplier = nn.Parameter(torch.full((), TIME_SCALE, **factory))
            self.last_time_embedder = TimeEmbedder(2 * channels, **factory)
            table = torch.randn(2, channels, **factory) / channels**0.5
            self.last_scale_shift_table = nn.Parameter(table)

    @property
    def num_noise_maps(self) -> int:
        """How many maps one decoding takes when noise is injected."""
        return sum(b.num_noise_maps for b in self.up_blocks if isinstance(b, ResGroup))

    def forward(self, z: Tensor, time: Tensor | None, noise: NoiseSource | None) -> Tensor:
        """(B, C, t, h, w), noise level (B,), source of maps -> (B, 3, T, H, W)."""
        scaled = self.scaled(time)
        h = self.conv_in(z)
        for block in self.up_blocks:
            if isinstance(block, ResGroup):
                # Drawn out here: a checkpointed block runs twice and must see the same maps.
                maps = [] if noise is None else block.draw(noise, h)
                h = self.run_block(block, h, scaled, maps)
            else:
                h = self.run_block(block, h)
        return unpatchify(self.conv_out(self.leave(h, scaled)), self.patch_size)

    def scaled(self, time: Tensor | None) -> Tensor | None:
        """Noise levels (B,) in the unit of the embeddings of time."""
        return None if time is None else time * self.timestep_scale_multiplier

    def leave(self, h: Tensor, scaled: Tensor | None) -> Tensor:
        """What the last convolution sees of what the blocks made."""
        rows: tuple[Tensor, ...] = ()
        if scaled is not None:
            rows = modulation(self.last_scale_shift_table, self.last_time_embedder(scaled))
        return active(h, self.conv_norm_out, rows, out=None)


class LTXVAE(VideoVAE):
    """The codec: clips (B, 3, T, H, W) in [-1, 1] <-> normalized latents (B, C, t, h, w).

    Attributes:
        mean_of_means, std_of_means: (C,), the statistics that normalize the latents; 0 and 1 until
            they are loaded or measured.
        tiling: how clips are taken apart to save memory; None, as at first, leaves them whole.
    """

    mean_of_means: Tensor
    std_of_means: Tensor
    tiling: Tiling | None = None

    def __init__(self, config: LTXVAEConfig, **factory: Unpack[Factory]) -> None:
        size = config.latent_channels
        super().__init__(stride=config.stride, channels=size, in_channels=config.in_channels)
        self.config = config
        self.encoder = Encoder(config, **factory)
        self.decoder = Decoder(config, **factory)
        self.register_buffer("mean_of_means", torch.zeros(size, **factory))
        self.register_buffer("std_of_means", torch.ones(size, **factory))

    def moments(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) -> means, and one log-variance for all, (B, C + 1, t, h, w)."""
        if self.tiling is None:
            return self.encoder(x)
        length, height, width = self.latent_shape(*x.shape[2:])[1:]
        step, frames = self.stride[1], self.tiling.frames

        def made(place: Place) -> Tensor:
            return joined(encoded(self.encoder, place.scaled(step).of(x), frames=frames), length)

        tiles = places(height, width, self.tiling.latents(step))
        return blended(((place, made(place)) for place in tiles), (height, width))

    def decode(
        self,
        z: Tensor,
        *,
        time: Tensor | None = None,
        noise: NoiseSource | Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Normalized latents (B, C, t, h, w) -> clips (B, 3, T, H, W), about [-1, 1], not clamped.

        Args:
            time: (B,), the level in [0, 1] of the noise in z, for a decoder with time conditioning.
            noise: the standard normal maps that versions with noise injection add: a function from
                (height, width) to a map of shape (height, width) or (B, 1, height, width), or all
                `decoder.num_noise_maps` maps in the order of use. Without it none are added.

        Raises:
            InputError: z is not of this codec; a time is missing or has no use; the number of maps
                is not the one needed.
        """
        noise = self._checked(z, time, noise)
        z = self.denormalize(z)
        if self.tiling is None:
            return self.decoder(z, time, noise)
        (length, height, width), step = z.shape[2:], self.stride[1]
        frames, maps = self.tiling.frames, drawn(self.decoder, z, noise)

        def made(place: Place) -> Tensor:
            own = [[place.scaled(m.shape[-1] // width).of(m) for m in group] for group in maps]
            parts = decoded(self.decoder, place.of(z), time, own, frames=frames)
            return joined(parts, (length - 1) * self.stride[0] + 1)

        tiles = places(height, width, self.tiling.latents(step))
        size = (step * height, step * width)
        return blended(((place.scaled(step), made(place)) for place in tiles), size)

    def decode_in_parts(
        self,
        z: Tensor,
        *,
        time: Tensor | None,
        noise: NoiseSource | Sequence[Tensor] | None,
        frames: int,
    ) -> Iterator[Tensor]:
        """`decode` of whole frames, as they are made: parts (B, 3, t, H, W), one after another.

        Args:
            z, time, noise: as `decode` takes them.
            frames: of pixels, that are in the works at a time.

        Raises:
            InputError: as `decode`.
        """
        maps = drawn(self.decoder, z, self._checked(z, time, noise))
        return decoded(self.decoder, self.denormalize(z), time, maps, frames=frames)

    def _checked(
        self, z: Tensor, time: Tensor | None, noise: NoiseSource | Sequence[Tensor] | None
    ) -> NoiseSource | None:
        """The source of the maps, after a look at all that `decode` is given."""
        check_clips("latents", z, self.channels)
        if self.config.timestep_conditioning != (time is not None):
            need = "needs" if time is None else "takes no"
            raise InputError(f"this decoder {need} time: the noise level of the latents per sample")
        if not isinstance(noise, Sequence):
            return noise
        if len(noise) != self.decoder.num_noise_maps:
            raise InputError(
                f"this decoder takes {self.decoder.num_noise_maps} noise maps, not {len(noise)}"
            )
        maps = iter(noise)
        return lambda shape: next(maps)

    def normalize(self, z: Tensor) -> Tensor:
        """Latents as the encoder gives them -> mean 0 and deviation 1 per channel over the data."""
        return (z - self.mean_of_means.view(-1, 1, 1, 1)) / self.std_of_means.view(-1, 1, 1, 1)

    def denormalize(self, z: Tensor) -> Tensor:
        """The inverse of `normalize`."""
        return z * self.std_of_means.view(-1, 1, 1, 1) + self.mean_of_means.view(-1, 1, 1, 1)


def _conv(config: LTXVAEConfig, *, causal: bool, **factory: Unpack[Factory]) -> ConvFactory:
    """The 3x3x3 convolutions of one side, of stride 1 unless told otherwise."""
    return partial(
        CausalConv3d,
        stride=(1, 1, 1),
        causal=causal,
        padding_mode=config.spatial_padding_mode,
        **factory,
    )
