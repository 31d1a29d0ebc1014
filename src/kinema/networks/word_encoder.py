"""A small text encoder over a closed vocabulary, trained with its generator (our own design).

Letters: B batch, L words, D width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.condition import Tokens
from kinema.config import config
from kinema.errors import InputError

WORD = re.compile(r"[^\W_]+|[.,;!?]")
PAD, BEGIN = 0, 1  # ids before those of the vocabulary


@config
class WordEncoderConfig:
    """Vocabulary and sizes; `max_words` is the longest prompt."""

    vocabulary: tuple[str, ...]
    max_words: int
    width: int
    num_layers: int
    num_heads: int

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise InputError(f"width {self.width} is not divisible by {self.num_heads} heads")


class WordEncoder(nn.Module):
    """Words -> states (B, L, D): embeddings, learned positions, pre-norm transformer layers.

    The first state belongs to a begin token, so that the empty text, which is the null, has one.
    """

    def __init__(
        self,
        config: WordEncoderConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.config = config
        self._ids = {word: i + 2 for i, word in enumerate(config.vocabulary)}
        self.words = nn.Embedding(len(config.vocabulary) + 2, config.width, **factory)
        self.positions = nn.Embedding(config.max_words + 1, config.width, **factory)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width,
                config.num_heads,
                4 * config.width,
                dropout=0.0,
                activation=F.gelu,
                batch_first=True,
                norm_first=True,
                **factory,
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width, **factory)

    def split(self, text: str) -> tuple[list[str], list[str]]:
        """The words of a text that are in the vocabulary, and those that are not (each once).

        Case does not matter; punctuation that is not in the vocabulary is no word.
        """
        words = WORD.findall(text.lower())
        known = [w for w in words if w in self._ids]
        unknown = [w for w in dict.fromkeys(words) if w not in self._ids and w.isalnum()]
        return known, unknown

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Ids (B, max_words + 1) on the CPU; words that are not in the vocabulary are left out.

        Raises:
            InputError: a text has more than `max_words` words of the vocabulary.
        """
        longest = self.config.max_words
        rows = []
        for text in texts:
            words = [self._ids[word] for word in self.split(text)[0]]
            if len(words) > longest:
                raise InputError(
                    f"the prompt has {len(words)} words; this model reads {longest}: shorten it"
                )
            rows.append([BEGIN, *words, *[PAD] * (longest - len(words))])
        return torch.tensor(rows, dtype=torch.int64, device="cpu")

    def forward(self, ids: Tensor) -> Tokens:
        """Ids (B, L) -> states (B, L, D) with their mask; the null is the empty text."""
        empty = torch.full_like(ids, PAD)
        empty[:, 0] = BEGIN
        states = self._states(torch.cat([ids, empty]))
        mask = torch.cat([ids, empty]) != PAD
        (x, null_x), (m, null_m) = states.chunk(2), mask.chunk(2)
        return Tokens(x=x, mask=m, null=Tokens(x=null_x, mask=null_m))

    def _states(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.positions.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=ids == PAD)
        return self.norm(x)
