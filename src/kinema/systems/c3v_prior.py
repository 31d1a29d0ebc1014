"""The prior of C3V: what it is told, what it draws, and where it finds pictures more likely.

Paper, code and license: see `c3v.py`.

Letters: B pictures, N tokens, C channels of a token, S side of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kinema.condition import Conditions, Grid
from kinema.networks.ltx_transformer import latent_positions, patchify, unpatchify
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.guidance import Term, linear, plain
from kinema.systems.c3v_refinement import Score

if TYPE_CHECKING:
    from kinema.systems.c3v import C3V


def prepare(model: C3V, prompts: Sequence[str]) -> Conditions:
    """Encoded prompts, whose null is the empty one, and the positions of the tokens."""
    side, patch = model.config.pictures.side, model.config.pictures.patch
    positions = latent_positions(1, side, side, device=model.device, size=patch)
    grid = Grid(x=positions.expand(len(prompts), -1, -1))
    text = model.text(model.text.ids(prompts).to(model.device))
    return Conditions({"text": text, "positions": grid})


def pixels(model: C3V, tokens: Tensor) -> Tensor:
    """Tokens (B, N, C) as pictures (B, 3, S, S)."""
    side = model.config.pictures.side
    return unpatchify(tokens, side, side, size=model.config.pictures.patch)[:, :, 0]


@torch.no_grad()
def draw(model: C3V, prompts: Sequence[str], noise: Noise) -> Tensor:
    """Pictures (B, 3, S, S) of the prior alone, without guidance: what it knows."""
    pictures = model.config.pictures
    shape = (len(prompts), (pictures.side // pictures.patch) ** 2, 3 * pictures.patch**2)
    tokens = model.process.sample(
        model.prior,
        model.process.start(shape, noise).to(model.device),
        schedules.with_zero(schedules.linear(pictures.steps)),
        conditions=prepare(model, prompts),
        guidance=plain,
    )
    return pixels(model, tokens)


def score(model: C3V, prompt: str) -> Score:
    """The prior's distillation gradient under a prompt.

    Its weight is 1 - abar of the time, sigma^2 / (alpha^2 + sigma^2) of a flow.
    """
    count = model.config.refinement.draws
    guidance = linear([Term(weight=model.config.refinement.guidance - 1, drop=("text",))])
    with torch.no_grad():
        prepared = prepare(model, [prompt] * count)

    def score(pictures: Tensor, time: Tensor, noise: Noise) -> Tensor:
        tokens = patchify(pictures.detach()[:, :, None], size=model.config.pictures.patch)
        gradient = model.process.distill(model.prior, tokens, prepared, noise, time, guidance)
        weight = time**2 / (time**2 + (1 - time) ** 2)
        return weight[:, None, None, None] * pixels(model, gradient)

    return score
