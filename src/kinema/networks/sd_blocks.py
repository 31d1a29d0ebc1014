"""Blocks of Stable Diffusion's U-Net: High-Resolution Image Synthesis with Latent Diffusion Models.

arXiv 2112.10752. Authors' code: github.com/CompVis/stable-diffusion (license CreativeML
OpenRAIL-M); parameter names are those of diffusers' ``UNet2DConditionModel`` (Apache-2.0), in whose
layout the weights are published. Verified: every tensor of SD 1.x and 2.x, and outputs through the
networks that stand on these blocks (`video_unet.py`, `svd_unet.py`). Different: nothing.

Blocks work on frames, whose clips lie one after another, and are told the rest in a `Setting`.

Letters: B clips, T frames of a clip, F = B T frames of the batch, C channels, H height, W width of
the latents, N = H W tokens of a frame, R = B or F texts, L text tokens, D text width, E width of
the time embedding.
"""

from __future__ import annotations

from typing import NamedTuple, Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.condition import Conditions
from kinema.nn.factory import Factory
from kinema.nn.frames import by_clip
from kinema.nn.sites import Site, attend

RESNET_EPS = 1e-5  # also of the norm before the last convolution
TRANSFORMER_EPS = 1e-6


class Setting(NamedTuple):
    """What all blocks are told beside their input.

    Attributes:
        num_frames: T.
        embedding: (F, E), of the time and of all that is embedded with it.
        text: (R, L, D); R is B, or F where every frame has a text of its own.
        mask: of the text, (R, 1, 1, L), true to attend; None if no token is padding.
        conditions: all conditions of the batch, for what stands in the slots.
    """

    num_frames: int
    embedding: Tensor
    text: Tensor
    mask: Tensor | None
    conditions: Conditions

    def first_text(self) -> tuple[Tensor, Tensor | None]:
        """Text (B, L, D) and mask of the first frame of every clip."""
        step = len(self.text) * self.num_frames // len(self.embedding)
        return self.text[::step], None if self.mask is None else self.mask[::step]


class FrameNorm(nn.GroupNorm):
    """A group norm with statistics of each frame alone."""

    def forward(self, x: Tensor, _num_frames: int) -> Tensor:  # type: ignore[override]
        """(F, C, H, W) -> the same shape."""
        return super().forward(x)


class ClipNorm(nn.GroupNorm):
    """A group norm with statistics over all frames of a clip."""

    def forward(self, x: Tensor, num_frames: int) -> Tensor:  # type: ignore[override]
        """(F, C, H, W) -> the same shape."""
        return by_clip(super().forward, x, num_frames)


class ResnetBlock(nn.Module):
    """norm, SiLU, 3x3; + the time; norm, SiLU, 3x3; + the input (1x1 where the width changes).

    Args:
        in_channels, channels: before and after.
        embedding_channels: E.
        num_groups: of the norms.
        norm: `FrameNorm` or `ClipNorm`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        embedding_channels: int,
        num_groups: int,
        norm: type[FrameNorm | ClipNorm],
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.norm1 = norm(num_groups, in_channels, eps=RESNET_EPS, **factory)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, **factory)
        self.time_emb_proj = nn.Linear(embedding_channels, channels, **factory)
        self.norm2 = norm(num_groups, channels, eps=RESNET_EPS, **factory)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, **factory)
        self.conv_shortcut: nn.Module = nn.Identity()
        if in_channels != channels:
            self.conv_shortcut = nn.Conv2d(in_channels, channels, 1, **factory)

    def forward(self, x_FCHW: Tensor, setting: Setting) -> Tensor:
        """(F, C, H, W) -> (F, C', H, W)."""
        h = self.conv1(F.silu(self.norm1(x_FCHW, setting.num_frames)))
        h = h + self.time_emb_proj(F.silu(setting.embedding))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h, setting.num_frames)))
        return self.conv_shortcut(x_FCHW) + h


class Downsample(nn.Module):
    """A 3x3 convolution of stride 2, one pixel of padding on all sides."""

    def __init__(self, channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1, **factory)

    def forward(self, x_FCHW: Tensor) -> Tensor:
        """(F, C, H, W) -> (F, C, H / 2, W / 2)."""
        return self.conv(x_FCHW)


class Upsample(nn.Module):
    """Every pixel four times, then a 3x3 convolution."""

    def __init__(self, channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, **factory)

    def forward(self, x_FCHW: Tensor) -> Tensor:
        """(F, C, H, W) -> (F, C, 2 H, 2 W)."""
        return self.conv(F.interpolate(x_FCHW, scale_factor=2.0, mode="nearest"))


