"""DistilBERT (arXiv 1910.01108), the text encoder of Frozen in Time, and BERT (arXiv 1810.04805).

Authors' code: github.com/huggingface/transformers (Apache-2.0), ``DistilBertModel`` and
``BertModel``. DistilBERT has half of BERT's layers, and one kind of tokens. Verified: states equal
to theirs at a small size, names and shapes of both base models. Parameter names are DistilBERT's.
Left out: dropout, which is 0.1 in their training, and what reads BERT's first state.

Letters: B batch, L tokens, D width, H heads, K head width.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack, cast

import torch
import torch.nn.functional as functional
from einops import rearrange
from torch import Tensor, nn

from kinema.condition import Tokens
from kinema.config import config
from kinema.errors import InputError
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory
from kinema.nn.sites import Site, attend

EPS = 1e-12
PAD = 0
STD = 0.02


@config
class DistilBERTConfig:
    """Sizes, and where the words are.

    Args:
        folder: a local folder with a tokenizer in the layout of transformers.
        vocabulary: number of pieces of words.
        max_tokens: longer texts are cut.
        width: D.
        hidden: width of the feed-forward layers.
        num_layers: number of layers.
        num_heads: H.
        token_types: kinds of tokens that have an embedding, of which texts have the first: BERT's
            two, or none.
    """

    folder: str
    vocabulary: int
    max_tokens: int
    width: int
    hidden: int
    num_layers: int
    num_heads: int
    token_types: int = 0


def base(folder: str) -> DistilBERTConfig:
    """``distilbert-base-uncased``: 66,362,880 parameters."""
    return DistilBERTConfig(
        folder=folder,
        vocabulary=30_522,
        max_tokens=512,
        width=768,
        hidden=3072,
        num_layers=6,
        num_heads=12,
    )


def bert_base(folder: str) -> DistilBERTConfig:
    """``bert-base-uncased``: 108,891,648 parameters."""
    return replace(base(folder), num_layers=12, token_types=2)


class Embeddings(nn.Module):
    """Pieces of words and their places, and in BERT the kind that all of them are."""

    def __init__(self, config: DistilBERTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocabulary, config.width, **factory)
        self.position_embeddings = nn.Embedding(config.max_tokens, config.width, **factory)
        self.token_types = config.token_types
        if self.token_types:
            self.token_type_embeddings = nn.Embedding(config.token_types, config.width, **factory)
        self.LayerNorm = nn.LayerNorm(config.width, eps=EPS, **factory)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, D)."""
        x = self.word_embeddings(ids) + self.position_embeddings.weight[: ids.shape[1]]
        if self.token_types:
            x = x + self.token_type_embeddings.weight[0]
        return self.LayerNorm(x)


class SelfAttention(nn.Module):
    """Attention to the tokens that are no padding."""

    def __init__(self, config: DistilBERTConfig, name: str, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.num_heads, self.name = config.num_heads, name
        self.q_lin = nn.Linear(config.width, config.width, **factory)
        self.k_lin = nn.Linear(config.width, config.width, **factory)
        self.v_lin = nn.Linear(config.width, config.width, **factory)
        self.out_lin = nn.Linear(config.width, config.width, **factory)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D), mask (B, 1, 1, L) -> (B, L, D)."""
        q, k, v = (
            rearrange(linear(x), "b l (h k) -> b h l k", h=self.num_heads)
            for linear in (self.q_lin, self.k_lin, self.v_lin)
        )
        out = attend(Site(self.name, "self"), q, k, v, mask)
        return self.out_lin(rearrange(out, "b h l k -> b l (h k)"))


class FeedForward(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, config: DistilBERTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(config.width, config.hidden, **factory)
        self.lin2 = nn.Linear(config.hidden, config.width, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.lin2(functional.gelu(self.lin1(x)))


class Layer(nn.Module):
    """Attention and feed-forward, each with its norm behind the residual."""

    def __init__(self, config: DistilBERTConfig, name: str, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.attention = SelfAttention(config, f"{name}.attention", **factory)
        self.sa_layer_norm = nn.LayerNorm(config.width, eps=EPS, **factory)
        self.ffn = FeedForward(config, **factory)
        self.output_layer_norm = nn.LayerNorm(config.width, eps=EPS, **factory)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, L, D), mask (B, 1, 1, L) -> (B, L, D)."""
        x = self.sa_layer_norm(x + self.attention(x, mask))
        return self.output_layer_norm(x + self.ffn(x))


class DistilBERT(Checkpointed):
    """Pieces of words -> states (B, L, D); the first state is that of the whole text."""

    def __init__(self, config: DistilBERTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config, **factory)
        layers = [
            Layer(config, f"transformer.layer.{i}", **factory) for i in range(config.num_layers)
        ]
        self.transformer = nn.ModuleDict({"layer": nn.ModuleList(layers)})
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """BERT's first values."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    @functools.cached_property
    def _tokenizer(self) -> Any:
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise InputError(
                "DistilBERT's tokenizer needs the package transformers: pip install kinema[hub]"
            ) from error
        folder = self.config.folder
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise InputError(
                f"no tokenizer of DistilBERT in the folder {folder!r}; pass --set text.folder=PATH"
            ) from error

    def split(self, text: str) -> tuple[list[str], list[str]]:
        """All words of a text are known: tokens are pieces of words and spell every text."""
        return text.split(), []

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Ids (B, L) on the CPU, [CLS] first, padded to the longest and cut at `max_tokens`.

        Raises:
            InputError: there is no tokenizer in the folder.
        """
        rows = self._tokenizer(list(texts), truncation=True, max_length=self.config.max_tokens)
        ids = [torch.tensor(row, device="cpu") for row in rows["input_ids"]]
        return nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=PAD)

    def forward(self, ids: Tensor) -> Tokens:
        """Ids (B, L) -> states (B, L, D) with their mask."""
        mask = ids != PAD
        layers = cast(nn.ModuleList, self.transformer["layer"])
        x = self.through(layers, self.embeddings(ids), mask[:, None, None])
        return Tokens(x=x, mask=mask)
