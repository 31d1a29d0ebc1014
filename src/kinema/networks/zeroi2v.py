"""ZeroI2V: Zero-Cost Adaptation of Pre-trained Transformers from Image to Video (arXiv 2310.01324).

Authors' code: github.com/MCG-NJU/ZeroI2V (Apache-2.0), ``ViT_Zero_CLIP`` and its three relatives.
Verified by recorded cases: attention, blocks, features, merged weights, features after merging,
the table of shifts, two ablations; by manifests: the published sizes. Different: merged networks
keep all shifts, of which the authors' class for inference drops those over two frames.

CLIP's image tower (`clip.py`) sees every frame; some of its heads read keys and values of frames
nearby, which costs nothing. Linear adapters are trained beside frozen weights, then merged.

Letters: B clips, T frames, N tokens of a frame, D width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Unpack, cast

import torch
import torch.nn.functional as functional
from einops import rearrange
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.networks.clip import VideoTower, quick_gelu
from kinema.networks.vit import MLP, Attention, Block, PatchEmbed
from kinema.networks.zeroi2v_config import FRONT, LAYERS, AdapterConfig, Shift, ZeroI2VConfig
from kinema.nn.dropping import Dropout
from kinema.nn.factory import Factory
from kinema.nn.frames import to_frames
from kinema.nn.sites import Site, attend

FROZEN = (
    *("class_embedding", "pos_embed", "patch_embed.*", "norm_pre.*", "blocks.*.norm?.*"),
    *(f"blocks.*.{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")),
)
"""Patterns of the names of all that stays as it is in CLIP, until adapters are merged into it."""


def shifted(x: Tensor, shifts: Sequence[Shift]) -> Tensor:
    """Groups of channels, one after another, from other frames (section 3.2).

    Args:
        x: (B, T, ..., C).
        shifts: together at most C channels; frames whose source does not exist keep their own.

    Returns:
        Like x.
    """
    out, first = x.clone(), 0
    for shift in shifts:
        group = slice(first, first + shift.channels)
        if shift.frames > 0:
            out[:, shift.frames :, ..., group] = x[:, : -shift.frames, ..., group]
        else:
            out[:, : shift.frames, ..., group] = x[:, -shift.frames :, ..., group]
        first += shift.channels
    return out


class ShiftedAttention(Attention):
    """Every frame attends to its own tokens, of which some heads have those of frames nearby."""

    def __init__(
        self, site: Site, config: ZeroI2VConfig, qkv: nn.Module, **factory: Unpack[Factory]
    ) -> None:
        super().__init__(site, config.width, config.num_heads, qkv, **factory)
        self.shifts, self.within = config.shifts, config.within

    def forward(self, x_BTND: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, N, D) -> (B, T, N, D); the mask is bool, true to attend."""
        frames = x_BTND.shape[1]
        q, k, v = self.qkv(x_BTND).chunk(3, -1)
        parts = (q, self.shift(k), self.shift(v))
        q, k, v = (rearrange(x, "b t n (h k) -> (b t) h n k", h=self.num_heads) for x in parts)
        out = attend(self.site, q, k, v, mask)
        return self.proj(rearrange(out, "(b t) h n k -> b t n (h k)", t=frames))

    def shift(self, x_BTND: Tensor) -> Tensor:
        """Keys or values (B, T, N, D) -> the same shape."""
        if self.within == "head":
            heads = x_BTND.unflatten(-1, (self.num_heads, -1))
            return shifted(heads, self.shifts).flatten(-2)
        if self.within == "class token":
            return torch.cat([shifted(x_BTND[:, :, :1], self.shifts), x_BTND[:, :, 1:]], 2)
        return shifted(x_BTND, self.shifts)


