"""A small diffusion transformer after DiT (arXiv 2212.09748), with in-context conditioning.

Authors' code: github.com/facebookresearch/DiT (CC-BY-NC-4.0), ``DiT``. Different: it predicts the
velocity, positions are learned, a text stands in the place of the class.

Letters: B batch, N tokens, L text tokens, D width, C channels of a token.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.condition import Conditions, Tokens
from kinema.config import config
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.embeddings import TimeEmbedder
from kinema.nn.factory import Factory
from kinema.nn.sites import Site, attend


@config
class ToyTransformerConfig:
    """Sizes: C, N, the width of the text's states, D, and how many blocks and heads."""

    channels: int
    num_tokens: int
    caption_channels: int
    width: int
    num_layers: int
    num_heads: int


class Block(nn.Module):
    """Self-attention and MLP, each on normed tokens (DiT, figure 3, right)."""

    def __init__(self, name: str, width: int, num_heads: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.site, self.num_heads = Site(f"{name}.attn", "self"), num_heads
        self.to_q = nn.Linear(width, width, **factory)
        self.to_k = nn.Linear(width, width, **factory)
        self.to_v = nn.Linear(width, width, **factory)
        self.to_out = nn.Linear(width, width, **factory)
        self.fc1 = nn.Linear(width, 4 * width, **factory)
        self.fc2 = nn.Linear(4 * width, width, **factory)

    def forward(self, x_BND: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D); the mask (B, 1, 1, N) is true where a token is seen."""
        y = F.layer_norm(x_BND, x_BND.shape[-1:])
        q, k, v = (
            rearrange(to(y), "b n (h d) -> b h n d", h=self.num_heads)
            for to in (self.to_q, self.to_k, self.to_v)
        )
        out = rearrange(attend(self.site, q, k, v, mask), "b h n d -> b n (h d)")
        x_BND = x_BND + self.to_out(out)
        return x_BND + self.fc2(F.gelu(self.fc1(F.layer_norm(x_BND, x_BND.shape[-1:]))))


class ToyTransformer(Checkpointed):
    """Predicts the velocity of tokens under ``text``, Tokens (B, L, caption_channels) with mask."""

    def __init__(self, config: ToyTransformerConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.proj_in = nn.Linear(config.channels, width, **factory)
        self.positions = nn.Parameter(torch.zeros(config.num_tokens, width, **factory))
        self.time = TimeEmbedder(width, **factory)
        self.text = nn.Linear(config.caption_channels, width, **factory)
        self.blocks = nn.ModuleList(
            Block(f"blocks.{i}", width, config.num_heads, **factory)
            for i in range(config.num_layers)
        )
        self.proj_out = nn.Linear(width, config.channels, **factory)

    def forward(self, x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        """Velocity (B, N, C) of tokens x (B, N, C) at times (B,) in [0, 1]."""
        text = conditions.of(Tokens, "text")
        assert text.mask is not None, "words are told from padding by the mask"
        seen = F.pad(text.mask.bool(), (1, x.shape[1]), value=True)[:, None, None]
        h = torch.cat([self.time(1000 * time)[:, None], self.text(text.x)], 1)
        h = torch.cat([h, self.proj_in(x) + self.positions], 1)
        h = self.through(self.blocks, h, seen)
        return self.proj_out(F.layer_norm(h[:, -x.shape[1] :], h.shape[-1:]))
