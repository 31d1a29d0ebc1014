"""Process, configuration and presets of LatentWarp.

Paper, code and license: see `latentwarp.py`. The full sizes are those of Stable Diffusion 1.5 and
its ControlNet; the others are ours, for the world `shapes`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinema.clip import Clip
from kinema.conditions.block_flow import BlockFlowConfig
from kinema.config import config
from kinema.data.clips import ClipSize
from kinema.errors import InputError
from kinema.media.pixels import cover
from kinema.networks.controlnet import ControlNetConfig, control_sd_1_5
from kinema.networks.kl_vae import KLVAE
from kinema.networks.kl_vae_config import KLVAEConfig, stable_diffusion
from kinema.networks.video_unet import VideoUNetConfig
from kinema.networks.word_encoder import WordEncoderConfig
from kinema.processes.edm import EDM, STABLE_DIFFUSION, sd_scaling
from kinema.worlds.shapes import VOCABULARY

PROCESS = EDM(
    sigma_data=1.0,
    sigma_max=float(STABLE_DIFFUSION[-1]),
    P_mean=0.5,  # mean and deviation of the logarithms in Stable Diffusion's table
    P_std=1.2,
    preconditioning=sd_scaling,
)


class Pixels(nn.Module):
    """Pixels in the place of latents."""

    def encode(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W), as they are."""
        return x

    def decode(self, z: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W), as they are."""
        return z


def build_vae(config: KLVAEConfig | None, **factory: Any) -> KLVAE | Pixels:
    """The autoencoder of a configuration."""
    return Pixels() if config is None else KLVAE(config, **factory)


@config
class Sampling(ClipSize):
    """The longest clip that is taken, whose frames are denoised together, and the sampler.

    A translated clip keeps the rate of its source; `fps` is that of the clips that are drawn.

    Args:
        steps: of the sampler.
        guidance: scale of classifier-free guidance.
        warped: share of the steps, from the first on, in which latents are warped.
    """

    steps: int
    guidance: float
    warped: float

    def __post_init__(self) -> None:
        if not 0 <= self.warped <= 1:
            raise InputError(f"warped is a share of the steps, not {self.warped}")

    def pixels(self, clip: Clip) -> Tensor:
        """The middle of a clip in this size, (1, 3, T, H, W) in [-1, 1].

        Raises:
            InputError: the clip is too long.
        """
        if clip.num_frames > self.num_frames:
            raise InputError(
                f"this model takes clips of {self.num_frames} frames at most, not"
                f" {clip.num_frames}; cut the clip"
            )
        frames = np.stack([cover(frame, self.height, self.width) for frame in clip.frames])
        return torch.from_numpy(Clip(frames, clip.fps).to_float())[None]


@config
class LatentWarpConfig:
    """Networks by role, the estimator of flow, and the sampler; without a `vae` it is pixels.

    Raises:
        InputError: the networks do not fit one another or the size of the frames.
    """

    text: WordEncoderConfig
    unet: ControlNetConfig
    vae: KLVAEConfig | None
    flow: BlockFlowConfig
    sampling: Sampling

    def __post_init__(self) -> None:
        unet, stride = self.unet.unet, 1 if self.vae is None else self.vae.stride
        channels = 3 if self.vae is None else self.vae.latent_channels
        if not unet.in_channels == unet.out_channels == channels:
            raise InputError(f"the U-Net must read and predict {channels} channels of latents")
        if unet.context_channels != self.text.width:
            raise InputError(
                f"the text has the width {self.text.width}; the U-Net reads {unet.context_channels}"
            )
        if self.unet.stride != stride:
            raise InputError(
                f"a latent has {stride} pixels a side; the control map's embedder makes it"
                f" {self.unet.stride}"
            )
        self.sampling.expect_multiple(stride * unet.stride)


def full() -> LatentWarpConfig:
    """Stable Diffusion 1.5 with its ControlNet: frames of 512x512."""
    return LatentWarpConfig(
        text=WordEncoderConfig(
            vocabulary=VOCABULARY, max_words=16, width=768, num_layers=12, num_heads=12
        ),
        unet=control_sd_1_5(),
        vae=stable_diffusion(),
        flow=BlockFlowConfig(radius=16, block=9),
        sampling=Sampling(
            num_frames=24, height=512, width=512, fps=12.0, steps=20, guidance=7.5, warped=0.6
        ),
    )


def small(channels: tuple[int, ...], *, width: int, num_groups: int) -> ControlNetConfig:
    """A U-Net and its branch over pixels."""
    unet = VideoUNetConfig(
        in_channels=3,
        out_channels=3,
        channels=channels,
        blocks_per_level=1,
        attention=(False,) + (True,) * (len(channels) - 1),
        num_heads=(2,) * len(channels),
        context_channels=width,
        projection="conv",
        num_groups=num_groups,
    )
    return ControlNetConfig(unet=unet, control_channels=3, embedder_channels=(channels[0] // 2,))


def tiny() -> LatentWarpConfig:
    """Trains on two cores in minutes: 12 frames of 32x32."""
    return LatentWarpConfig(
        text=WordEncoderConfig(
            vocabulary=VOCABULARY, max_words=16, width=64, num_layers=1, num_heads=2
        ),
        unet=small((32, 64, 64), width=64, num_groups=8),
        vae=None,
        flow=BlockFlowConfig(radius=4, block=5),
        sampling=Sampling(
            num_frames=12, height=32, width=32, fps=12.0, steps=20, guidance=3.0, warped=0.6
        ),
    )


def nano() -> LatentWarpConfig:
    """The real classes at under 200,000 parameters, for contract tests: 4 frames of 16x16."""
    base = tiny()
    return replace(
        base,
        text=replace(base.text, width=16),
        unet=small((8, 16), width=16, num_groups=4),
        sampling=replace(base.sampling, num_frames=4, height=16, width=16, steps=3),
    )


PRESETS = {preset.__name__: preset for preset in (full, tiny, nano)}
