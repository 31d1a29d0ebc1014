"""Latent upsamplers of LTX-Video: what they make of its latents, and the files that hold them.

Authors' code: github.com/Lightricks/LTX-Video (Apache-2.0), ``LTXMultiScalePipeline``; the paper
(arXiv 2501.00103) does not describe them. Verified there and against diffusers: the step in space,
after which latents get back their old statistics. Inferred: the step in time leaves statistics as
they come, as diffusers' pipeline does unless told otherwise. The first latent frame stands for one
frame of pixels and differs from the others; it is a smaller part of twice as many.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.networks import ltx_latent_upsampler
from kinema.networks.ltx_latent_upsampler import LatentUpsampler
from kinema.processes import latent_filters
from kinema.systems.ltx_video_layouts import INDEX
from kinema.weights.files import building, load_tensors, open_checkpoint
from kinema.weights.keymap import KeyMap

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo

CLASSES = ("LatentUpsampler", "LTXLatentUpsamplerModel")  # of the authors and of diffusers
PART = "latent_upsampler"  # of a folder of diffusers' pipeline


def enlarged(model: LTXVideo, upsampler: LatentUpsampler, latents: Tensor) -> Tensor:
    """Latents (B, C, t, h, w) at twice the height and width, with their old mean and deviation."""
    return latent_filters.match_statistics(_through(model, upsampler, latents), latents, 1.0)


def denser(model: LTXVideo, upsampler: LatentUpsampler, latents: Tensor) -> Tensor:
    """Latents (B, C, 2t - 1, h, w) at twice the frame rate; 1 + 8k frames become 1 + 16k."""
    return _through(model, upsampler, latents)


def _through(model: LTXVideo, upsampler: LatentUpsampler, latents: Tensor) -> Tensor:
    return model.codec.normalize(upsampler(model.codec.denormalize(latents)))


def read_upsampler(
    path: str | Path, *, channels: int, device: torch.device, dtype: torch.dtype
) -> LatentUpsampler:
    """The latent upsampler, of space or of time, that others publish.

    Args:
        path: a safetensors file of the authors, whose metadata holds its configuration; a folder
            of diffusers' class, or of its whole pipeline.
        channels: of the latents that it is to read.
        device, dtype: of its weights in memory.

    Raises:
        InputError: there is none, or one for other latents.
    """
    place = Path(path)
    if (place / INDEX).is_file() and (place / PART).is_dir():
        place = place / PART
    elif (place / INDEX).is_file():
        raise InputError(f"{path} holds no latent upsampler: a pipeline of one has {PART}/")
    checkpoint = open_checkpoint(place)
    if checkpoint.config is None or checkpoint.config.get("_class_name") not in CLASSES:
        raise InputError(f"{path} holds no latent upsampler")
    with building(checkpoint):
        config = ltx_latent_upsampler.from_official(checkpoint.config)
        network = LatentUpsampler(config, device=torch.device("meta"), dtype=dtype)
    if config.in_channels != channels or config.upsample == "all":
        raise InputError(
            f"{path} upsamples {config.upsample} of latents with {config.in_channels} channels; "
            f"this model takes one of space, or one of time, for latents with {channels}"
        )
    load_tensors(network, checkpoint.tensors, KeyMap(), where=str(path))
    return network.to(device).eval()
