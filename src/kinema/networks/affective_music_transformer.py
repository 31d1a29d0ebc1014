"""The Affective Multimodal Transformer (AMT) of Video2Music (arXiv 2311.00968).

Authors' code: github.com/AMAAI-Lab/Video2Music (MIT), ``VideoMusicTransformer``. Verified against
it: architecture, the skewed relative positions, names of parameters. Different: no dropout (theirs
is 0.1 in training), and a key for each row, where theirs takes one for the batch.

Four of its tensors are in the authors' files but never used: `UNUSED`.

Letters: B batch, L chords, T seconds of video, F features, D width, H heads, K head width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.condition import Conditions, Tokens, Vector
from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.media.chords import NUM_CHORDS, NUM_QUALITIES, NUM_ROOTS
from kinema.networks.official import check_arguments
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory
from kinema.nn.sites import Site, attend

UNUSED = ("embedding", "condition_linear", "Wout_root", "Wout_attr")


@config
class AffectiveMusicTransformerConfig:
    """Sizes of the transformer.

    Args:
        num_layers: of the encoder, and as many of the decoder.
        num_heads: H.
        width: D.
        hidden: width of the feed-forward layers.
        num_features: F.
        max_seconds: the longest video.
        max_chords: the longest sequence of chords.
    """

    num_layers: int
    num_heads: int
    width: int
    hidden: int
    num_features: int
    max_seconds: int
    max_chords: int

    def __post_init__(self) -> None:
        if self.width % 2 or self.width % self.num_heads:
            raise InputError(
                f"width {self.width} must be even and divisible by {self.num_heads} heads"
            )


def amt() -> AffectiveMusicTransformerConfig:
    """The published model: 32,517,310 parameters."""
    return AffectiveMusicTransformerConfig(
        num_layers=6,
        num_heads=8,
        width=512,
        hidden=1024,
        num_features=776,
        max_seconds=300,
        max_chords=300,
    )


SIZES = {
    "n_layers": "num_layers",
    "num_heads": "num_heads",
    "d_model": "width",
    "dim_feedforward": "hidden",
    "total_vf_dim": "num_features",
    "max_sequence_video": "max_seconds",
    "max_sequence_chord": "max_chords",
}
FIXED = {"rpr": (True,)}  # relative positions
IDLE = ("dropout", "max_sequence_midi")  # of training alone; read by nothing


def from_official(official: Mapping[str, Any]) -> AffectiveMusicTransformerConfig:
    """Reads the constructor arguments of the authors' ``VideoMusicTransformer``.

    Raises:
        InputError: an argument is unknown or missing, or it is a model without relative positions.
    """
    check_arguments("the AMT", official, needed=(*SIZES, "rpr"), optional=IDLE, fixed=FIXED)
    named = {ours: official[theirs] for theirs, ours in SIZES.items()}
    return from_dict(AffectiveMusicTransformerConfig, named, where="the AMT")


def relative_logits(q: Tensor, table: Tensor) -> Tensor:
    """Logits (B, H, L, L) of queries q (B, H, L, K) for the distance to each earlier key.

    Row i, column j <= i is q_i times the row of the table (N, K), N >= L, that lies i - j before
    its last; columns beyond the diagonal hold nothing of meaning. The "skewing" of Music
    Transformer (arXiv 1809.04281), section 3.4.1.
    """
    length = q.shape[-2]
    logits = q @ table[-length:].T  # the column stands for a distance: L - 1, ..., 0
    return F.pad(logits, (1, 0)).reshape(*q.shape[:2], length + 1, length)[:, :, 1:]


class Attention(nn.Module):
    """Multi-head attention under torch's parameter names, all projections with bias."""

    def __init__(self, site: Site, width: int, num_heads: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.site, self.num_heads = site, num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width, **factory))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width, **factory))
        self.out_proj = nn.Linear(width, width, **factory)

    def forward(self, x_BLD: Tensor, context_BTD: Tensor) -> Tensor:
        """x attends to the context."""
        q, k, v = self.heads(x_BLD, context_BTD)
        return self.joined(attend(self.site, q, k, v, None))

    def heads(self, x_BLD: Tensor, context_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, L, K), keys and values (B, H, T, K)."""
        parts = zip(self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3))
        sources = (x_BLD, context_BTD, context_BTD)
        q, k, v = (
            rearrange(F.linear(y, *part), "b n (h k) -> b h n k", h=self.num_heads)
            for y, part in zip(sources, parts)
        )
        return q, k, v

    def joined(self, x_BHLK: Tensor) -> Tensor:
        """The heads as one, projected: (B, L, D)."""
        return self.out_proj(rearrange(x_BHLK, "b h n k -> b n (h k)"))


class RelativeAttention(Attention):
    """Causal self-attention whose logits also depend on how far back a key lies."""

    def __init__(
        self, site: Site, width: int, num_heads: int, max_length: int, **factory: Unpack[Factory]
    ) -> None:
        super().__init__(site, width, num_heads, **factory)
        self.Er = nn.Parameter(torch.empty(max_length, width // num_heads, **factory))

    def forward(self, x_BLD: Tensor, context_BTD: Tensor) -> Tensor:
        """x attends to itself, given as the context too, up to each place."""
        q, k, v = self.heads(x_BLD, context_BTD)
        length = x_BLD.shape[1]
        past = torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
        # The queries are scaled before they meet the table, as they are before they meet the keys.
        bias = relative_logits(q * q.shape[-1] ** -0.5, self.Er)
        return self.joined(attend(self.site, q, k, v, bias.masked_fill(~past, -math.inf)))


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward layer, each normed after it is added (post-norm)."""

    def __init__(
        self, name: str, config: AffectiveMusicTransformerConfig, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        site = Site(f"{name}.self_attn", "self")
        self.self_attn = Attention(site, config.width, config.num_heads, **factory)
        self.linear1 = nn.Linear(config.width, config.hidden, **factory)
        self.linear2 = nn.Linear(config.hidden, config.width, **factory)
        self.norm1 = nn.LayerNorm(config.width, **factory)
        self.norm2 = nn.LayerNorm(config.width, **factory)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x_BTD = self.norm1(x_BTD + self.self_attn(x_BTD, x_BTD))
        return self.norm2(x_BTD + self.linear2(F.relu(self.linear1(x_BTD))))


class DecoderLayer(nn.Module):
    """Relative causal self-attention, attention to the video, a feed-forward layer (post-norm)."""

    def __init__(
        self, name: str, config: AffectiveMusicTransformerConfig, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        width, heads = config.width, config.num_heads
        own, video = Site(f"{name}.self_attn", "self"), Site(f"{name}.multihead_attn", "cross")
        self.self_attn = RelativeAttention(own, width, heads, config.max_chords, **factory)
        self.multihead_attn = Attention(video, width, heads, **factory)
        self.linear1 = nn.Linear(width, config.hidden, **factory)
        self.linear2 = nn.Linear(config.hidden, width, **factory)
        self.norm1 = nn.LayerNorm(width, **factory)
        self.norm2 = nn.LayerNorm(width, **factory)
        self.norm3 = nn.LayerNorm(width, **factory)

    def forward(self, x_BLD: Tensor, video_BTD: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        x_BLD = self.norm1(x_BLD + self.self_attn(x_BLD, x_BLD))
        x_BLD = self.norm2(x_BLD + self.multihead_attn(x_BLD, video_BTD))
        return self.norm3(x_BLD + self.linear2(F.relu(self.linear1(x_BLD))))


class Stack(Checkpointed):
    """Layers and the norm behind the last."""

    def __init__(self, layers: list[nn.Module], width: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width, **factory)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """x (B, L, D) through all layers, which take the context beside it."""
        return self.norm(self.through(self.layers, x, *context))


class Sinusoids(nn.Module):
    """Adds the sinusoids of the Transformer (arXiv 1706.03762), sine and cosine in turn."""

    pe: Tensor

    def __init__(self, max_length: int, width: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        device = factory.get("device")
        place = torch.arange(max_length, device=device, dtype=torch.float32)[:, None]
        step = -math.log(10_000.0) / width
        frequency = torch.exp(torch.arange(0, width, 2, device=device, dtype=torch.float32) * step)
        table = torch.stack([(place * frequency).sin(), (place * frequency).cos()], -1).flatten(1)
        self.register_buffer("pe", table[:, None].to(factory.get("dtype") or torch.float32))

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        return x_BLD + self.pe[: x_BLD.shape[1], 0]


class AffectiveMusicTransformer(Checkpointed):
    """Predicts the next chord from those before it and from the features of a video.

    Conditions: ``video``, Tokens (B, T, F), and ``key``, Vector (B, 1): 0 major, 1 minor.
    """

    def __init__(self, config: AffectiveMusicTransformerConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        width, layers = config.width, range(config.num_layers)
        self.config = config
        self.embedding = nn.Embedding(NUM_CHORDS, width, **factory)
        self.embedding_root = nn.Embedding(NUM_ROOTS, width, **factory)
        self.embedding_attr = nn.Embedding(NUM_QUALITIES, width, **factory)
        self.Linear_vis = nn.Linear(config.num_features, width, **factory)
        self.Linear_chord = nn.Linear(width + 1, width, **factory)
        self.positional_encoding = Sinusoids(config.max_chords, width, **factory)
        self.positional_encoding_video = Sinusoids(config.max_seconds, width, **factory)
        self.condition_linear = nn.Linear(1, width, **factory)
        encoder = [
            EncoderLayer(f"transformer.encoder.layers.{i}", config, **factory) for i in layers
        ]
        decoder = [
            DecoderLayer(f"transformer.decoder.layers.{i}", config, **factory) for i in layers
        ]
        self.transformer = nn.ModuleDict(
            {
                "encoder": Stack([*encoder], width, **factory),
                "decoder": Stack([*decoder], width, **factory),
            }
        )
        self.Wout = nn.Linear(width, NUM_CHORDS, **factory)
        self.Wout_root = nn.Linear(width, NUM_ROOTS, **factory)
        self.Wout_attr = nn.Linear(width, NUM_QUALITIES, **factory)
        if self.Wout.weight.device.type != "meta":
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """The start of training: matrices of the layers are Xavier-uniform, as the authors'."""
        for name, parameter in self.transformer.named_parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
            elif name.endswith("in_proj_bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids: Tensor, conditions: Conditions) -> Tensor:
        """Logits (B, L, 159) of the chord after each, from roots and qualities ids (B, 2, L)."""
        return self.decode(ids, conditions.of(Vector, "key").x, self.encode(conditions))

    def encode(self, conditions: Conditions) -> Tensor:
        """The features of the video, read: (B, T, D)."""
        x = self.Linear_vis(conditions.of(Tokens, "video").x)
        return self.transformer["encoder"](self.positional_encoding_video(x))

    def decode(self, ids: Tensor, key: Tensor, video_BTD: Tensor) -> Tensor:
        """Logits (B, L, 159) from ids (B, 2, L), keys (B, 1) and what `encode` gave."""
        x = self.embedding_root(ids[:, 0]) + self.embedding_attr(ids[:, 1])
        key = key[:, None].expand(-1, x.shape[1], -1).to(x.dtype)
        x = self.positional_encoding(self.Linear_chord(torch.cat([x, key], -1)))
        return self.Wout(self.transformer["decoder"](x, video_BTD))
