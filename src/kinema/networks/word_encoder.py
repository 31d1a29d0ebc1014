"""A small text encoder over a closed vocabulary, trained with its generator (our own design).

Letters: B batch, L words, D width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from kinema.condition import Tokens
from kinema.config import config
from kinema.errors import InputError
from kinema.nn.factory import Factory
from kinema.noise import Noise

WORD = re.compile(r"[^\W_]+|[.,;!?]")
PAD, BEGIN = 0, 1  # ids before those of the vocabulary
NEAR = 2  # words on each side that a word sees before all see all


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

    A convolution over neighbors tells a word what stands before and behind it, as in "navy to
    teal", wherever in the sentence it is; it begins as nothing. The first state belongs to a begin
    token, so that the empty text, which is the null, has one.
    """

    def __init__(self, config: WordEncoderConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self._ids = {word: i + 2 for i, word in enumerate(config.vocabulary)}
        self.words = nn.Embedding(len(config.vocabulary) + 2, config.width, **factory)
        self.positions = nn.Embedding(config.max_words + 1, config.width, **factory)
        self.neighbors = nn.Conv1d(
            config.width, config.width, 2 * NEAR + 1, padding=NEAR, **factory
        )
        for parameter in self.neighbors.parameters():
            nn.init.zeros_(parameter)
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

    def learn(self, embeddings: Mapping[str, Tensor]) -> None:
        """Gives words these embeddings (D,), in place; those that are new join the vocabulary.

        They join it at its end, and the encoder reads all other words as before. What is given is
        copied.
        """
        old = self.words
        new = tuple(word for word in embeddings if word not in self._ids)
        self.config = replace(self.config, vocabulary=(*self.config.vocabulary, *new))
        self._ids |= {word: old.num_embeddings + i for i, word in enumerate(new)}
        count, factory = old.num_embeddings + len(new), {"device": old.weight.device}
        self.words = skip_init(
            nn.Embedding, count, self.config.width, dtype=old.weight.dtype, **factory
        ).train(old.training)
        with torch.no_grad():
            self.words.weight[: old.num_embeddings] = old.weight
            for word, embedding in embeddings.items():
                self.words.weight[self._ids[word]] = embedding

    def embeddings_for(self, words: Sequence[str]) -> dict[str, Tensor]:
        """Embeddings (D,) for new words to begin with: as those of the vocabulary are spread."""
        known = self.words.weight[2:].detach().float()
        noise = Noise(0, tuple(range(len(words)))).normal((len(words), known.shape[1]), "new words")
        drawn = known.mean(0) + known.std(0) * noise.to(known)
        return dict(zip(words, drawn))

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
        empty = torch.full_like(ids[:1], PAD)
        empty[:, 0] = BEGIN
        both = torch.cat([ids, empty])  # the empty text is the same for all rows
        states, mask = self._states(both), both != PAD
        null = Tokens(x=states[-1:].expand_as(states[:-1]), mask=mask[-1:].expand_as(ids))
        return Tokens(x=states[:-1], mask=mask[:-1], null=null)

    def _states(self, ids: Tensor) -> Tensor:
        padding = ids == PAD
        x = self.words(ids) + self.positions.weight[: ids.shape[1]]
        x = x.masked_fill(padding[..., None], 0)
        x = x + self.neighbors(x.mT).mT
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding)
        return self.norm(x)
