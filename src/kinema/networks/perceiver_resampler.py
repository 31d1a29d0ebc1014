"""The Perceiver resampler of Flamingo (arXiv 2204.14198): many features become a few latents.

Flamingo's authors published no code; the weights of others are those of the package
github.com/lucidrains/flamingo-pytorch (code MIT), version 0.1.2, whose parameter names are kept.
Verified against it by a recorded case of GR-1. Different: there is one media item.

Letters: B batch, P features, M latents, D width, H heads, K head width.
"""

from __future__ import annotations

from typing import Unpack, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from kinema.config import config
from kinema.nn.factory import Factory
from kinema.nn.sites import Site, attend


@config
class ResamplerConfig:
    """Sizes of the resampler; its attention is num_heads x head_width wide."""

    num_latents: int
    num_layers: int
    num_heads: int
    head_width: int


class ResamplerAttention(nn.Module):
    """Latents attend to features and latents; both are normed, nothing has a bias."""

    def __init__(
        self, site: Site, width: int, num_heads: int, head_width: int, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        self.site, self.num_heads = site, num_heads
        inner = num_heads * head_width
        self.norm_media = nn.LayerNorm(width, **factory)
        self.norm_latents = nn.LayerNorm(width, **factory)
        self.to_q = nn.Linear(width, inner, bias=False, **factory)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False, **factory)
        self.to_out = nn.Linear(inner, width, bias=False, **factory)

    def forward(self, features_BPD: Tensor, latents_BMD: Tensor) -> Tensor:
        """Features (B, P, D), latents (B, M, D) -> (B, M, D)."""
        latents_BMD = self.norm_latents(latents_BMD)
        seen = torch.cat([self.norm_media(features_BPD), latents_BMD], 1)
        q = rearrange(self.to_q(latents_BMD), "b m (h k) -> b h m k", h=self.num_heads)
        k, v = rearrange(self.to_kv(seen), "b n (i h k) -> i b h n k", i=2, h=self.num_heads)
        return self.to_out(rearrange(attend(self.site, q, k, v, None), "b h m k -> b m (h k)"))


def feed_forward(width: int, **factory: Unpack[Factory]) -> nn.Sequential:
    """LayerNorm, Linear D -> 4D, GELU, Linear 4D -> D, without biases."""
    return nn.Sequential(
        nn.LayerNorm(width, **factory),
        nn.Linear(width, 4 * width, bias=False, **factory),
        nn.GELU(),
        nn.Linear(4 * width, width, bias=False, **factory),
    )


class PerceiverResampler(nn.Module):
    """Features (B, P, D) -> latents (B, M, D).

    Args:
        name: in its network, for its attention sites.
        config: sizes.
        width: D.
    """

    def __init__(
        self, name: str, config: ResamplerConfig, width: int, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.empty(config.num_latents, width, **factory))
        self.media_pos_emb = nn.Parameter(torch.empty(1, 1, width, **factory))
        self.layers = nn.ModuleList()
        for i in range(config.num_layers):
            site = Site(f"{name}.layers.{i}.0", "cross")
            heads = config.num_heads, config.head_width
            attention = ResamplerAttention(site, width, *heads, **factory)
            self.layers.append(nn.ModuleList([attention, feed_forward(width, **factory)]))
        self.norm = nn.LayerNorm(width, **factory)
        if self.latents.device.type != "meta":
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Latents and the position of the media item are drawn from N(0, 1)."""
        nn.init.normal_(self.latents)
        nn.init.normal_(self.media_pos_emb)

    def forward(self, features_BPD: Tensor) -> Tensor:
        """See the class."""
        features_BPD = features_BPD + self.media_pos_emb[0]
        latents = self.latents.expand(len(features_BPD), -1, -1)
        for layer in self.layers:
            attention, feed = cast(nn.ModuleList, layer)
            latents = latents + attention(features_BPD, latents)
            latents = latents + feed(latents)
        return self.norm(latents)
