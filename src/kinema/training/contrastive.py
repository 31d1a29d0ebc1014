"""Contrastive training of two encoders: what belongs together is near, the rest of the batch far.

Letters: B batch, E width of the embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.metrics.retrieval import ranks, recall, summary
from kinema.noise import Noise
from kinema.training.distributed import gathered
from kinema.training.objective import Batch, Logs, Objective

NORM_EPS = 1e-8
Embed = Callable[[Batch, Noise], tuple[Tensor, Tensor]]


def directions(x: Tensor) -> Tensor:
    """Vectors (..., E) of length 1 that point where those of x do; zeros stay zeros."""
    return F.normalize(x, dim=-1, eps=NORM_EPS)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of every row of a (B, E) with every row of b (B', E): (B, B'); 0 for zeros."""
    return directions(a) @ directions(b).T


def norm_softmax(similarity: Tensor, *, temperature: float) -> Tensor:
    """Cross-entropy of the diagonal in rows plus that in columns, each a mean over the batch.

    Source: Frozen in Time (arXiv:2104.00650), equations 3 and 4, as the authors' code has them: the
    sum of both directions. A batch of B costs 2 log B where all is alike.

    Args:
        similarity: (B, B) cosines; row i belongs to column i.
        temperature: they are divided by it.
    """
    right = torch.arange(len(similarity), device=similarity.device)
    logits = similarity / temperature
    return F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)


def max_margin(similarity: Tensor, *, margin: float) -> Tensor:
    """How far others come within `margin` of the diagonal: a mean over them in rows and columns.

    Source: the authors' ``MaxMarginRankingLoss``, without the diagonal.

    Args:
        similarity: (B, B), B of 2 or more.
        margin: by which the right one must be nearer.
    """
    others = ~torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    right = similarity.diagonal()
    short = [F.relu(margin - right[:, None] + matrix) for matrix in (similarity, similarity.T)]
    return torch.stack([matrix[others] for matrix in short]).mean()


class ContrastiveObjective(Objective):
    """One player, ``retriever``, which owns all networks given.

    Args:
        networks: {role: network}, all trained together.
        embed: ``(batch, noise) -> (text, video)``, both (B, E); row i of one belongs to row i of
            the other.
        temperature: of the loss, which is `norm_softmax`.
    """

    couples_batch = "every other row of the batch is a negative"
    gathers_rows = True
    equal_calls = True

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        *,
        embed: Embed,
        temperature: float,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))
        self.embed, self.temperature = embed, temperature
        self.players = {"retriever": ("networks.*",)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The loss of one batch, and how many texts find their clip in it."""
        similarity = cosines(*map(gathered, self.embed(batch, noise)))
        loss = norm_softmax(similarity, temperature=self.temperature)
        found = recall(ranks_of_diagonal(similarity.detach()), 1)
        return loss, {"loss": loss.detach(), "R@1": found}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """The loss, that of embeddings which tell nothing apart, and how texts find their clips.

        ``R@1/to_text`` is the other direction: how clips find their texts.
        """
        similarity = cosines(*self.embed(batch, noise))
        trivial = 2 * math.log(len(similarity))
        return {
            "loss": norm_softmax(similarity, temperature=self.temperature),
            "trivial": torch.tensor(trivial, device=similarity.device),
            **summary(ranks_of_diagonal(similarity)),
            "R@1/to_text": recall(ranks_of_diagonal(similarity.T), 1),
        }


def ranks_of_diagonal(similarity: Tensor) -> Tensor:
    """The ranks (B,) of a matrix whose diagonal is right."""
    return ranks(similarity, torch.arange(len(similarity), device=similarity.device))
