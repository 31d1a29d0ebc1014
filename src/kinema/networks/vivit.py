"""ViViT with a factorized encoder: A Video Vision Transformer (arXiv 2103.15691), model 2.

Authors' code: github.com/google-research/scenic (Apache-2.0), ``SpaceTimeViViT``, in Flax.
Verified: tubelets, positions and blocks against transformers' ``VivitModel`` (5.23.0), which has no
factorized encoder; parameters of B/16x2 against the 115.1 million that the paper names. Published
weights are not read. Different in training: drop path scales up what it leaves, theirs does not.

The adapters between both transformers are those of Optimizing ViViT Training (arXiv 2306.04822),
which leaves the spatial one as it is. Their form is our reading: no code of it is published.

Letters: B clips, T steps in time (tubelets of two frames), P tubelets of a step, N = 1 + P tokens
with the class token first, D width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.networks.vit import MLP, Block, DroppingBlock, PatchEmbed, plain_attention
from kinema.networks.vivit_config import TUBELET, AdapterName, SpatialConfig, TemporalConfig
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.dropping import linear_rates
from kinema.nn.factory import Factory
from kinema.nn.init import STD, initialize_xavier
from kinema.nn.sites import Site, attend

gelu = partial(F.gelu, approximate="tanh")  # Flax's


def encoder_blocks(
    name: str,
    config: SpatialConfig | TemporalConfig,
    **factory: Unpack[Factory],
) -> nn.ModuleList:
    """The blocks of a transformer; `name` is that of the list in its network."""
    width, rates = config.width, linear_rates(config.drop_path, config.num_layers)
    blocks = []
    for i, rate in enumerate(rates):
        attn = plain_attention(f"{name}.{i}.attn", width, config.num_heads, **factory)
        mlp = MLP(width, 4 * width, gelu, **factory)
        blocks.append(
            DroppingBlock(
                f"{name}.{i}", attn, mlp, width, eps=config.eps, drop_path=rate, **factory
            )
        )
    return nn.ModuleList(blocks)


class SpatialTransformer(Checkpointed):
    """Clips (B, 3, 2 T, S, S) -> tokens (B, T, N, D): each step sees itself alone.

    Nothing here tells which step it is. Parameter names are timm's for a ViT.
    """

    def __init__(self, config: SpatialConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch_size
        self.patch_embed = PatchEmbed((TUBELET, patch, patch), width, bias=True, **factory)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width, **factory))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.num_patches, width, **factory))
        self.blocks = encoder_blocks("spatial.blocks", config, **factory)
        self.norm = nn.LayerNorm(width, eps=config.eps, **factory)
        initialize_xavier(self)
        nn.init.normal_(self.pos_embed, std=STD)

    def forward(self, clips: Tensor) -> Tensor:
        """See the class; clips are normalized to [-1, 1].

        Raises:
            InputError: their size is another one, or their frames do not make tubelets.
        """
        size = self.config.image_size
        if clips.shape[1] != 3 or clips.shape[3:] != (size, size) or clips.shape[2] % TUBELET:
            raise InputError(
                f"ViViT reads clips (B, 3, T, {size}, {size}) of an even T, not "
                f"{tuple(clips.shape)}"
            )
        steps = clips.shape[2] // TUBELET
        patches = self.patch_embed(clips).unflatten(1, (steps, -1)).flatten(0, 1)
        cls = self.cls_token.expand(patches.shape[0], -1, -1)
        x = torch.cat([cls, patches], 1) + self.pos_embed
        return self.norm(self.through(self.blocks, x, None)).unflatten(0, (-1, steps))


def start_at_zero(*layers: nn.Linear) -> None:
    """Gives layers at the end of residual paths weights of zero, so that nothing is added."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


class ClassToken(nn.Module):
    """Tokens (B, T, N, D) -> (B, T, D): the class token of each step, as ViViT itself has it."""

    def forward(self, x_BTND: Tensor) -> Tensor:
        """See the class."""
        return x_BTND[:, :, 0]


