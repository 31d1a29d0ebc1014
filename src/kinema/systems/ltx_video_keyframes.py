"""Given frames as tokens of LTX-Video: what sampling starts from, and what training gives.

Paper (section 2.4), code and licence: see `ltx_video.py`. Positions are those of the published
pipeline since 0.9.5: frames at the start take the place of the first latent frames; a frame at
another time is one latent frame of its own, appended at the time of that frame, and cut off in the
end. The share of clips that training gives is ours.

Letters: B batch, N tokens, C latent channels; h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from kinema.networks.ltx_transformer import patchify
from kinema.noise import Noise
from kinema.systems.image_to_video import HELD_LATENTS, Keyframe
from kinema.systems.ltx_video_recipes import GeneratorRecipe
from kinema.training.objective import Batch

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo
    from kinema.systems.ltx_video_config import Sampling

STILLS = 3  # single frames that training appends, at most


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


class Given(NamedTuple):
    """What training gives of a clip.

    `start` latent frames from the first and `stills` single frames, all at noise level `level`.
    """

    start: int
    stills: int
    level: float

    @property
    def anything(self) -> bool:
        """Whether there is any of both."""
        return self.start + self.stills > 0


def draw_given(recipe: GeneratorRecipe, batch: Batch, noise: Noise) -> list[Given]:
    """What is given of each clip of a batch; single frames only where the batch holds them."""
    drawn = []
    for start, still, count, level in noise.uniform((len(noise), 4), "given").tolist():
        first, more = start < recipe.first_given, start < recipe.first_given + recipe.start_given
        frames = 1 if first else HELD_LATENTS * more
        stills = 1 + int(STILLS * count) if still < recipe.stills_given and "stills" in batch else 0
        drawn.append(Given(frames, stills, recipe.given_level * level))
    return drawn


def rows_alike(drawn: Sequence[Given]) -> list[list[int]]:
    """The rows of a batch in groups that have equally many tokens, those given nothing apart."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for row, given in enumerate(drawn):
        groups.setdefault((given.stills, given.anything), []).append(row)
    return [groups[key] for key in sorted(groups)]


def single_frames(batch: Batch, rows: list[int], count: int) -> tuple[Tensor, Tensor]:
    """Tokens (B, S h w, C) and numbers (B, S) of S = `count` single frames of some rows."""
    if count == 0:
        none = torch.zeros(len(rows), 0, dtype=torch.long, device="cpu")
        return patchify(batch["latents"][rows][:, :, :0]), none
    stills: Tensor = batch["stills"][rows][:, :count]
    return patchify(stills.transpose(1, 2)), batch["still_frames"][rows][:, :count]


def strength_of(drawn: Sequence[Given], num_tokens: int, frame_tokens: int) -> Tensor:
    """How firmly each token is given, (B, N + S h w); the last latent frame never is.

    Args:
        drawn: for each row, with equally many single frames S.
        num_tokens: N, of the clip.
        frame_tokens: h w, of a latent frame.
    """
    m = torch.zeros(len(drawn), num_tokens + drawn[0].stills * frame_tokens, device="cpu")
    for row, given in zip(m, drawn):
        row[: min(given.start * frame_tokens, num_tokens - frame_tokens)] = 1 - given.level
        row[num_tokens:] = 1 - given.level
    return m
