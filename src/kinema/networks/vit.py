"""The encoder of Masked Autoencoders Are Scalable Vision Learners (arXiv 2111.06377): a plain ViT.

Authors' code: github.com/facebookresearch/mae (CC-BY-NC-4.0); as a frozen encoder it stands in
github.com/bytedance/GR-1 (Apache-2.0), ``VisionTransformer``. Verified against the latter by a
recorded case of GR-1; parameter names are theirs. Masking is not here: all patches are seen.

`PatchEmbed`, `grown`, `Attention`, `MLP` and the blocks are the parts of other ViTs too.

Letters: B batch, N tokens, D width, H heads, K head width, P patches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.dropping import DropPath
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


class PatchEmbed(nn.Module):
    """One token for each patch (B, P, D), row by row, of clips frame by frame.

    Args:
        patch: pixels of a patch: (height, width) of images (B, 3, ...), (frames, height, width) of
            the tubelets of clips.
        width: D.
        bias: whether the projection has one.
    """

    def __init__(
        self, patch: tuple[int, ...], width: int, *, bias: bool, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        conv: Callable[..., nn.Module] = {2: nn.Conv2d, 3: nn.Conv3d}[len(patch)]
        self.proj = conv(3, width, patch, stride=patch, bias=bias, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) or (B, 3, T, H, W), divisible by the patch -> (B, P, D)."""
        return self.proj(x).flatten(2).transpose(1, 2)


def grown(table: Tensor, size: tuple[int, int], *, offset: float) -> Tensor:
    """Positions of a square of patches for another grid, by bicubic interpolation in float32.

    Args:
        table: (1, P, D), row by row.
        size: rows and columns of the new grid.
        offset: what is added to them before they are divided by those of the table. DINO
            (arXiv:2104.14294) adds 0.1 against rounding, by which the samples shift too.

    Returns:
        (1, rows * columns, D), in the type of the table, which is not touched if it has this size.
    """
    side = math.isqrt(table.shape[1])
    assert side**2 == table.shape[1], "the table is no square"
    if size == (side, side):
        return table
    x = rearrange(table.float(), "i (h w) d -> i d h w", h=side)
    if offset:
        scale = [(length + offset) / side for length in size]
        x = F.interpolate(x, scale_factor=scale, mode="bicubic")
    else:
        x = F.interpolate(x, size, mode="bicubic")
    assert x.shape[2:] == size
    return x.flatten(2).transpose(1, 2).to(table.dtype)


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values.

    Args:
        qkv: the projection, (..., D) -> (..., 3 D): a slot, since some have biases of their own.
    """

    def __init__(
        self, site: Site, width: int, num_heads: int, qkv: nn.Module, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        self.site, self.num_heads = site, num_heads
        self.qkv = qkv
        self.proj = nn.Linear(width, width, **factory)

    def forward(self, x_BND: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, D) -> (B, N, D); the mask is bool, true to attend."""
        q, k, v = rearrange(self.qkv(x_BND), "b n (i h k) -> i b h n k", i=3, h=self.num_heads)
        return self.proj(rearrange(attend(self.site, q, k, v, mask), "b h n k -> b n (h k)"))


class MLP(nn.Module):
    """Linear D -> hidden, an activation, Linear hidden -> D."""

    def __init__(
        self, width: int, hidden: int, activation: Activation, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        self.activation = activation
        self.fc1 = nn.Linear(width, hidden, **factory)
        self.fc2 = nn.Linear(hidden, width, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(self.activation(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm residual block around two slots.

    Args:
        attn: called (x, mask) with x (B, N, D).
        mlp: (..., D) -> (..., D).
        width: D.
        eps: of the norms.
    """

    def __init__(
        self,
        attn: nn.Module,
        mlp: nn.Module,
        width: int,
        *,
        eps: float,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps, **factory)
        self.attn = attn
        self.norm2 = nn.LayerNorm(width, eps=eps, **factory)
        self.mlp = mlp

    def forward(self, x_BND: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x_BND = x_BND + self.attn(self.norm1(x_BND), mask)
        return x_BND + self.mlp(self.norm2(x_BND))


class DroppingBlock(Block):
    """A `Block` whose residuals are dropped in training, each for itself (arXiv:1603.09382).

    Args:
        name: of the block in its network.
        attn, mlp, width, eps: as of `Block`.
        drop_path: share of the rows whose residual is dropped.
    """

    def __init__(
        self,
        name: str,
        attn: nn.Module,
        mlp: nn.Module,
        width: int,
        *,
        eps: float,
        drop_path: float,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__(attn, mlp, width, eps=eps, **factory)
        self.drop_attn = DropPath(drop_path, f"{name}.attn")
        self.drop_mlp = DropPath(drop_path, f"{name}.mlp")

    def forward(self, x_BND: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x_BND = x_BND + self.drop_attn(self.attn(self.norm1(x_BND), mask))
        return x_BND + self.drop_mlp(self.mlp(self.norm2(x_BND)))


def plain_attention(name: str, width: int, num_heads: int, **factory: Unpack[Factory]) -> Attention:
    """Attention whose queries, keys and values all have a bias; `name` is that in its network."""
    qkv = nn.Linear(width, 3 * width, **factory)
    return Attention(Site(name, "self"), width, num_heads, qkv, **factory)


def plain_block(
    name: str,
    width: int,
    num_heads: int,
    *,
    activation: Activation,
    eps: float,
    **factory: Unpack[Factory],
) -> Block:
    """The block of ViT and GPT-2: plain attention, and an MLP four times as wide.

    Args:
        name: of the block in its network, for its attention site.
        width, num_heads: D and H.
        activation: of the MLP.
        eps: of the norms.
    """
    attn = plain_attention(f"{name}.attn", width, num_heads, **factory)
    return Block(attn, MLP(width, 4 * width, activation, **factory), width, eps=eps, **factory)


class ImageFeatures(NamedTuple):
    """What an encoder says of images: a summary (..., D) and patches (..., P, D)."""

    summary: Tensor
    patches: Tensor


class ViT(Checkpointed):
    """Images -> class token and patches, after the last norm."""

    def __init__(self, config: ViTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width, **factory))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.num_patches, width, **factory))
        self.patch_embed = PatchEmbed((config.patch_size,) * 2, width, bias=True, **factory)
        self.blocks = nn.ModuleList(
            plain_block(
                f"blocks.{i}",
                width,
                config.num_heads,
                activation=F.gelu,
                eps=config.eps,
                **factory,
            )
            for i in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width, eps=config.eps, **factory)
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
