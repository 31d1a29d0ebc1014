"""Given frames as tokens of LTX-Video: what sampling starts from.

Paper (section 2.4), code and licence: see `ltx_video.py`. Positions are those of the published
pipeline since 0.9.5: frames at the start take the place of the first latent frames; a frame at
another time is one latent frame of its own, appended at the time of that frame, and cut off in the
end. What training gives: see `ltx_video_given.py`.

Letters: B batch, N tokens, C latent channels; h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kinema.networks.ltx_transformer import patchify
from kinema.noise import Noise
from kinema.systems.keyframes import Keyframe

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo
    from kinema.systems.ltx_video_config import Sampling


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
        given = patchify(model.codec.encode(pixels[None].to(x))).expand(len(x), -1, -1)
        count, strength = given.shape[1], keyframe.strength
        if keyframe.frame == 0:
            states[0][:, :count] = states[0][:, :count].lerp(given, strength)
            strengths[0][:, :count] = strength
        else:
            fresh = noise.normal(given.shape, f"keyframe {keyframe.frame}").to(x)
            states.append(fresh.lerp(given, strength))
            strengths.append(torch.full_like(strengths[0][:, :1], strength).expand(-1, count))
    return torch.cat(states, 1), torch.cat(strengths, 1)
