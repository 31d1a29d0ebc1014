"""The transformer of LTX-Video: Realtime Video Latent Diffusion (arXiv 2501.00103), 2B and 13B.

Authors' code: github.com/Lightricks/LTX-Video (Apache-2.0), ``Transformer3DModel``; weights
OpenRail-M. Verified against it: architecture, rotary table, skip modes, token order. Parameter
names are the authors'; `position_proj` is ours.

Letters: B batch, N latent tokens, L text tokens, D width, H heads, K head width, C latent channels,
S six modulations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Unpack, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.condition import Conditions, Grid, Tokens
from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.networks.official import check_arguments
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.embeddings import MLPEmbedder, TimeEmbedder
from kinema.nn.factory import Factory
from kinema.nn.norms import RMSNorm
from kinema.nn.sites import Site, attend

MASKED = -10_000.0  # added to the logits of text tokens that are padding
EPS = 1e-6


@config
class LTXTransformerConfig:
    """Sizes of the transformer; its width is heads times head width.

    Args:
        latent_channels: C.
        caption_channels: width of the text encoder's states.
        num_layers: number of blocks.
        num_heads: H.
        head_width: K.
        theta: ratio of the highest to the lowest frequency of the rotary table.
        max_position: seconds, rows and columns in pixels that the rotary table spans.
        time_scale: the network embeds this multiple of t.
        absolute_positions: whether tokens are told their place as well, by a linear layer on the
            rotary table, which itself tells attention distances only; not in the published models.
    """

    latent_channels: int
    caption_channels: int
    num_layers: int
    num_heads: int
    head_width: int
    theta: float = 10_000.0
    max_position: tuple[float, float, float] = (20.0, 2048.0, 2048.0)
    time_scale: float = 1000.0
    absolute_positions: bool = False

    def __post_init__(self) -> None:
        if self.num_layers < 1:
            raise InputError(f"the transformer has {self.num_layers} layers, not 1 or more")
        if self.head_width % 2:
            raise InputError(f"head_width must be even for the rotary table, not {self.head_width}")

    @property
    def width(self) -> int:
        """D."""
        return self.num_heads * self.head_width


def ltx_2b() -> LTXTransformerConfig:
    """The 2B model of versions 0.9.0 to 0.9.8: 1,923,385,472 parameters."""
    return LTXTransformerConfig(
        latent_channels=128, caption_channels=4096, num_layers=28, num_heads=32, head_width=64
    )


def ltx_13b() -> LTXTransformerConfig:
    """The 13B model of versions 0.9.7 and 0.9.8: 13,042,569,344 parameters."""
    return LTXTransformerConfig(
        latent_channels=128, caption_channels=4096, num_layers=48, num_heads=32, head_width=128
    )


# What the published configurations hold beside the sizes; any other value is another network.
FIXED: dict[str, tuple[Any, ...]] = {
    "_class_name": ("Transformer3DModel",),
    "activation_fn": ("gelu-approximate",),
    "adaptive_norm": ("single_scale_shift",),
    "attention_bias": (True,),
    "attention_type": ("default",),
    "causal_temporal_positioning": (True, False),  # positions are made by the system
    "double_self_attention": (False,),
    "dropout": (0.0,),
    "norm_elementwise_affine": (False,),
    "norm_eps": (1e-06,),
    "norm_num_groups": (32,),
    "num_embeds_ada_norm": (1000,),
    "num_vector_embeds": (None,),
    "only_cross_attention": (False,),
    "positional_embedding_type": ("rope",),
    "project_to_2d_pos": (True,),  # of the file of 0.9.0; the authors' class does not read it
    "qk_norm": ("rms_norm",),
    "standardization_norm": ("rms_norm",),
    "upcast_attention": (False,),
    "use_linear_projection": (False,),
    "use_tpu_flash_attention": (True, False),  # a kernel for other hardware, the same numbers
}
SIZES = {
    "in_channels": "latent_channels",
    "caption_channels": "caption_channels",
    "num_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "attention_head_dim": "head_width",
    "positional_embedding_theta": "theta",
    "positional_embedding_max_pos": "max_position",
    "timestep_scale_multiplier": "time_scale",
}


def from_official(official: Mapping[str, Any]) -> LTXTransformerConfig:
    """Reads the constructor arguments of the authors' ``Transformer3DModel``.

    They are the ``config`` in the authors' files.

    Raises:
        InputError: an argument is unknown or missing, or has a value that makes another network.
    """
    optional = ("out_channels", "cross_attention_dim")
    check_arguments("the LTX transformer", official, needed=SIZES, optional=optional, fixed=FIXED)
    named = {ours: official[theirs] for theirs, ours in SIZES.items()}
    read = from_dict(LTXTransformerConfig, named, where="the LTX transformer")
    if official.get("out_channels", read.latent_channels) != read.latent_channels:
        raise InputError("the LTX transformer predicts as many channels as it reads")
    if official.get("cross_attention_dim", read.width) != read.width:
        raise InputError(f"cross_attention_dim must equal the width {read.width}")
    return read


def patchify(latents: Tensor, *, size: int = 1) -> Tensor:
    """Latents (B, C, T, H, W) -> tokens (B, N, C size^2), order frame, row, column."""
    return rearrange(latents, "b c f (h p) (w q) -> b (f h w) (c p q)", p=size, q=size)


def unpatchify(tokens: Tensor, height: int, width: int, *, size: int = 1) -> Tensor:
    """The inverse of `patchify` for latents of `height` x `width`."""
    h, w = height // size, width // size
    return rearrange(tokens, "b (f h w) (c p q) -> b c f (h p) (w q)", h=h, w=w, p=size, q=size)


def latent_positions(
    num_frames: int, height: int, width: int, *, device: torch.device | str, size: int = 1
) -> Tensor:
    """Frame, row and column of the upper left corner of every token: (3, N)."""
    axes = (
        torch.arange(num_frames, device=device),
        torch.arange(0, height, size, device=device),
        torch.arange(0, width, size, device=device),
    )
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)


def pixel_positions(latent: Tensor, stride: tuple[int, int, int], *, causal: bool) -> Tensor:
    """Pixel coordinates (3, N) of latent ones.

    Args:
        latent: frame, row and column (3, N).
        stride: pixels to one latent in time, height and width.
        causal: whether the first latent frame stands for one pixel frame only.
    """
    scale = torch.tensor(stride, device=latent.device)
    pixel = latent * scale[:, None]
    if causal:
        pixel[0] = (pixel[0] + 1 - stride[0]).clamp(min=0)
    return pixel


def rotary_table(
    positions: Tensor, width: int, *, theta: float, max_position: tuple[float, float, float]
) -> Tensor:
    """cos a + i sin a (B, N, width / 2), complex64, for the angles a of pairs of channels.

    Frequencies grow from pi/2 to theta pi/2; positions (B, 3, N), in seconds, rows and columns, are
    fractions of `max_position` mapped to [-1, 1]. Pairs that three axes cannot share evenly come
    first and do not turn (1).
    """
    fraction = torch.stack([positions[:, i] / max_position[i] for i in range(3)], -1)  # (B, N, 3)
    exponents = torch.linspace(0.0, 1.0, width // 6, device=positions.device, dtype=torch.float32)
    frequencies = theta**exponents * math.pi / 2
    angle = (frequencies * (fraction[..., None] * 2 - 1)).transpose(-1, -2).flatten(2)
    angle = F.pad(angle.float(), (width // 2 - angle.shape[-1], 0))
    return torch.polar(torch.ones_like(angle), angle)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turns neighboring pairs x0 + i x1 of x (B, N, D) by the angles of the table, in float32."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Attention; queries and keys are normed, and turned if a table is given, before the split."""

    def __init__(self, site: Site, width: int, num_heads: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.site, self.num_heads = site, num_heads
        self.q_norm = RMSNorm(width, eps=1e-5, **factory)
        self.k_norm = RMSNorm(width, eps=1e-5, **factory)
        self.to_q = nn.Linear(width, width, **factory)
        self.to_k = nn.Linear(width, width, **factory)
        self.to_v = nn.Linear(width, width, **factory)
        self.to_out = nn.Sequential(nn.Linear(width, width, **factory))

    def forward(
        self,
        x_BND: Tensor,
        context_BLD: Tensor,
        table: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """x attends to context; both (B, tokens, D)."""
        q, k = self.q_norm(self.to_q(x_BND)), self.k_norm(self.to_k(context_BLD))
        v = self.to_v(context_BLD)
        if table is not None:
            q, k = rotate(q, table), rotate(k, table)
        q, k, v = (rearrange(y, "b n (h k) -> b h n k", h=self.num_heads) for y in (q, k, v))
        out = attend(self.site, q, k, v, mask)
        return self.to_out(rearrange(out, "b h n k -> b n (h k)"))


class GELUProjection(nn.Module):
    """Linear, GELU (tanh)."""

    def __init__(self, in_dim: int, dim: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.proj = nn.Linear(in_dim, dim, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) -> (..., dim)."""
        h = self.proj(x)
        if torch.is_grad_enabled():
            return F.gelu(h, approximate="tanh")
        return torch.ops.aten.gelu_(h, approximate="tanh")  # h is the largest tensor of a block


class FeedForward(nn.Module):
    """Linear D -> 4D, GELU (tanh), Linear 4D -> D."""

    def __init__(self, width: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        gelu = GELUProjection(width, 4 * width, **factory)
        # Between the two the authors have a dropout, which is off but counts in the names.
        self.net = nn.Sequential(gelu, nn.Identity(), nn.Linear(4 * width, width, **factory))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.net(x)


class Block(nn.Module):
    """Self-attention, cross-attention, feed-forward (paper, section 2.2).

    The first and the last are under the shared AdaLN modulation; cross-attention has neither norm,
    modulation nor gate.
    """

    def __init__(self, name: str, config: LTXTransformerConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        width, heads = config.width, config.num_heads
        self.scale_shift_table = nn.Parameter(torch.empty(6, width, **factory))
        self.attn1 = Attention(Site(f"{name}.attn1", "self"), width, heads, **factory)
        self.attn2 = Attention(Site(f"{name}.attn2", "cross"), width, heads, **factory)
        self.ff = FeedForward(width, **factory)

    def forward(
        self,
        x_BND: Tensor,
        time_BNSD: Tensor,
        table: Tensor,
        text_BLD: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        """(B, N, D) -> (B, N, D); the time is (B, 1 or N, 6, D)."""
        modulation = self.scale_shift_table + time_BNSD
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = modulation.unbind(2)
        y = torch.addcmul(shift_msa, norm(x_BND), 1 + scale_msa)
        x_BND = torch.addcmul(x_BND, gate_msa, self.attn1(y, y, table, None))
        x_BND = x_BND + self.attn2(x_BND, text_BLD, None, mask)
        y = torch.addcmul(shift_mlp, norm(x_BND), 1 + scale_mlp)
        return torch.addcmul(x_BND, gate_mlp, self.ff(y))


def norm(x: Tensor) -> Tensor:
    """RMSNorm over the width, without weight."""
    return F.rms_norm(x, x.shape[-1:], eps=EPS)


class AdaLNSingle(nn.Module):
    """A time embedding e, and the six modulations Linear(SiLU(e)) that all blocks share."""

    def __init__(self, width: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.emb = TimeEmbedder(width, **factory)
        self.linear = nn.Linear(width, 6 * width, **factory)

    def forward(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """(...) -> modulations (..., 6 D) and embedding (..., D)."""
        e = self.emb(time)
        return self.linear(F.silu(e)), e


class CaptionProjection(MLPEmbedder):
    """Linear, GELU (tanh), Linear: from the text encoder's width to D."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, caption channels) -> (B, L, D)."""
        return self.linear_2(F.gelu(self.linear_1(x), approximate="tanh"))


class LTXTransformer(Checkpointed):
    """Predicts the velocity of latent tokens under text (paper, section 2.2).

    Conditions: ``text``, Tokens (B, L, caption_channels), with a mask if some are padding;
    ``positions``, Grid (B, 3, N): seconds, rows and columns in pixels.
    """

    def __init__(self, config: LTXTransformerConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.scale_shift_table = nn.Parameter(torch.empty(2, width, **factory))
        self.patchify_proj = nn.Linear(config.latent_channels, width, **factory)
        if config.absolute_positions:
            self.position_proj = nn.Linear(width, width, **factory)
        self.adaln_single = AdaLNSingle(width, **factory)
        self.caption_projection = CaptionProjection(config.caption_channels, width, **factory)
        self.transformer_blocks = nn.ModuleList(
            Block(f"transformer_blocks.{i}", config, **factory) for i in range(config.num_layers)
        )
        self.proj_out = nn.Linear(width, config.latent_channels, **factory)
        if self.scale_shift_table.device.type != "meta":
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """The start of training: a network that predicts 0 whatever the time and the text.

        Tables are small; modulation by time, cross-attention and the output are 0. Other weights
        are as torch draws them.
        """
        blocks = cast("list[Block]", list(self.transformer_blocks))
        for table in (self.scale_shift_table, *(block.scale_shift_table for block in blocks)):
            nn.init.normal_(table, std=self.config.width**-0.5)
        closed = [self.adaln_single.linear, self.proj_out]
        closed += [cast(nn.Linear, block.attn2.to_out[0]) for block in blocks]
        if self.config.absolute_positions:
            closed.append(self.position_proj)
        for linear in closed:
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        """Velocity (B, N, C) of tokens x (B, N, C) at times (B,) or (B, N) in [0, 1]."""
        text, positions = conditions.of(Tokens, "text"), conditions.of(Grid, "positions")
        time = time if time.ndim == 2 else time[:, None]
        table = rotary_table(
            positions.x,
            self.config.width,
            theta=self.config.theta,
            max_position=self.config.max_position,
        )
        x_BND = self.patchify_proj(x)
        if self.config.absolute_positions:
            x_BND = x_BND + self.position_proj(torch.view_as_real(table).flatten(-2).to(x_BND))
        six, e_BND = self.adaln_single(self.config.time_scale * time)
        time_BNSD = six.unflatten(-1, (6, -1))
        text_BLD = self.caption_projection(text.x)
        mask = None
        if text.mask is not None:
            mask = ((1 - text.mask.to(x_BND.dtype)) * MASKED)[:, None, None]
        blocks = self.transformer_blocks
        x_BND = self.through(blocks, x_BND, time_BNSD, table, text_BLD, mask)
        shift, scale = (self.scale_shift_table + e_BND[:, :, None]).unbind(2)
        return self.proj_out(F.layer_norm(x_BND, x_BND.shape[-1:], eps=EPS) * (1 + scale) + shift)
