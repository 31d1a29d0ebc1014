"""What the U-Net of Stable Video Diffusion is told of a still.

Paper, code and licence: see `svd.py`.

Letters: B batch, H, W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.clip import Clip
from kinema.condition import Conditions, Grid, Tokens, Vector
from kinema.networks.svd_unet import micro_conditions
from kinema.noise import Noise
from kinema.systems.svd_config import MICRO_CONDITIONS

if TYPE_CHECKING:
    from kinema.systems.svd import SVD


def conditions(
    model: SVD, stills: Tensor, motion: Tensor, level: Tensor, fps: float, noise: Noise
) -> Conditions:
    """Token, latent and micro-conditions of stills (B, 3, H, W) in [-1, 1].

    Token and latent can be dropped; no gradient reaches the VAE.

    Args:
        model: whose networks look at the stills.
        stills: to be animated.
        motion: motion buckets (B,), 0 to 255.
        level: deviations (B,) of the noise on what the VAE sees; the image encoder sees none.
        fps: of the clips.
        noise: of the stills.
    """
    side = model.config.image.image_size
    seen = F.interpolate(stills, (side, side), mode="bilinear", antialias=True)
    token = model.image(seen).summary[:, None]
    noisy = stills + level.view(-1, 1, 1, 1) * noise.normal(stills.shape, "still").to(stills)
    with torch.no_grad():
        latent, _ = model.vae.posterior(noisy[:, :, None])  # not scaled, unlike the state
    values = torch.stack([torch.full_like(level, fps - 1), motion, level], 1)
    width = model.config.unet.vector_channels // MICRO_CONDITIONS
    return Conditions(
        {
            "crossattn": Tokens(x=token, null=Tokens(x=torch.zeros_like(token))),
            "concat": Grid(x=latent, null=Grid(x=torch.zeros_like(latent))),
            "vector": Vector(x=micro_conditions(values, width=width)),
        }
    )


def framed(clip: Clip, height: int, width: int) -> Clip:
    """The middle of a clip at height x width, in its proportions and as large as will go in."""
    scale = max(height / clip.size[0], width / clip.size[1])
    covering = (
        max(ours, round(scale * own)) for ours, own in zip((height, width), clip.size, strict=True)
    )
    return clip.resized(*covering).center_cropped(height, width)
