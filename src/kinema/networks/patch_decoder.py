"""From query tokens to the pixels of an image, and pixels as normalized patches; see `gr1.py`.

Decoder and targets are those of Masked Autoencoders (arXiv 2111.06377), sections 3 and 4.1.

Letters: B batch, M query tokens, D width, P patches, C values of a patch (3 p^2).
"""

from __future__ import annotations

from typing import NamedTuple, Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.networks.vit import plain_block
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.embeddings import sinusoids
from kinema.nn.factory import Factory

FLOOR = 1e-6  # added to the standard deviation of a patch
EPS = 1e-5


class NormalizedPatches(NamedTuple):
    """Patches (..., P, C) of mean 0 and unbiased deviation 1, and what they had before."""

    x: Tensor
    mean: Tensor
    deviation: Tensor

    def restored(self, x: Tensor) -> Tensor:
        """Patches as normalized as these, with the mean and deviation that these had."""
        return x * self.deviation + self.mean


def to_patches(images: Tensor, size: int) -> Tensor:
    """Images (..., 3, H, W) -> patches (..., P, C) of size x size pixels, color last."""
    return rearrange(images, "... c (h p) (w q) -> ... (h w) (p q c)", p=size, q=size)


def to_images(patches: Tensor, size: int) -> Tensor:
    """The inverse of `to_patches` for square images."""
    side = int(patches.shape[-2] ** 0.5)
    return rearrange(
        patches, "... (h w) (p q c) -> ... c (h p) (w q)", h=side, w=side, p=size, q=size
    )


def normalized(patches: Tensor) -> NormalizedPatches:
    """Each patch less its mean, over its unbiased standard deviation plus 1e-6."""
    mean = patches.mean(-1, keepdim=True)
    deviation = patches.std(-1, keepdim=True) + FLOOR
    return NormalizedPatches((patches - mean) / deviation, mean, deviation)


def sincos_table(width: int, side: int, *, device: torch.device | str | None) -> Tensor:
    """Positions (side^2, width): sines and cosines of the column, then of the row."""
    places = torch.arange(side, device=device, dtype=torch.float32)
    cos, sin = sinusoids(places, width // 4).chunk(2, -1)
    axis = torch.cat([sin, cos], -1)
    return torch.cat([axis.repeat(side, 1), axis.repeat_interleave(side, 0)], -1)


class PatchDecoder(Checkpointed):
    """Query tokens (B, M, D) -> normalized patches (B, P, C).

    A mask token at each position of the image attends to the query tokens, which say what to draw.

    Args:
        name: in its network, for its attention sites.
        width, num_layers, num_heads: of its blocks.
        side: patches in a row and in a column.
        patch_size: pixels along a side of a patch.
    """

    def __init__(
        self,
        name: str,
        *,
        width: int,
        num_layers: int,
        num_heads: int,
        side: int,
        patch_size: int,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.side = side
        self.embed = nn.Linear(width, width, **factory)
        self.mask_token = nn.Parameter(torch.empty(1, 1, 1, width, **factory))
        self.pos_embed: Tensor
        self.register_buffer("pos_embed", torch.empty(1, side**2, width, **factory))
        self.blocks = nn.ModuleList(
            plain_block(
                f"{name}.blocks.{i}", width, num_heads, activation=F.gelu, eps=EPS, **factory
            )
            for i in range(num_layers)
        )
        self.norm = nn.LayerNorm(width, eps=EPS, **factory)
        self.pred = nn.Linear(width, 3 * patch_size**2, **factory)
        if self.mask_token.device.type != "meta":
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """The mask token starts small; positions are fixed."""
        nn.init.normal_(self.mask_token, std=0.02)
        table = sincos_table(self.pos_embed.shape[-1], self.side, device=self.pos_embed.device)
        self.pos_embed.copy_(table)

    def forward(self, queries_BMD: Tensor) -> Tensor:
        """See the class."""
        masks = (self.mask_token[0] + self.pos_embed).expand(len(queries_BMD), -1, -1)
        x = torch.cat([self.embed(queries_BMD), masks], 1)
        x = self.norm(self.through(self.blocks, x, None))
        return self.pred(x)[:, queries_BMD.shape[1] :]
