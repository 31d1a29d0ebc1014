"""UniFormerV2, an image ViT armed for video by local and global aggregators (arXiv 2211.09552).

Authors' code: github.com/OpenGVLab/UniFormerV2 (Apache-2.0), ``VisionTransformer``. Verified by
recorded cases: tokens, blocks, readers, logits of its three forms (global, local and global,
frozen); by manifests: the published sizes. Different in training: drop path skips the attention or
MLP of a frame, where the authors' layout makes it that of one place in all frames of the batch.

CLIP's image tower (`clip.py`) sees every frame. Local aggregators inside its blocks mix neighboring
frames; a video token reads the frames behind some blocks, one after another.

Letters: B clips, T frames behind the patches, P patches of a frame, N = 1 + P, D width, L = T N, K
classes.
"""

from __future__ import annotations

import math
from typing import Unpack

import torch
from einops import rearrange
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.networks.clip import VideoTower, quick_gelu
from kinema.networks.uniformerv2_config import UniFormerV2Config
from kinema.networks.vit import MLP, plain_attention
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.conv import TIME_KERNEL
from kinema.nn.dropping import Dropout, DropPath, linear_rates
from kinema.nn.factory import Factory
from kinema.nn.sites import Site, attend

FROZEN = ("class_embedding", "pos_embed", "patch_embed.*", "norm_pre.*", "blocks.*")
"""Patterns of the names of all that stays as it is in CLIP, in the frozen form."""


def to_grid(patches: Tensor, num_frames: int) -> Tensor:
    """Patches of square frames ((B T), P, D) -> (B, D, T, H, W)."""
    side = math.isqrt(patches.shape[1])
    return rearrange(patches, "(b t) (h w) d -> b d t h w", t=num_frames, h=side)


def from_grid(grid: Tensor) -> Tensor:
    """(B, D, T, H, W) -> ((B T), P, D)."""
    return rearrange(grid, "b d t h w -> (b t) (h w) d")


class TubeEmbed(nn.Module):
    """One token for each patch of a frame, or of a frame and its neighbors."""

    def __init__(self, config: UniFormerV2Config, **factory: Unpack[Factory]) -> None:
        super().__init__()
        size, frames = config.patch_size, config.tube_frames
        self.proj = nn.Conv3d(
            3,
            config.width,
            (frames, size, size),
            (config.tube_stride, size, size),
            ((frames - 1) // 2, 0, 0),
            bias=False,
            **factory,
        )

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T stride, S, S) -> ((B T), P, D)."""
        return from_grid(self.proj(clips))


class LocalAggregator(nn.Sequential):
    """Mixes each place with the frames before and after it (section 3.2: local MHRA).

    The last convolution starts at zero, so that the block starts as that of the image tower.
    """

    def __init__(self, config: UniFormerV2Config, **factory: Unpack[Factory]) -> None:
        width, inner = config.width, config.local_width
        time = nn.Conv3d(inner, inner, TIME_KERNEL, padding=(1, 0, 0), groups=inner, **factory)
        super().__init__(
            nn.BatchNorm3d(width, **factory),
            nn.Conv3d(width, inner, 1, **factory),
            time,
            nn.Conv3d(inner, width, 1, **factory),
        )


class LocalBlock(Checkpointed):
    """A block of the image tower, with local aggregators before its attention and its MLP.

    These are not run again under gradient checkpointing: their norms would count a batch twice.
    """

    def __init__(
        self, name: str, config: UniFormerV2Config, drop_path: float, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        width = config.width
        self.local = nn.ModuleList(
            LocalAggregator(config, **factory) for _ in range(config.num_local)
        )
        self.norm1 = nn.LayerNorm(width, eps=config.eps, **factory)
        self.attn = plain_attention(f"{name}.attn", width, config.num_heads, **factory)
        self.norm2 = nn.LayerNorm(width, eps=config.eps, **factory)
        self.mlp = MLP(width, 4 * width, quick_gelu, **factory)
        self.drop_local = nn.ModuleList(
            DropPath(drop_path, f"{name}.local.{i}") for i in range(config.num_local)
        )
        self.drop_attn = DropPath(drop_path, f"{name}.attn")
        self.drop_mlp = DropPath(drop_path, f"{name}.mlp")

    def forward(self, x_BND: Tensor, num_frames: int) -> Tensor:
        """Frames of clips ((B T), N, D) -> the same shape."""
        x_BND = self.mixed(x_BND, num_frames, 0)
        x_BND = x_BND + self.drop_attn(self.run_block(self.attn, self.norm1(x_BND), None))
        x_BND = self.mixed(x_BND, num_frames, 1)
        return x_BND + self.drop_mlp(self.run_block(self.mlp, self.norm2(x_BND)))

    def mixed(self, x_BND: Tensor, num_frames: int, number: int) -> Tensor:
        """What the aggregator of this number, if there is one, adds to the patches."""
        if number >= len(self.local):
            return x_BND
        cls, patches = x_BND[:, :1], x_BND[:, 1:]
        change = self.drop_local[number](self.local[number](to_grid(patches, num_frames)))
        return torch.cat([cls, patches + from_grid(change)], 1)


class Reader(nn.Module):
    """The video token reads all tokens of all frames (section 3.2: global cross MHRA, FFN).

    Patches get their place from a depth-wise convolution, which the image tower does not see. Both
    paths start at zero.
    """

    def __init__(
        self, name: str, config: UniFormerV2Config, drop_path: float, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        width = config.width
        self.site, self.num_heads = Site(name, "cross"), config.read_heads
        self.places = nn.Conv3d(width, width, 3, padding=1, groups=width, **factory)
        self.norm1 = nn.LayerNorm(width, eps=config.eps, **factory)
        self.norm_seen = nn.LayerNorm(width, eps=config.eps, **factory)
        self.to_q = nn.Linear(width, width, **factory)
        self.to_kv = nn.Linear(width, 2 * width, **factory)
        self.to_out = nn.Linear(width, width, **factory)
        self.norm2 = nn.LayerNorm(width, eps=config.eps, **factory)
        self.fc1 = nn.Linear(width, config.read_hidden, **factory)
        self.dropout = Dropout(config.dropout, f"{name}.mlp")
        self.fc2 = nn.Linear(config.read_hidden, width, **factory)
        self.drop_attn = DropPath(drop_path, f"{name}.attn")
        self.drop_mlp = DropPath(drop_path, f"{name}.mlp")

    def reset_parameters(self) -> None:
        """The authors' first values, who draw queries, keys and values as one matrix."""
        nn.init.xavier_uniform_(self.to_q.weight, gain=(2 / 4) ** 0.5)
        nn.init.xavier_uniform_(self.to_kv.weight, gain=(3 / 4) ** 0.5)
        nn.init.xavier_uniform_(self.fc1.weight)
        for zero in (self.to_out.weight, self.fc2.weight):
            nn.init.zeros_(zero)
        for module in (self.to_q, self.to_kv, self.to_out, self.fc2, self.places):
            assert module.bias is not None
            nn.init.zeros_(module.bias)

    def forward(self, video_B1D: Tensor, x_BND: Tensor, num_frames: int) -> Tensor:
        """Video tokens (B, 1, D), which read ((B T), N, D) -> (B, 1, D)."""
        cls, patches = x_BND[:, :1], x_BND[:, 1:]
        patches = patches + from_grid(self.places(to_grid(patches, num_frames)))
        seen = torch.cat([cls, patches], 1).unflatten(0, (-1, num_frames)).flatten(1, 2)
        video_B1D = video_B1D + self.drop_attn(self.read(self.norm1(video_B1D), seen))
        hidden = self.dropout(quick_gelu(self.fc1(self.norm2(video_B1D))))
        return video_B1D + self.drop_mlp(self.fc2(hidden))

    def read(self, video_B1D: Tensor, seen_BLD: Tensor) -> Tensor:
        """The attention: (B, 1, D), (B, L, D) -> (B, 1, D)."""
        k, v = self.to_kv(self.norm_seen(seen_BLD)).chunk(2, -1)
        parts = (self.to_q(video_B1D), k, v)
        q, k, v = (rearrange(part, "b l (h k) -> b h l k", h=self.num_heads) for part in parts)
        return self.to_out(rearrange(attend(self.site, q, k, v, None), "b h l k -> b l (h k)"))