class AttentionPooling(nn.Module):
    """Tokens (B, T, N, D) -> (B, T, D): the class token picks regions, by one block.

    Its query is learned on top of the class token, and its places beside the tokens, which a model
    of images may have let forget where they are. Both paths start at zero, so that at first this is
    `ClassToken`.
    """

    def __init__(self, config: TemporalConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        width = config.width
        self.site, self.num_heads = Site("adapter", "cross"), config.num_heads
        self.query = nn.Parameter(torch.zeros(width, **factory))
        self.places = nn.Parameter(torch.zeros(1 + config.num_patches, width, **factory))
        self.norm = nn.LayerNorm(width, eps=config.eps, **factory)
        self.to_q = nn.Linear(width, width, **factory)
        self.to_kv = nn.Linear(width, 2 * width, **factory)
        self.proj = nn.Linear(width, width, **factory)
        self.norm_mlp = nn.LayerNorm(width, eps=config.eps, **factory)
        self.mlp = MLP(width, 4 * width, gelu, **factory)
        initialize_xavier(self)
        start_at_zero(self.proj, self.mlp.fc2)

    def forward(self, x_BTND: Tensor) -> Tensor:
        """See the class."""
        x = x_BTND.flatten(0, 1)
        normed = self.norm(x) + self.places
        q = self.to_q(normed[:, :1] + self.query)
        k, v = self.to_kv(normed).chunk(2, -1)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (q, k, v))
        picked = attend(self.site, q, k, v, None).transpose(1, 2).flatten(2)
        out = x[:, 0] + self.proj(picked)[:, 0]
        out = out + self.mlp(self.norm_mlp(out))
        return out.unflatten(0, x_BTND.shape[:2])


class AttentionBlock(nn.Module):
    """Tokens (B, T, N, D) -> (B, T, D): the class token behind one more block of all tokens.

    The block starts as the identity, so that at first this is `ClassToken`.
    """

    def __init__(self, config: TemporalConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        width = config.width
        attn = plain_attention("adapter.block.attn", width, config.num_heads, **factory)
        mlp = MLP(width, 4 * width, gelu, **factory)
        self.places = nn.Parameter(torch.zeros(1 + config.num_patches, width, **factory))
        self.block = Block(attn, mlp, width, eps=config.eps, **factory)
        initialize_xavier(self)
        start_at_zero(attn.proj, mlp.fc2)

    def forward(self, x_BTND: Tensor) -> Tensor:
        """See the class."""
        x = self.block(x_BTND.flatten(0, 1) + self.places, None)[:, 0]
        return x.unflatten(0, x_BTND.shape[:2])


ADAPTERS: Mapping[AdapterName, Callable[..., Any]] = {
    "class token": lambda config, **factory: ClassToken(),
    "pooling": AttentionPooling,
    "blocks": AttentionBlock,
}


class TemporalTransformer(Checkpointed):
    """Tokens of all steps (B, T, N, D) -> logits (B, K): adapter, transformer, head.

    The head starts at zero, as the authors' does.
    """

    def __init__(self, config: TemporalConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.adapter = ADAPTERS[config.adapter](config, **factory)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width, **factory))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.num_steps, width, **factory))
        self.blocks = encoder_blocks("blocks", config, **factory)
        self.norm = nn.LayerNorm(width, eps=config.eps, **factory)
        self.head = nn.Linear(width, config.num_classes, **factory)
        initialize_xavier(self.blocks)
        nn.init.normal_(self.pos_embed, std=STD)
        start_at_zero(self.head)

    def take(self, blocks: Sequence[nn.Module]) -> None:
        """Gives the blocks the weights of others, one by one: those of an image ViT or of VideoMAE.

        VideoMAE's keys have no bias, which is one of zeros.

        Raises:
            InputError: there are not as many, or they have another size.
        """
        if len(blocks) != len(self.blocks):
            raise InputError(f"{len(self.blocks)} blocks cannot start from {len(blocks)}")
        for own, other in zip(self.blocks, blocks):
            state = dict(other.state_dict())
            if "attn.qkv.q_bias" in state:
                q, v = state.pop("attn.qkv.q_bias"), state.pop("attn.qkv.v_bias")
                state["attn.qkv.bias"] = torch.cat([q, torch.zeros_like(q), v])
            shapes = {name: value.shape for name, value in own.state_dict().items()}
            if {name: value.shape for name, value in state.items()} != shapes:
                raise InputError(
                    f"blocks of width {self.config.width} cannot start from these, which are of "
                    "another size"
                )
            own.load_state_dict(state)

    def forward_features(self, x_BTND: Tensor) -> Tensor:
        """Tokens of all steps (B, T, N, D) -> the class token behind the last norm (B, D).

        Raises:
            InputError: there are more or fewer steps or tokens than positions.
        """
        steps, tokens = self.config.num_steps, 1 + self.config.num_patches
        if x_BTND.shape[1:3] != (steps, tokens):
            raise InputError(
                f"this ViViT reads {steps} steps of {tokens} tokens, not "
                f"{x_BTND.shape[1]} of {x_BTND.shape[2]}"
            )
        x = self.adapter(x_BTND)
        cls = self.cls_token.expand(x.shape[0], -1, -1)
        x = torch.cat([cls, x], 1) + self.pos_embed
        return self.norm(self.through(self.blocks, x, None)[:, 0])

    def forward_head(self, features: Tensor) -> Tensor:
        """Features (B, D) -> logits (B, K)."""
        return self.head(features)

    def forward(self, x_BTND: Tensor) -> Tensor:
        """See the class."""
        return self.forward_head(self.forward_features(x_BTND))
