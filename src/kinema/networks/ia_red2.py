"""IA-RED^2: Interpretability-Aware Redundancy Reduction for Vision Transformers (arXiv 2106.12620).

Authors' code: the project's page gives none; their interpretation model stands in
github.com/joon-stack/ltrp (no license), ``PerBlock_VisionTransformer``. Verified against it by a
recorded case: scores, policies, logits. There all tokens are computed and dropped ones are masked;
here those that are kept are gathered, so that the time is saved, with equal results.

A transformer is cut into groups of blocks. Before each group an interpreter asks, for every patch,
whether the class token needs it; what is dropped never comes back.

Letters: B batch, N tokens, the class token first, of which L are still there, D width, H heads,
G groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.networks.deit import DeiT, DeiTConfig
from kinema.networks.official import check_arguments
from kinema.networks.vit import check_heads
from kinema.nn.factory import Factory
from kinema.nn.init import initialize_vit

THRESHOLD = 0.5  # of the score of a token that is kept
FIRST_SCORE = 0.7  # of every token, before anything is learned
ROWS = 16  # that are computed together, at least
HEADS = 6  # of the authors' interpreters, whatever the transformer has


@config
class InterpretersConfig:
    """Sizes.

    Args:
        width: D, that of the transformer.
        num_heads: H of each interpreter.
        groups: how many blocks each group has.
    """

    width: int
    num_heads: int
    groups: tuple[int, ...]

    def __post_init__(self) -> None:
        check_heads(self.width, self.num_heads)
        if not self.groups or min(self.groups) < 1:
            raise InputError(f"every group needs a block, not {self.groups}")


def deit_s_interpreters() -> InterpretersConfig:
    """Those of DeiT-S: 443,520 parameters each."""
    return InterpretersConfig(width=384, num_heads=HEADS, groups=(4, 4, 4))


def from_official(official: Mapping[str, Any]) -> tuple[DeiTConfig, InterpretersConfig]:
    """Reads the arguments of a timm ``VisionTransformer`` (``vit``), and of what is put around it.

    ``depth_agent`` and ``thresholds_arg`` are penalties of a training that was not published; the
    network does not read them.

    Raises:
        InputError: an argument is unknown or missing, or asks for another network.
    """
    rest = ("depth_agent", "thresholds_arg")
    check_arguments("IA-RED2", official, needed=("vit", "groups"), optional=rest, fixed={})
    sizes = {
        "img_size": "image_size",
        "patch_size": "patch_size",
        "embed_dim": "width",
        "depth": "num_layers",
        "num_heads": "num_heads",
        "num_classes": "num_classes",
    }
    given = official["vit"]
    check_arguments("DeiT", given, needed=sizes, optional=(), fixed={"qkv_bias": (True,)})
    named = {ours: given[theirs] for theirs, ours in sizes.items()}
    host = from_dict(DeiTConfig, named, where="DeiT")
    values = {"width": host.width, "num_heads": HEADS, "groups": official["groups"]}
    interpreters = from_dict(InterpretersConfig, values, where="IA-RED2")
    check_fit(host, interpreters)
    return host, interpreters


def check_fit(host: DeiTConfig, interpreters: InterpretersConfig) -> None:
    """Raises InputError unless interpreters are made for a transformer of these sizes."""
    if interpreters.width != host.width:
        raise InputError(f"interpreters of width {interpreters.width} in a {host.width} wide DeiT")
    if sum(interpreters.groups) != host.num_layers:
        raise InputError(
            f"groups {interpreters.groups} must have {host.num_layers} blocks together"
        )


class Interpreter(nn.Module):
    """Tokens (B, L, D) -> how much the class token needs each, (B, L) in (0, 1).

    Source: section 3 of the paper, as the interpretation model has it. Nothing reads the last third
    of `qk`; it is in the authors' files.
    """

    def __init__(self, config: InterpretersConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qk = nn.Linear(config.width, 3 * config.width, **factory)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights are small, and biases such that at first every score is near `FIRST_SCORE`.

        With biases of zero all scores would be at the threshold, where everything is dropped.
        """
        initialize_vit(self)
        head_width = self.qk.in_features // self.num_heads
        logit = math.log(FIRST_SCORE / (1 - FIRST_SCORE))
        nn.init.constant_(self.qk.bias, math.sqrt(logit / math.sqrt(head_width)))

    def forward(self, x_BLD: Tensor) -> Tensor:
        """See the class."""
        width = x_BLD.shape[-1]
        x = F.layer_norm(x_BLD, (width,))
        (w_q, w_k, _), (b_q, b_k, _) = self.qk.weight.split(width), self.qk.bias.split(width)
        q = rearrange(F.linear(x[:, :1], w_q, b_q), "b i (h k) -> b h i k", h=self.num_heads)
        k = rearrange(F.linear(x, w_k, b_k), "b l (h k) -> b h l k", h=self.num_heads)
        logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        return logits.sigmoid().mean(1).squeeze(1)


