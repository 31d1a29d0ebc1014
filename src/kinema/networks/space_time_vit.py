"""The video transformer of Frozen in Time (arXiv 2104.00650): a ViT with divided attention.

Authors' code: github.com/m-bain/frozen-in-time (MIT), ``SpaceTimeTransformer``. Verified by
recorded cases: tokens, positions, both attentions, block, fewer frames, growth of the temporal
positions; by manifests: the published sizes. Parameter names are the authors', which are timm's.
Left out are dropout and drop path (0 in every released configuration) and the head of a classifier.
Patches and MLP are those of `vit.py`.

Letters: B batch, C channels, F frames, N patches of a frame, L = 1 + F N tokens, D width, H heads,
K head width, G groups of patches that attend together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack

import torch
import torch.nn.functional as functional
from einops import rearrange
from torch import Tensor, nn

from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.networks.official import check_arguments
from kinema.networks.vit import MLP, PatchEmbed, ViTConfig
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory
from kinema.nn.sites import Site, attend

SPACE = "(b f) h n k"  # the patches of one frame attend together
TIME = "(b n) h f k"  # the patches of one place
Growth = Literal["zeros", "interp", "bilinear"]


@config
class SpaceTimeViTConfig(ViTConfig):
    """Sizes of the transformer.

    Args:
        num_frames: the most frames of a clip.
        time_init: first values of the attentions over time: random, or zeros, with which the
            network starts as the image ViT that its other weights are taken from.
    """

    num_frames: int
    time_init: Literal["zeros", "rand"]


def base_patch16_224(num_frames: int) -> SpaceTimeViTConfig:
    """The published size, for 4 frames 114,168,576 parameters."""
    return SpaceTimeViTConfig(
        image_size=224,
        patch_size=16,
        width=768,
        num_layers=12,
        num_heads=12,
        num_frames=num_frames,
        time_init="zeros",
    )


SIZES = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "embed_dim": "width",
    "depth": "num_layers",
    "num_heads": "num_heads",
    "num_frames": "num_frames",
    "time_init": "time_init",
}
FIXED = {"num_classes": (0,)}  # no head


def from_official(official: Mapping[str, Any]) -> SpaceTimeViTConfig:
    """Reads the constructor arguments of the authors' ``SpaceTimeTransformer``.

    Raises:
        InputError: an argument is unknown or missing, or asks for a head.
    """
    check_arguments("the space-time ViT", official, needed=SIZES, optional=(), fixed=FIXED)
    named = {ours: official[theirs] for theirs, ours in SIZES.items()}
    return from_dict(SpaceTimeViTConfig, named, where="the space-time ViT")


def fit_frames(table: Tensor, num_frames: int, how: Growth) -> Tensor:
    """Temporal positions (1, F, D) for another number of frames: (1, num_frames, D).

    Source: the authors' ``_inflate_positional_embeds``. Of more than are needed the first are kept;
    new ones are zeros, the nearest, or between their neighbors.
    """
    old = table.shape[1]
    if num_frames <= old:
        return table[:, :num_frames]
    if how == "zeros":
        return functional.pad(table, (0, 0, 0, num_frames - old))
    mode = {"interp": "nearest", "bilinear": "bilinear"}[how]
    return functional.interpolate(table[None], (num_frames, table.shape[2]), mode=mode)[0]


class DividedAttention(nn.Module):
    """Every patch attends to the class token and to its own group, the class token to all tokens.

    Source: section 3.1 of the paper; the class token takes part as in the authors' code.

    Args:
        config: sizes.
        name: of the module in its network.
        group: `SPACE` or `TIME`.
    """

    def __init__(
        self, config: SpaceTimeViTConfig, name: str, group: str, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        self.num_heads, self.name, self.group = config.num_heads, name, group
        self.qkv = nn.Linear(config.width, 3 * config.width, **factory)
        self.proj = nn.Linear(config.width, config.width, **factory)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        q, k, v = rearrange(self.qkv(x), "b l (i h k) -> i b h l k", i=3, h=self.num_heads)
        cls = attend(Site(f"{self.name}.cls", "self"), q[:, :, :1], k, v, None)
        apart = f"b h (f n) k -> {self.group}"
        q_GHNK, k_GHNK, v_GHNK = (rearrange(t[:, :, 1:], apart, f=num_frames) for t in (q, k, v))
        groups = len(q_GHNK) // len(x)
        k_cls, v_cls = (t[:, :, :1].repeat_interleave(groups, dim=0) for t in (k, v))
        patches = attend(
            Site(self.name, "self"),
            q_GHNK,
            torch.cat([k_cls, k_GHNK], dim=2),
            torch.cat([v_cls, v_GHNK], dim=2),
            None,
        )
        patches = rearrange(patches, f"{self.group} -> b h (f n) k", b=len(x), f=num_frames)
        return self.proj(rearrange(torch.cat([cls, patches], dim=2), "b h l k -> b l (h k)"))


class SpaceTimeBlock(nn.Module):
    """Attention over time, over space, MLP; see `forward` for the residual that is this paper's."""

    def __init__(self, config: SpaceTimeViTConfig, name: str, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.eps, **factory)
        self.norm2 = nn.LayerNorm(config.width, eps=config.eps, **factory)
        self.norm3 = nn.LayerNorm(config.width, eps=config.eps, **factory)
        self.attn = DividedAttention(config, f"{name}.attn", SPACE, **factory)
        self.timeattn = DividedAttention(config, f"{name}.timeattn", TIME, **factory)
        self.mlp = MLP(config.width, 4 * config.width, functional.gelu, **factory)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """(B, L, D) -> (B, L, D).

        What time has found reaches the output through the attention over space alone: the residual
        around that one starts from the block's input (TimeSformer, arXiv:2102.05095, keeps it).
        """
        t = x + self.timeattn(self.norm3(x), num_frames)
        s = x + self.attn(self.norm1(t), num_frames)
        return s + self.mlp(self.norm2(s))


