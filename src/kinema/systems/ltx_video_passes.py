"""Two passes of LTX-Video: a small clip, its latents enlarged by a network, a larger one.

Authors' code: github.com/Lightricks/LTX-Video (Apache-2.0), ``LTXMultiScalePipeline``; the paper
(arXiv 2501.00103) does not describe it. Verified in that code, and against diffusers: sizes,
statistics, the order of things. Noise of the second pass is that of another seed: it must be new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from kinema.noise import Noise
from kinema.processes.steps import counted
from kinema.systems.keyframes import Keyframe, Source
from kinema.systems.ltx_video_config import Sampling
from kinema.systems.ltx_video_sampling import denoise, steps_taken
from kinema.systems.ltx_video_upsamplers import enlarged

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
    negative: str | None = None,
) -> Tensor:
    """Normalized latents (B, C, t, h, w) of the second pass; arguments as `LTXVideo.latents` has.

    The steps of both are told as those of one sampling.
    """
    assert model.upsampler is not None, "`LTXVideo.check` says so"
    away = model.negative(negative, sampling)
    first, second = sampling.passes(model.codec.stride)
    begun = first.from_clip(source.strength) if source else first
    before = steps_taken(begun)
    total = before + steps_taken(second)
    conditions = model.prepare(prompts, away, first, keyframes)
    with counted(before=0, total=total):
        small = model.sample(conditions, noise, first, keyframes, source)
    large = enlarged(model, model.upsampler, small)
    conditions = model.prepare(prompts, away, second, keyframes)
    other = replace(noise, seed=noise.seed + 1)
    with counted(before=before, total=total):
        return denoise(model, conditions, other, second, keyframes, start=large)


def fitted(clips: Tensor, height: int, width: int) -> Tensor:
    """Clips (B, 3, T, H, W) at the size that was asked for, frame by frame, bilinear."""
    if clips.shape[-2:] == (height, width):
        return clips
    frames = rearrange(clips, "b c t h w -> (b t) c h w")
    frames = F.interpolate(frames, size=(height, width), mode="bilinear", align_corners=False)
    return rearrange(frames, "(b t) c h w -> b c t h w", b=len(clips))
