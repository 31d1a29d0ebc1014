"""CvT: Introducing Convolutions to Vision Transformers (arXiv 2103.15808).

Authors' code: github.com/microsoft/CvT (MIT). Verified by a recorded case: embeddings, stages,
blocks, features, logits; by manifests: CvT-13, CvT-21 and CvT-W24; against transformers' class
(5.23.0), whose MLP has an exact GELU where the authors' is QuickGELU. Drop path is as theirs, with
keyed noise. Left out are dropout, and projections without convolutions, which no published size
has.

There are no positions: pictures of any size are read, and what is learned at one serves at others.
Two quirks of the authors are kept, since published weights rest on them: logits are divided by the
root of the whole width, not of a head's; the class token skips the convolutions.

Letters: B batch, C channels of a stage, h and w its rows and columns, N = h w tokens and the class
token, K classes.
"""

from __future__ import annotations

from typing import NamedTuple, Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.networks.clip import quick_gelu
from kinema.networks.cvt_config import KERNEL, CvTConfig, CvTStageConfig
from kinema.networks.vit import MLP
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.dropping import DropPath, linear_rates
from kinema.nn.factory import Factory
from kinema.nn.init import initialize_vit
from kinema.nn.sites import Site, attend

EPS = 1e-5  # of layer norms


class ConvEmbed(nn.Module):
    """Maps (B, C', H, W) -> maps (B, C, h, w), each place normed; section 3.1 of the paper."""

    def __init__(self, config: CvTStageConfig, channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.proj = nn.Conv2d(
            channels, config.width, config.kernel, config.stride, config.padding, **factory
        )
        self.norm = nn.LayerNorm(config.width, eps=EPS, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.norm(self.proj(x).movedim(1, -1)).movedim(-1, 1)


class ConvProjection(nn.Module):
    """Maps (B, C, h, w) -> tokens (B, N', C): every channel by a convolution of its own, normed.

    In training the norm takes the statistics of the batch, and its own follow them.
    """

    def __init__(self, width: int, stride: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            width, width, KERNEL, stride, KERNEL // 2, groups=width, bias=False, **factory
        )
        self.bn = nn.BatchNorm2d(width, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.bn(self.conv(x)).flatten(2).transpose(1, 2)


class ConvAttention(nn.Module):
    """Self-attention whose queries, keys and values are convolved; section 3.2 of the paper."""

    def __init__(self, name: str, config: CvTStageConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        width = config.width
        self.site, self.num_heads = Site(name, "self"), config.num_heads
        self.conv_proj_q = ConvProjection(width, 1, **factory)
        self.conv_proj_k = ConvProjection(width, config.kv_stride, **factory)
        self.conv_proj_v = ConvProjection(width, config.kv_stride, **factory)
        self.proj_q = nn.Linear(width, width, **factory)
        self.proj_k = nn.Linear(width, width, **factory)
        self.proj_v = nn.Linear(width, width, **factory)
        self.proj = nn.Linear(width, width, **factory)

    def forward(self, x_BNC: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) -> (B, N, C); `size` are h and w of the patches, which stand last."""
        height, width = size
        cls, patches = x_BNC[:, : -height * width], x_BNC[:, -height * width :]
        grid = rearrange(patches, "b (h w) c -> b c h w", h=height)

        def heads(conv: nn.Module, weight: Tensor, bias: Tensor | None) -> Tensor:
            x = F.linear(torch.cat([cls, conv(grid)], dim=1), weight, bias)
            return rearrange(x, "b n (h k) -> b h n k", h=self.num_heads)

        # Attention divides by the root of a head's width, this paper's by that of all.
        q = heads(self.conv_proj_q, self.proj_q.weight, self.proj_q.bias) * self.num_heads**-0.5
        # What is added to all keys changes no softmax: their bias, in every file, is left out.
        k = heads(self.conv_proj_k, self.proj_k.weight, None)
        v = heads(self.conv_proj_v, self.proj_v.weight, self.proj_v.bias)
        return self.proj(rearrange(attend(self.site, q, k, v, None), "b h n k -> b n (h k)"))


class CvTBlock(nn.Module):
    """Pre-norm residual block; `drop_path` is the share of residuals dropped in training."""

    def __init__(
        self, name: str, config: CvTStageConfig, drop_path: float, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, eps=EPS, **factory)
        self.attn = ConvAttention(f"{name}.attn", config, **factory)
        self.drop_attn = DropPath(drop_path, f"{name}.attn")
        self.norm2 = nn.LayerNorm(width, eps=EPS, **factory)
        self.mlp = MLP(width, 4 * width, quick_gelu, **factory)
        self.drop_mlp = DropPath(drop_path, f"{name}.mlp")

    def forward(self, x_BNC: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) -> (B, N, C); see `ConvAttention`."""
        x_BNC = x_BNC + self.drop_attn(self.attn(self.norm1(x_BNC), size))
        return x_BNC + self.drop_mlp(self.mlp(self.norm2(x_BNC)))


class StageOutput(NamedTuple):
    """The map (B, C, h, w) of a stage, and its class token (B, 1, C), or (B, 0, C) without one."""

    x: Tensor
    cls: Tensor


class CvTStage(Checkpointed):
    """Maps (B, C', H, W) -> the tokens of this stage, after all its blocks."""

    def __init__(
        self,
        name: str,
        config: CvTStageConfig,
        channels: int,
        *,
        class_token: bool,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.patch_embed = ConvEmbed(config, channels, **factory)
        self.cls_token: nn.Parameter | None = None
        if class_token:
            self.cls_token = nn.Parameter(torch.empty(1, 1, config.width, **factory))
        self.blocks = nn.ModuleList(
            CvTBlock(f"{name}.blocks.{i}", config, rate, **factory)
            for i, rate in enumerate(linear_rates(config.drop_path, config.num_layers))
        )

    def forward(self, x: Tensor) -> StageOutput:
        """See the class."""
        x = self.patch_embed(x)
        size, (height, width) = x.shape[2:], x.shape[2:]
        tokens = x.flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), tokens], dim=1)
        tokens = self.through(self.blocks, tokens, size)
        cls, patches = tokens[:, : -height * width], tokens[:, -height * width :]
        return StageOutput(rearrange(patches, "b (h w) c -> b c h w", h=height), cls)


class CvT(Checkpointed):
    """Pictures (B, 3, H, W) of any size from 16 pixels, normalized -> logits (B, K)."""

    def __init__(self, config: CvTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        channels = [3, *(stage.width for stage in config.stages)]
        last = len(config.stages) - 1
        stages = [
            CvTStage(
                f"stages.{i}",
                stage,
                channels[i],
                class_token=config.class_token and i == last,
                **factory,
            )
            for i, stage in enumerate(config.stages)
        ]
        self.stages = nn.ModuleList(stages)
        self.norm = nn.LayerNorm(config.width, eps=EPS, **factory)
        self.head = nn.Linear(config.width, config.num_classes, **factory)
        cls_token = stages[-1].cls_token
        initialize_vit(self, *([] if cls_token is None else [cls_token]))

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Pictures -> the map (B, C, h, w) of every stage: 4, 8 and 16 pixels between places."""
        maps = [x]
        for stage in self.stages:
            maps.append(stage(maps[-1]).x)
        return maps[1:]

    def forward_features(self, x: Tensor) -> Tensor:
        """Pictures -> the class token of the last stage, normed, or the mean of its tokens (B, C).

        Raises:
            InputError: these are no pictures, or they are too small.
        """
        smallest = 2 ** (1 + len(self.stages))
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < smallest:
            raise InputError(
                f"CvT reads pictures (B, 3, H, W) of at least {smallest} pixels, "
                f"not {tuple(x.shape)}"
            )
        cls = x
        for stage in self.stages:
            x, cls = stage(x)
        tokens = cls if self.config.class_token else x.flatten(2).transpose(1, 2)
        return self.norm(tokens).mean(1)

    def forward_head(self, features: Tensor) -> Tensor:
        """Features (B, C) -> logits (B, K)."""
        return self.head(features)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.forward_head(self.forward_features(x))