class SpaceTimeViT(Checkpointed):
    """Clips to one state each, that of the class token. A picture is a clip of one frame."""

    def __init__(self, config: SpaceTimeViTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed((config.patch_size,) * 2, config.width, bias=True, **factory)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.width, **factory))
        self.pos_embed = nn.Parameter(
            torch.empty(1, 1 + config.num_patches, config.width, **factory)
        )
        self.temporal_embed = nn.Parameter(
            torch.empty(1, config.num_frames, config.width, **factory)
        )
        blocks = [
            SpaceTimeBlock(config, f"blocks.{i}", **factory) for i in range(config.num_layers)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.width, eps=config.eps, **factory)
        self.reset_parameters(blocks)

    def reset_parameters(self, blocks: list[SpaceTimeBlock]) -> None:
        """The authors' first values.

        Zeros need a projection of ones, or no gradient would reach what lies before it. Even so
        queries and keys stay at zero for ever, since the gradient of each has the other as a
        factor: such an attention goes on to average its group (a test shows it).
        """
        for table in (self.pos_embed, self.cls_token):
            nn.init.trunc_normal_(table, std=0.02)
        nn.init.zeros_(self.temporal_embed)
        for block in blocks if self.config.time_init == "zeros" else []:
            for zero in (*block.timeattn.qkv.parameters(), block.timeattn.proj.bias):
                nn.init.zeros_(zero)
            nn.init.ones_(block.timeattn.proj.weight)

    def embed(self, x: Tensor) -> Tensor:
        """Clips (B, C, F, height, width) -> tokens (B, L, D): the class token, then frame by frame.

        Raises:
            InputError: there are too many frames, or they have another size.
        """
        _, channels, num_frames, *size = x.shape
        expected = [self.config.image_size] * 2
        if channels != 3 or size != expected or not 1 <= num_frames <= self.config.num_frames:
            raise InputError(
                f"the space-time ViT reads 1 to {self.config.num_frames} frames of "
                f"{expected[0]}x{expected[1]} pixels, not {tuple(x.shape)}"
            )
        frames = self.patch_embed(rearrange(x, "b c f h w -> (b f) c h w"))
        place, time = self.pos_embed[:, None, 1:], self.temporal_embed[:, :num_frames, None]
        patches = frames.unflatten(0, (-1, num_frames)) + place + time
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        return torch.cat([cls, patches.flatten(1, 2)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Clips (B, C, F, height, width), normalized as in training -> states (B, D)."""
        x_BLD = self.through(self.blocks, self.embed(x), x.shape[2])
        return self.norm(x_BLD[:, 0])
