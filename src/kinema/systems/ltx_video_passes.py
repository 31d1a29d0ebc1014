"""Two passes of LTX-Video: a small clip, its latents enlarged by a network, a larger one.

Authors' code: github.com/Lightricks/LTX-Video (Apache-2.0), ``LTXMultiScalePipeline``; the paper
(arXiv 2501.00103) does not describe it. Verified in that code, and against diffusers: sizes,
statistics, the order of things. Noise of the second pass is that of another seed: it must be new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from kinema.errors import InputError
from kinema.networks import ltx_latent_upsampler
from kinema.networks.ltx_latent_upsampler import LatentUpsampler
from kinema.noise import Noise
from kinema.processes import latent_filters
from kinema.systems.keyframes import Keyframe, Source
from kinema.systems.ltx_video_config import Sampling
from kinema.systems.ltx_video_sampling import denoise
from kinema.weights.files import building, load_tensors, open_checkpoint
from kinema.weights.keymap import KeyMap

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo


def two_passes(
    model: LTXVideo,
    prompts: Sequence[str],
    *,
    sampling: Sampling,
    noise: Noise,
    keyframes: Sequence[Keyframe] = (),
    source: Source | None = None,
    negative: str = "",
) -> Tensor:
    """Normalized latents (B, C, t, h, w) of the second pass; arguments as `LTXVideo.latents` has.

    Raises:
        InputError: the model has no upsampler, or no clip of this size can be made.
    """
    first, second = sampling.passes(model.codec.stride)
    if model.upsampler is None:
        raise InputError(
            "this model makes clips in two passes and needs its latent upsampler: a file to load, "
            "on the command line with --upsampler"
        )
    conditions = model.prepare(prompts, negative, first, keyframes)
    small = model.sample(conditions, noise, first, keyframes, source)
    large = upsampled(model, model.upsampler, small)
    conditions = model.prepare(prompts, negative, second, keyframes)
    other = replace(noise, seed=noise.seed + 1)
    return denoise(model, conditions, other, second, keyframes, start=large)


def upsampled(model: LTXVideo, upsampler: LatentUpsampler, latents: Tensor) -> Tensor:
    """Latents (B, C, t, h, w) at twice the height and width, with their old mean and deviation."""
    large = model.codec.normalize(upsampler(model.codec.denormalize(latents)))
    return latent_filters.match_statistics(large, latents, 1.0)


def fitted(clips: Tensor, height: int, width: int) -> Tensor:
    """Clips (B, 3, T, H, W) at the size that was asked for, frame by frame, bilinear."""
    if clips.shape[-2:] == (height, width):
        return clips
    frames = rearrange(clips, "b c t h w -> (b t) c h w")
    frames = F.interpolate(frames, size=(height, width), mode="bilinear", align_corners=False)
    return rearrange(frames, "(b t) c h w -> b c t h w", b=len(clips))


def read_upsampler(
    path: str | Path, *, channels: int, device: torch.device, dtype: torch.dtype
) -> LatentUpsampler:
    """The latent upsampler in a published file, whose metadata holds its configuration.

    Args:
        path: a safetensors file.
        channels: of the latents that it is to enlarge.
        device, dtype: of its weights in memory.

    Raises:
        InputError: the file holds none, or one for other latents or for more frames.
    """
    checkpoint = open_checkpoint(path)
    if checkpoint.config is None or checkpoint.config.get("_class_name") != "LatentUpsampler":
        raise InputError(f"{path} holds no latent upsampler")
    with building(checkpoint):
        config = ltx_latent_upsampler.from_official(checkpoint.config)
        network = LatentUpsampler(config, device=torch.device("meta"), dtype=dtype)
    if config.in_channels != channels or config.upsample != "space":
        raise InputError(
            f"{path} enlarges {config.upsample} of latents with {config.in_channels} channels; "
            f"this model needs twice the height and width of latents with {channels}"
        )
    load_tensors(network, checkpoint.tensors, KeyMap(), where=str(path))
    return network.to(device).eval()