class UniFormerV2(VideoTower):
    """Clips (B, 3, frames, S, S) -> logits (B, K) of what is done in them."""

    NEW = ("blocks.*.local.*", "video_token", "readers.*", "balance", "norm.*", "head.*")
    BEHIND_BLOCKS = ("video_token", "balance")  # readers have the one, the head the other

    def __init__(self, config: UniFormerV2Config, **factory: Unpack[Factory]) -> None:
        super().__init__(config, TubeEmbed(config, **factory), **factory)
        self.config = config
        rates = linear_rates(config.drop_path, config.num_layers)
        self.blocks = nn.ModuleList(
            LocalBlock(f"blocks.{i}", config, rate, **factory) for i, rate in enumerate(rates)
        )
        self.video_token = nn.Parameter(torch.empty(1, 1, config.width, **factory))
        rates = linear_rates(config.read_drop_path, len(config.read_after))
        self.readers = nn.ModuleList(
            Reader(f"readers.{i}", config, rate, **factory) for i, rate in enumerate(rates)
        )
        if not config.frozen:
            self.balance = nn.Parameter(torch.empty(config.width, **factory))
        self.norm = nn.LayerNorm(config.width, eps=config.eps, **factory)
        self.dropout = Dropout(config.dropout, "head")
        self.head = nn.Linear(config.width, config.num_classes, **factory)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """At first the network is the image tower, and averages over frames what that says."""
        self.init_tokens()
        nn.init.zeros_(self.video_token)
        if not self.config.frozen:
            nn.init.zeros_(self.balance)
        for module in self.modules():
            if isinstance(module, Reader):
                module.reset_parameters()
            elif isinstance(module, LocalAggregator):
                for zero in module[-1].parameters():
                    nn.init.zeros_(zero)

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, frames, S, S), normalized, of any number of frames -> features (B, D).

        Raises:
            InputError: they have another size, or the frames do not fill tubes.
        """
        size, stride = self.config.image_size, self.config.tube_stride
        if x.ndim != 5 or x.shape[1] != 3 or x.shape[3:] != (size, size) or x.shape[2] % stride:
            raise InputError(
                f"UniFormerV2 reads clips (B, 3, frames, {size}, {size}), frames a multiple of "
                f"{stride}, not {tuple(x.shape)}"
            )
        num_frames = x.shape[2] // stride
        video = self.video_token.expand(x.shape[0], -1, -1)
        x_BND = self.norm_pre(self.placed(self.patch_embed(x)))
        readers = dict(zip(self.config.read_after, self.readers))
        for number, block in enumerate(self.blocks):
            x_BND = block(x_BND, num_frames)
            if number in readers:
                video = self.run_block(readers[number], video, x_BND, num_frames)
        features = video[:, 0]
        if not self.config.frozen:
            share = self.balance.sigmoid()
            frames = x_BND[:, 0].unflatten(0, (-1, num_frames)).mean(1)
            features = (1 - share) * features + share * frames
        return self.norm(features)
