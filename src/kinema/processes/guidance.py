"""Guidance: callables that turn several predictions into one.

With p the prediction under all conditions and p_i that of a weaker branch (a dropped condition, a
perturbed network), `linear` returns p + sum_i w_i (p - p_i). Classifier-free guidance of scale s is
one term of weight s - 1 (arXiv 2207.12598); spatio-temporal guidance adds a term whose branch skips
attention layers (arXiv 2411.18664). A scale may differ from frame to frame; the tables of such
scales are those of the code of Stable Video Diffusion (arXiv 2311.15127).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kinema.condition import Conditions
from kinema.processes.process import Guidance, Predict

Adjust = Callable[[Tensor, Tensor], Tensor]


def plain(predict: Predict, x: Tensor, time: Tensor, conditions: Conditions, step: int) -> Tensor:
    """No guidance: the prediction under all conditions."""
    return predict(x, time, conditions)


@dataclass(frozen=True, kw_only=True)
class Term:
    """One weaker branch and how strongly the result moves away from it.

    Args:
        weight: a number, one number per step, or a tensor that broadcasts to the state, for all
            steps: (T, 1, 1) gives every frame of states (B, C, T, H, W) its own.
        drop: names of the conditions that this branch does without.
        within: makes the context in which this branch predicts (hooks that perturb the network).
        adjust: ``(branch, full) -> branch``, applied to the branch before it is used.
    """

    weight: float | Sequence[float] | Tensor
    drop: tuple[str, ...] = ()
    within: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
    adjust: Adjust | None = None

    def at(self, step: int) -> float | Tensor:
        """The weight at a step."""
        return self.weight if isinstance(self.weight, (int, float, Tensor)) else self.weight[step]


def linear(terms: Sequence[Term], *, rescale: float | Sequence[float] = 0.0) -> Guidance:
    """Guidance by a weighted sum of differences.

    Args:
        terms: the weaker branches; a branch whose weight is the number 0 is not computed.
        rescale: r in [0, 1], a number or one per step; the result is multiplied by
            r std(p) / std(result) + (1 - r) over each sample (arXiv 2305.08891, section 3.4).
    """

    def guide(
        predict: Predict, x: Tensor, time: Tensor, conditions: Conditions, step: int
    ) -> Tensor:
        full = predict(x, time, conditions)
        guided = full
        for term in terms:
            weight = term.at(step)
            if isinstance(weight, Tensor):
                weight = weight.to(full)
            elif weight == 0:
                continue
            with term.within():
                branch = predict(x, time, conditions.drop(term.drop))
            if term.adjust is not None:
                branch = term.adjust(branch, full)
            guided = guided + weight * (full - branch)
        r = rescale if isinstance(rescale, (int, float)) else rescale[step]
        return rescaled(guided, full, r) if r > 0 else guided

    return guide


def rescaled(guided: Tensor, full: Tensor, r: float) -> Tensor:
    """Brings the standard deviation of each sample of `guided` back towards that of `full`."""
    spread = guided.flatten(1).std(1).clamp(min=torch.finfo(guided.dtype).tiny)
    factor = full.flatten(1).std(1) / spread
    factor = r * factor + (1 - r)
    return guided * factor.reshape(-1, *(1,) * (guided.ndim - 1))


def project(branch: Tensor, full: Tensor) -> Tensor:
    """CFG-star (arXiv 2503.18886): the branch times <full, branch> / |branch|^2, per sample."""
    flat_full, flat_branch = full.flatten(1), branch.flatten(1)
    alpha = (flat_full * flat_branch).sum(1) / ((flat_branch**2).sum(1) + 1e-8)
    return alpha.reshape(-1, *(1,) * (branch.ndim - 1)) * branch


EDGE = 0.1  # share of the frames on either slope of `trapezoid`


def rising(num_frames: int, low: float, high: float) -> Tensor:
    """Scales that grow linearly from the first frame to the last; shape (T,)."""
    return torch.linspace(low, high, num_frames)


def triangle(num_frames: int, low: float, high: float) -> Tensor:
    """Scales that grow towards the middle of the clip and fall again; shape (T,).

    For a camera that comes back to where it began. Only an odd number of frames reaches `high`.
    """
    return low + (high - low) * (1 - torch.linspace(-1, 1, num_frames).abs())


def trapezoid(num_frames: int, low: float, high: float, plateau: float) -> Tensor:
    """Scales that rise over the first tenth of the frames, then stay, and fall again; shape (T,).

    In the authors' code the plateau is 1 whatever `high` is.
    """
    edge = rising(int(num_frames * EDGE), low, high)
    return torch.cat([edge, torch.full((num_frames - 2 * len(edge),), plateau), edge.flip(0)])
