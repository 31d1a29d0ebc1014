"""The encoder of Masked Autoencoders Are Scalable Vision Learners (arXiv 2111.06377): a plain ViT.

Authors' code: github.com/facebookresearch/mae (CC-BY-NC-4.0); as a frozen encoder it stands in
github.com/bytedance/GR-1 (Apache-2.0), ``VisionTransformer``. Verified against the latter by a
recorded case of GR-1; parameter names are theirs. Masking is not here: all patches are seen.

Letters: B batch, N tokens, D width, H heads, K head width, P patches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory
from kinema.nn.sites import Site, attend

Activation = Callable[[Tensor], Tensor]


@config
class ViTConfig:
    """Sizes of the encoder; images are squares of `image_size` pixels.

    `eps` is added to the variances of its norms: 1e-6 in what is published, 1e-5 where the authors'
    class is made without saying.
    """

    image_size: int
    patch_size: int
    width: int
    num_layers: int
    num_heads: int
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise InputError(
                f"image_size {self.image_size} is not divisible by patch_size {self.patch_size}"
            )
        check_heads(self.width, self.num_heads)

    @property
    def num_patches(self) -> int:
        """P."""
        return (self.image_size // self.patch_size) ** 2


def check_heads(width: int, num_heads: int) -> None:
    """Raises InputError unless the heads share the width evenly."""
    if width % num_heads:
        raise InputError(f"width {width} is not divisible by {num_heads} heads")


def vit_b_16() -> ViTConfig:
    """ViT-B/16 of the published MAE, 224 pixels: 85,798,656 parameters."""
    return ViTConfig(image_size=224, patch_size=16, width=768, num_layers=12, num_heads=12)


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, site: Site, width: int, num_heads: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.site, self.num_heads = site, num_heads
        self.qkv = nn.Linear(width, 3 * width, **factory)
        self.proj = nn.Linear(width, width, **factory)

    def forward(self, x_BND: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, D) -> (B, N, D); the mask is bool, true to attend."""
        q, k, v = rearrange(self.qkv(x_BND), "b n (i h k) -> i b h n k", i=3, h=self.num_heads)
        return self.proj(rearrange(attend(self.site, q, k, v, mask), "b h n k -> b n (h k)"))


class MLP(nn.Module):
    """Linear D -> 4D, an activation, Linear 4D -> D."""

    def __init__(self, width: int, activation: Activation, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.activation = activation
        self.fc1 = nn.Linear(width, 4 * width, **factory)
        self.fc2 = nn.Linear(4 * width, width, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(self.activation(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm self-attention and MLP, as ViT and GPT-2 have them.

    Args:
        name: of the block in its network, for its attention site.
        width, num_heads: D and H.
        activation: of the MLP.
        eps: of the norms.
    """

    def __init__(
        self,
        name: str,
        width: int,
        num_heads: int,
        *,
        activation: Activation,
        eps: float,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps, **factory)
        self.attn = Attention(Site(f"{name}.attn", "self"), width, num_heads, **factory)
        self.norm2 = nn.LayerNorm(width, eps=eps, **factory)
        self.mlp = MLP(width, activation, **factory)

    def forward(self, x_BND: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x_BND = x_BND + self.attn(self.norm1(x_BND), mask)
        return x_BND + self.mlp(self.norm2(x_BND))


class PatchEmbed(nn.Module):
    """Images (B, 3, S, S) -> one token per patch (B, P, D), row by row."""

    def __init__(self, config: ViTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(3, config.width, size, stride=size, **factory)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.proj(images).flatten(2).transpose(1, 2)


class ImageFeatures(NamedTuple):
    """What an encoder says of images: a summary (..., D) and patches (..., P, D)."""

    summary: Tensor
    patches: Tensor


class ViT(Checkpointed):
    """Images -> class token and patches, after the last norm."""

    def __init__(self, config: ViTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.width, **factory))
        self.pos_embed = nn.Parameter(
            torch.empty(1, 1 + config.num_patches, config.width, **factory)
        )
        self.patch_embed = PatchEmbed(config, **factory)
        self.blocks = nn.ModuleList(
            Block(
                f"blocks.{i}",
                config.width,
                config.num_heads,
                activation=F.gelu,
                eps=config.eps,
                **factory,
            )
            for i in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width, eps=config.eps, **factory)
        if self.cls_token.device.type != "meta":
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Class token and positions start small; other weights are as torch draws them."""
        for table in (self.cls_token, self.pos_embed):
            nn.init.normal_(table, std=0.02)

    def forward(self, images: Tensor) -> ImageFeatures:
        """Images (B, ..., 3, S, S), normalized -> summary (B, ..., D), patches (B, ..., P, D)."""
        patches = self.patch_embed(images.flatten(0, -4))
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], 1) + self.pos_embed
        x = self.norm(self.through(self.blocks, x, None))
        x = x.unflatten(0, images.shape[:-3])
        return ImageFeatures(x[..., 0, :], x[..., 1:, :])
