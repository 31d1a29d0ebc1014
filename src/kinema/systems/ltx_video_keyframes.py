"""Given frames as tokens of LTX-Video: what sampling starts from.

Paper (section 2.4), code and license: see `ltx_video.py`. Positions are those of the published
pipeline since 0.9.5: frames at the start take the place of the first latent frames; a frame at
another time is one latent frame of its own, appended at the time of that frame, and cut off in the
end. Of several frames at another time the first two latent frames are appended so: what they hold
depends on where a clip begins. The others take the place of those that they are. What training
gives: see `ltx_video_given.py`.

Letters: B batch, N tokens, C latent channels; h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kinema.networks.ltx_transformer import latent_positions, patchify, pixel_positions
from kinema.noise import Noise
from kinema.systems.keyframes import Keyframe

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo
    from kinema.systems.ltx_video_config import Sampling


APPENDED = 2  # latent frames of a sequence that does not begin the clip, at most


def appended_frames(
    keyframes: Sequence[Keyframe], stride: tuple[int, int, int], *, causal: bool
) -> list[int]:
    """Numbers of the frames at whose times latent frames are appended, in the order of `place`.

    Args:
        keyframes: what is given.
        stride: of the codec, pixels to a latent over time, height and width.
        causal: as `pixel_positions` takes it.
    """
    latents = latent_positions(APPENDED, 1, 1, device="cpu")
    times = pixel_positions(latents, stride, causal=causal)[0].tolist()
    later = [keyframe for keyframe in keyframes if keyframe.frame]
    counts = [(keyframe.clip.num_frames - 1) // stride[0] + 1 for keyframe in later]
    return [
        keyframe.frame + int(time)
        for keyframe, count in zip(later, counts)
        for time in times[:count]
    ]


def place(
    model: LTXVideo, x: Tensor, keyframes: Sequence[Keyframe], sampling: Sampling, noise: Noise
) -> tuple[Tensor, Tensor]:
    """The state of pure noise x (B, N, C) with given frames in it.

    Returns:
        Tokens (B, N + M, C), the M appended ones in the order of their keyframes, and how firmly
        each is given, (B, N + M): a token of strength m stands at noise level 1 - m.
    """
    states, strengths = [x.clone()], [torch.zeros(x.shape[:2], device=x.device)]
    for keyframe in keyframes:
        pixels = keyframe.pixels(sampling.height, sampling.width)
        latents = model.codec.encode(pixels[None].to(x))
        given, cells = patchify(latents).expand(len(x), -1, -1), latents[0, 0, 0].numel()
        ahead, strength = APPENDED * cells if keyframe.frame else 0, keyframe.strength
        alone, within = given.tensor_split([ahead], dim=1)
        start = keyframe.frame // model.codec.stride[0] * cells + ahead
        places = slice(start, start + within.shape[1])
        states[0][:, places] = states[0][:, places].lerp(within, strength)
        strengths[0][:, places] = strength
        if keyframe.frame:
            fresh = noise.normal(alone.shape, f"keyframe {keyframe.frame}").to(x)
            states.append(fresh.lerp(alone, strength))
            count = alone.shape[1]
            strengths.append(torch.full_like(strengths[0][:, :1], strength).expand(-1, count))
    return torch.cat(states, 1), torch.cat(strengths, 1)