class Reduced(NamedTuple):
    """What was seen, and of what.

    Attributes:
        features: (B, D), the class token behind the last norm.
        scores: (G, B, N) of the tokens that were there before each group; 0 for the others.
        kept: (G, B, N) bool, the tokens that went through each group.
    """

    features: Tensor
    scores: Tensor
    kept: Tensor


Choice = Callable[[int, Tensor, Tensor], Tensor]


def thresholded(scores: Tensor, there: Tensor) -> Tensor:
    """The policy of inference: tokens (B, N) bool that score above 0.5, and the class token.

    Args:
        scores: (B, N).
        there: (B, N) bool, the tokens that have not been dropped before.
    """
    return with_class_token(there & (scores > THRESHOLD))


def with_class_token(kept: Tensor) -> Tensor:
    """A policy (B, N) that keeps the class token too."""
    return torch.cat([torch.ones_like(kept[:, :1]), kept[:, 1:]], dim=1)


class Interpreters(nn.Module):
    """The interpreters of all groups of a transformer."""

    def __init__(self, config: InterpretersConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.agents = nn.ModuleList(Interpreter(config, **factory) for _ in config.groups)

    def groups(self, host: DeiT) -> list[Sequence[nn.Module]]:
        """The blocks of each group."""
        blocks = iter(host.trunk.blocks)
        return [[next(blocks) for _ in range(size)] for size in self.config.groups]

    def cost(self, kept: Tensor) -> Tensor:
        """Share (B,) of the patches that a block computes, over all blocks.

        Dropping counts for as many blocks as follow: the authors' ``benefit``.

        Args:
            kept: (G, B, N) bool, as in `Reduced`.
        """
        share = kept[:, :, 1:].float().mean(-1)
        sizes = torch.tensor(self.config.groups, dtype=share.dtype, device=share.device)
        return (share * sizes[:, None]).sum(0) / sizes.sum()

    def reduce(self, host: DeiT, images: Tensor) -> Reduced:
        """Classifies with the tokens that are kept alone: the others are not computed any more.

        Rows that keep about as many are computed together; those that keep fewer than another of
        these carry some dropped ones along, which no one attends to.
        """
        x = host.embed(images)
        whole = x.shape[:2]
        place = torch.arange(whole[1], device=x.device).expand(whole)  # of each token of x
        there = torch.ones(whole, dtype=torch.bool, device=x.device)
        scores, kept = [], []
        for agent, blocks in zip(self.agents, self.groups(host)):
            score = agent(x) * there
            there = thresholded(score, there)
            scores.append(score.new_zeros(whole).scatter(1, place, score))
            kept.append(there.new_zeros(whole).scatter(1, place, there))
            longest = int(there.sum(1).max())
            order = (~there).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
            place, there = place.gather(1, order), there.gather(1, order)
            x = x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))
            x = self._by_length(host, blocks, x, there)
        return Reduced(host.trunk.norm(x[:, 0]), torch.stack(scores), torch.stack(kept))

    @staticmethod
    def _by_length(host: DeiT, blocks: Sequence[nn.Module], x: Tensor, there: Tensor) -> Tensor:
        """Tokens (B, L, D), the kept ones first, through blocks; what is no more there is zero."""
        counts = there.sum(1)
        if bool(there.all()):
            return host.trunk.through(blocks, x, None)
        out = torch.zeros_like(x)
        for rows in counts.argsort().tensor_split(max(len(x) // ROWS, 1)):
            longest = int(counts[rows].max())
            part, mask = x[rows, :longest], there[rows, None, None, :longest]
            out[rows, :longest] = host.trunk.through(blocks, part, None if mask.all() else mask)
        return out

    def masked(self, host: DeiT, images: Tensor, choose: Choice) -> Reduced:
        """Computes all tokens, but hides dropped ones, as training needs it.

        Args:
            host: the transformer.
            images: (B, 3, S, S), normalized.
            choose: ``(group, scores, there) -> kept``, all (B, N), says which tokens a group sees.
        """
        x = host.embed(images)
        there = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        scores, kept = [], []
        for group, (agent, blocks) in enumerate(zip(self.agents, self.groups(host))):
            score = agent(x.detach()) * there  # what is rewarded is the choice alone
            there = choose(group, score, there)
            x = host.trunk.through(blocks, x * there[..., None], there[:, None, None])
            scores.append(score)
            kept.append(there)
        return Reduced(host.trunk.norm(x[:, 0]), torch.stack(scores), torch.stack(kept))
