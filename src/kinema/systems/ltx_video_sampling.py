"""How LTX-Video samples: a pass, its noise levels, its guidance from level to level.

Paper, code and license: see `ltx_video.py`. The tables of the 13B versions are looked up by noise
level, not by step, so they hold for any number of steps and wherever sampling begins.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kinema.condition import Conditions
from kinema.errors import InputError
from kinema.hooks.hold import Hold
from kinema.hooks.perturb import attention_values
from kinema.networks.ltx_transformer import patchify, unpatchify
from kinema.networks.ltx_vae_blocks import NoiseSource
from kinema.noise import Noise
from kinema.processes import schedules
from kinema.processes.guidance import Term, linear, project
from kinema.processes.process import Guidance
from kinema.processes.samplers import Renoise, euler, renoised
from kinema.processes.schedules import TokenShift
from kinema.processes.steps import Step
from kinema.systems.keyframes import Keyframe
from kinema.systems.ltx_video_config import Sampling, nested
from kinema.systems.ltx_video_keyframes import place

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo


def denoise(
    model: LTXVideo,
    conditions: Conditions,
    noise: Noise,
    sampling: Sampling,
    keyframes: Sequence[Keyframe],
    *,
    start: Tensor | None,
) -> Tensor:
    """Normalized latents (B, C, t, h, w) of one pass.

    Keyframes at the start replace what is there, others are appended and cut off in the end.

    Args:
        model, conditions, noise, sampling, keyframes: as `LTXVideo.sample` has them.
        start: clean latents to begin from, at the first noise level that is not left out.

    Raises:
        InputError: the first levels are left out, and there is nothing to begin from.
    """
    channels, *size = model.latent_shape(sampling)
    levels = noise_levels(sampling, model.config.shift, math.prod(size))
    if start is not None:
        x = model.process.noised(start.float(), levels[:1].to(start.device), noise)
    elif levels[0] == 1:
        x = model.process.start((len(noise), channels, *size), noise)
    else:
        raise InputError("sampling that leaves out its first steps begins with a clip; give one")
    x = patchify(x).to(next(model.transformer.parameters()))  # its device and type
    num_tokens, hooks = x.shape[1], []
    if keyframes:
        x, strength = place(model, x, keyframes, sampling, noise)
        fresh = sampling.keyframe_noise
        hooks = [Hold(given=x, strength=strength, noise=noise, noise_scale=fresh)]
    velocity = model.process.velocity(model.transformer, conditions, guidance(sampling, levels))
    share = sampling.renoise
    rule = partial(renoised, renoise=renoise(noise, share)) if share else euler
    tokens = rule(velocity, x, levels, hooks=hooks)
    return unpatchify(tokens[:, :num_tokens], *size[1:])


def shifted(steps: int, shift: TokenShift, num_tokens: int, terminal: float) -> Tensor:
    """Noise levels (steps,): shifted by the tokens, stretched to the terminal."""
    levels = schedules.shift(schedules.linear(steps), shift.at(num_tokens))
    return schedules.stretch_to_terminal(levels, terminal) if steps > 1 else levels


def noise_levels(sampling: Sampling, shift: TokenShift, num_tokens: int) -> Tensor:
    """Those of a schedule or of a distilled version's list that are not left out, and 0."""
    if sampling.sigmas:
        levels = torch.tensor(sampling.sigmas)
    elif sampling.schedule == "linear_quadratic":
        levels = schedules.linear_quadratic(sampling.steps)
    else:
        levels = shifted(sampling.steps, shift, num_tokens, sampling.terminal)
    return schedules.with_zero(levels[sampling.skip_first : sampling.steps - sampling.skip_last])


def steps_taken(sampling: Sampling) -> int:
    """How many steps of a pass are not left out."""
    return sampling.steps - sampling.skip_first - sampling.skip_last


def guidance(sampling: Sampling, sigmas: Tensor) -> Guidance:
    """Classifier-free and spatio-temporal guidance with rescaling.

    Args:
        sampling: numbers, or tables over noise levels.
        sigmas: noise levels (S + 1,) of the sampler.
    """
    rows = table_rows(sampling.levels, sigmas[:-1])
    scales = _at(sampling.guidance, rows)
    weights = _at(sampling.perturbed, rows)
    table: Sequence[Any] = sampling.perturbed_blocks
    blocks = [table[row] for row in rows] if nested(table) else [table] * len(rows)
    terms = [
        Term(
            weight=[scale - 1 for scale in scales],
            drop=("text",),
            adjust=project if sampling.star else None,
        )
    ]
    everything = torch.ones(1, dtype=torch.bool)
    for skipped in dict.fromkeys(blocks):  # a branch for each set of blocks
        sites = {f"transformer_blocks.{i}.attn1": everything for i in skipped}
        own = [weight * (chosen == skipped) for weight, chosen in zip(weights, blocks)]
        terms.append(Term(weight=own, within=partial(attention_values, sites)))
    return linear(terms, rescale=_at(sampling.rescale, rows))


def table_rows(levels: Sequence[float], sigmas: Tensor) -> list[int]:
    """For each noise level (S,) the first row of a table that ends at it or below, or the last.

    Args:
        levels: falling; where each row ends. Without them there is no table, and rows are 0.
        sigmas: (S,).
    """
    above = (torch.tensor(levels, dtype=sigmas.dtype) > sigmas[:, None]).sum(1)
    return above.clamp(max=max(len(levels) - 1, 0)).tolist()


def renoise(noise: Noise, share: float) -> Renoise:
    """The clean state, with noise up to the next level, of which a share is fresh.

    All of it is in the distilled 0.9.6. Any share leaves the noise as large as it is (DDIM, arXiv
    2010.02502, equation 12).
    """

    def again(x0: Tensor, v: Tensor, step: Step) -> Tensor:
        fresh = noise.normal(x0.shape, f"step {step.index}").to(x0)
        eps = math.sqrt(1 - share**2) * (x0 + v) + share * fresh
        return (1 - step.sigma_next) * x0 + step.sigma_next * eps

    return again


def noise_maps(noise: Noise) -> NoiseSource:
    """The maps (B, 1, H, W) that the decoder of 0.9.1 adds, each from a stream of its own."""
    numbers = itertools.count()
    return lambda size: noise.normal((len(noise), 1, *size), f"decode map {next(numbers)}")


def _at(value: float | tuple[float, ...], rows: Sequence[int]) -> list[float]:
    """A number at every step, or the row of a table that belongs there."""
    return [value[row] for row in rows] if isinstance(value, tuple) else [value] * len(rows)