class Adapter(nn.Module):
    """x + scale (W2 (W1 x + b1) + b2), at first x (section 3.3); in an ablation with a GELU."""

    def __init__(
        self, name: str, width: int, config: AdapterConfig, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        self.scale, self.gelu = config.scale, config.gelu
        self.down = nn.Linear(width, config.hidden, **factory)
        self.dropout = Dropout(config.dropout, name)
        self.up = nn.Linear(config.hidden, width, **factory)

    def reset_parameters(self) -> None:
        """The authors' first values."""
        nn.init.trunc_normal_(self.down.weight, std=0.02)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        hidden = self.down(x)
        hidden = functional.gelu(hidden) if self.gelu else hidden
        return x + self.scale * self.up(self.dropout(hidden))

    def map(self) -> tuple[Tensor, Tensor]:
        """The matrix (D, D) and the vector (D,) that it is, in float64.

        Raises:
            InputError: it is none.
        """
        if self.gelu:
            raise InputError("adapters with a GELU cannot be merged into linear layers")
        w1, b1 = self.down.weight.double(), self.down.bias.double()
        w2, b2 = self.up.weight.double(), self.up.bias.double()
        identity = torch.eye(len(w2), dtype=w2.dtype, device=w2.device)
        return identity + self.scale * w2 @ w1, self.scale * (w2 @ b1 + b2)


class AdaptedLinear(nn.Linear):
    """A linear layer with adapters; its weight keeps its name."""

    adapters: nn.ModuleList

    def merged(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one linear layer that layer and adapters are, in float64."""
        raise NotImplementedError


class AdaptedBefore(AdaptedLinear):
    """Adapters in front: each feeds an equal part of the outputs, in order."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., out)."""
        rows = self._rows(self.weight, self.bias)
        parts = [functional.linear(adapter(x), w, b) for adapter, w, b in rows]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def merged(self) -> tuple[Tensor, Tensor]:
        """See `AdaptedLinear`."""
        weights, biases = [], []
        for adapter, w, b in self._rows(self.weight.double(), self.bias.double()):
            matrix, vector = adapter.map()
            weights.append(w @ matrix)
            biases.append(w @ vector + b)
        return torch.cat(weights), torch.cat(biases)

    def _rows(self, weight: Tensor, bias: Tensor) -> Iterator[tuple[Adapter, Tensor, Tensor]]:
        count = len(self.adapters)
        adapters = (cast(Adapter, adapter) for adapter in self.adapters)
        return zip(adapters, weight.chunk(count), bias.chunk(count))


class AdaptedBehind(AdaptedLinear):
    """One adapter behind."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., D)."""
        return self.adapters[0](super().forward(x))

    def merged(self) -> tuple[Tensor, Tensor]:
        """See `AdaptedLinear`."""
        matrix, vector = cast(Adapter, self.adapters[0]).map()
        return matrix @ self.weight.double(), matrix @ self.bias.double() + vector


def adapt(
    block: Block, name: str, width: int, config: AdapterConfig, **factory: Unpack[Factory]
) -> None:
    """Puts adapters at the linear layers of a block, in place; `name` is that in its network."""
    places = {"qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    for layer in config.layers:
        linear = cast(AdaptedLinear, block.get_submodule(places[layer]))
        linear.__class__ = AdaptedBefore if layer in FRONT else AdaptedBehind
        count = 3 if layer == "qkv" and config.separate else 1
        linear.adapters = nn.ModuleList(
            Adapter(f"{name}.{layer}.{i}", width, config, **factory) for i in range(count)
        )


class ZeroI2V(VideoTower):
    """Clips (B, 3, T, S, S) -> logits (B, K) of what is done in them."""

    NEW = ("*.adapters.*", "temporal_embed", "head.*")

    def __init__(self, config: ZeroI2VConfig, **factory: Unpack[Factory]) -> None:
        patches = PatchEmbed((config.patch_size,) * 2, config.width, bias=False, **factory)
        super().__init__(config, patches, **factory)
        self.config = config
        self.temporal_embed = nn.Parameter(
            torch.empty(1, config.num_frames, config.width, **factory)
        )
        self.blocks = nn.ModuleList(
            _block(f"blocks.{i}", config, **factory) for i in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width, eps=config.eps, **factory)
        self.head = nn.Linear(config.width, config.num_classes, **factory)
        self.dropout = Dropout(config.dropout, "head")
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """At first frames of one kind are seen as by the image tower; the head is the authors'."""
        self.init_tokens()
        nn.init.zeros_(self.temporal_embed)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        for module in self.modules():
            if isinstance(module, Adapter):
                module.reset_parameters()

    @torch.no_grad()
    def merge_adapters(self) -> None:
        """Makes the adapters part of the weights, in place: the network is as large as CLIP's.

        Sums are taken in float64.

        Raises:
            InputError: the adapters are not linear.
        """
        adapted = [module for module in self.modules() if isinstance(module, AdaptedLinear)]
        for linear, (weight, bias) in [(linear, linear.merged()) for linear in adapted]:
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
            del linear.adapters
            linear.__class__ = nn.Linear  # type: ignore[assignment]
        self.config = replace(self.config, adapters=None)

    def frame_features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S), normalized -> the normed class token of each frame (B, T, D).

        A clip of one frame is a picture, which stands at the time of the first.

        Raises:
            InputError: they have another size.
        """
        num_frames, size = self.config.num_frames, self.config.image_size
        sizes = [(3, frames, size, size) for frames in (1, num_frames)]
        if x.ndim != 5 or x.shape[1:] not in sizes:
            raise InputError(
                f"ZeroI2V reads clips (B, 3, {num_frames}, {size}, {size}), or of one frame, not "
                f"{tuple(x.shape)}"
            )
        times = self.temporal_embed[:, : x.shape[2], None]
        tokens = self.placed(self.patch_embed(to_frames(x))).unflatten(0, (-1, x.shape[2]))
        x_BTND = self.norm_pre(tokens + times)
        return self.norm(self.through(self.blocks, x_BTND, None)[:, :, 0])

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S), normalized -> features (B, D), the mean over frames."""
        return self.frame_features(x).mean(1)


def _block(name: str, config: ZeroI2VConfig, **factory: Unpack[Factory]) -> Block:
    width = config.width
    qkv = nn.Linear(width, 3 * width, **factory)
    attn = ShiftedAttention(Site(f"{name}.attn", "self"), config, qkv, **factory)
    mlp = MLP(width, 4 * width, quick_gelu, **factory)
    block = Block(attn, mlp, width, eps=config.eps, **factory)
    if config.adapters is not None:
        adapt(block, name, width, config.adapters, **factory)
    return block