class Attention(nn.Module):
    """Attention from tokens of one width to tokens of another; only the output has a bias.

    Args:
        site: its place in the network, and its kind.
        channels: C, of the queries and the output.
        context_channels: of what keys and values are made from.
        num_heads: they divide C.
    """

    def __init__(
        self,
        site: Site,
        channels: int,
        context_channels: int,
        num_heads: int,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.site, self.num_heads = site, num_heads
        self.to_q = nn.Linear(channels, channels, bias=False, **factory)
        self.to_k = nn.Linear(context_channels, channels, bias=False, **factory)
        self.to_v = nn.Linear(context_channels, channels, bias=False, **factory)
        self.to_out = nn.Sequential(nn.Linear(channels, channels, **factory))

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """x (rows, N, C) attends to context (rows, L, D); the mask is (rows, 1, 1, L) -> like x."""
        parts = (self.to_q(x), self.to_k(context), self.to_v(context))
        q, k, v = (rearrange(y, "r n (h k) -> r h n k", h=self.num_heads) for y in parts)
        return self.to_out(rearrange(attend(self.site, q, k, v, mask), "r h n k -> r n (h k)"))


class GEGLU(nn.Module):
    """a GELU(b), where a and b are halves of a linear map (arXiv 2002.05202)."""

    def __init__(self, channels: int, inner: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., inner)."""
        a, b = self.proj(x).chunk(2, dim=-1)
        return a * F.gelu(b)


class FeedForward(nn.Module):
    """GEGLU to 4 C, and a linear map back."""

    def __init__(self, channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        inner = 4 * channels
        # The authors' dropout between the two is off, but counts in the names.
        layers = (GEGLU(channels, inner, **factory), nn.Identity())
        self.net = nn.Sequential(*layers, nn.Linear(inner, channels, **factory))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> the same shape."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Attention within the frame, to the text, and a feed-forward, each behind a LayerNorm.

    Args:
        name: of the block in its network.
        channels: C.
        context_channels: D.
        num_heads: of both attentions.
        before_ff: called (tokens, setting) between the text and the feed-forward, where given.
    """

    def __init__(
        self,
        name: str,
        channels: int,
        context_channels: int,
        num_heads: int,
        *,
        before_ff: nn.Module | None,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        within, text = Site(f"{name}.attn1", "self"), Site(f"{name}.attn2", "cross")
        self.norm1 = nn.LayerNorm(channels, **factory)
        self.attn1 = Attention(within, channels, channels, num_heads, **factory)
        self.norm2 = nn.LayerNorm(channels, **factory)
        self.attn2 = Attention(text, channels, context_channels, num_heads, **factory)
        self.before_ff = before_ff
        self.norm3 = nn.LayerNorm(channels, **factory)
        self.ff = FeedForward(channels, **factory)

    def forward(self, x_FNC: Tensor, setting: Setting) -> Tensor:
        """(F, N, C) -> (F, N, C)."""
        y = self.norm1(x_FNC)
        x_FNC = x_FNC + self.attn1(y, y, None)
        # All frames of a text are queries of one attention: its keys are made once.
        y = rearrange(self.norm2(x_FNC), "(r t) n c -> r (t n) c", r=len(setting.text))
        y = self.attn2(y, setting.text, setting.mask)
        x_FNC = x_FNC + rearrange(y, "r (t n) c -> (r t) n c", n=x_FNC.shape[1])
        if self.before_ff is not None:
            x_FNC = self.before_ff(x_FNC, setting)
        return x_FNC + self.ff(self.norm3(x_FNC))


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution of tokens: a linear map under the names and shapes of SD 1.x."""

    def __init__(self, in_channels: int, channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__(in_channels, channels, 1, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C')."""
        return F.linear(x, self.weight.flatten(1), self.bias)


class SpatialTransformer(nn.Module):
    """norm, projection, a `TransformerBlock` over the tokens of each frame, projection, + input.

    Args:
        block: what works on the tokens.
        channels: C.
        num_groups: of the norm.
        projection: `torch.nn.Linear` (SD 2.x) or `PointwiseConv` (SD 1.x).
    """

    def __init__(
        self,
        block: TransformerBlock,
        channels: int,
        *,
        num_groups: int,
        projection: type[nn.Linear | PointwiseConv],
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(num_groups, channels, eps=TRANSFORMER_EPS, **factory)
        self.proj_in = projection(channels, channels, **factory)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = projection(channels, channels, **factory)

    def forward(self, x_FCHW: Tensor, setting: Setting) -> Tensor:
        """(F, C, H, W) -> the same shape."""
        tokens = self.proj_in(rearrange(self.norm(x_FCHW), "f c h w -> f (h w) c"))
        tokens = self.proj_out(self.inner(tokens, setting))
        return x_FCHW + rearrange(tokens, "f (h w) c -> f c h w", h=x_FCHW.shape[2])

    def inner(self, x_FNC: Tensor, setting: Setting) -> Tensor:
        """What stands between the projections: (F, N, C) -> (F, N, C)."""
        return self.transformer_blocks[0](x_FNC, setting)


def close(layer: nn.Conv2d | nn.Conv3d | nn.Linear) -> None:
    """Makes a layer return 0, as the last one of a residual branch starts."""
    with torch.no_grad():
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
