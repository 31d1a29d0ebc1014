"""What the U-Net of Stable Video Diffusion is told of a still, and learns of a clip.

Paper, code and license: see `svd.py`.

Letters: B batch, C latent channels, T frames, H, W pixels, h, w latent rows and columns.
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

MOST_CHANGE = 0.05  # mean change between frames, of values in [-1, 1], of motion bucket 255
STILLS = 1  # frames that are kept beside latents: the first


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


@torch.no_grad()
def encode(model: SVD, clips: Tensor) -> dict[str, Tensor]:
    """What is learned of clips (B, 3, T, H, W) in [-1, 1].

    Returns:
        ``latents`` (B, C, T, h, w), the mode; ``stills``, the first frame in pixels of 0 to 255,
        (B, 1, 3, H, W), since noise is added to it there; ``motion`` buckets (B,).
    """
    clips = clips.to(model.device)
    stills = ((clips[:, :, :1] + 1) * 127.5).round().clamp(0, 255)
    tensors = {
        "latents": model.vae.encode(clips),
        "stills": stills.transpose(1, 2).to(torch.uint8),
        "motion": motion_bucket(clips).round().to(torch.uint8),
    }
    return {name: values.cpu() for name, values in tensors.items()}


def first_frames(stills: Tensor) -> Tensor:
    """The first frames that `encode` kept, (B, 3, H, W) in [-1, 1]."""
    return stills[:, 0].float() / 127.5 - 1


def motion_bucket(clips: Tensor) -> Tensor:
    """How much moves in clips (B, 3, T, H, W): (B,), 0 to 255, by the change between frames."""
    change = clips.diff(dim=2).abs().mean((1, 2, 3, 4))
    return 255 * (change / MOST_CHANGE).clamp(max=1)


def framed(clip: Clip, height: int, width: int) -> Clip:
    """The middle of a clip at height x width, in its proportions and as large as will go in."""
    scale = max(height / clip.size[0], width / clip.size[1])
    covering = (
        max(ours, round(scale * own)) for ours, own in zip((height, width), clip.size, strict=True)
    )
    return clip.resized(*covering).center_cropped(height, width)
