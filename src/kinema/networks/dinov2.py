"""DINOv2: Learning Robust Visual Features without Supervision (arXiv 2304.07193): its ViTs.

Authors' code: github.com/facebookresearch/dinov2 (Apache-2.0), ``DinoVisionTransformer``; parameter
names are theirs. Verified: names and shapes of all published sizes and, at random weights, features
against their class and against transformers' ``Dinov2Model`` (5.23.0), at the size of the table and
at others. Left out: registers (arXiv 2309.16588) and drop path.

Letters: B images, P patches, N = 1 + P tokens, D width, F width inside an MLP.
"""

from __future__ import annotations

from typing import Literal, Unpack

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from kinema.config import config
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from kinema.errors import InputError
from kinema.networks.vit import (
    MLP,
    Block,
    ImageFeatures,
    PatchEmbed,
    ViTConfig,
    grown,
    plain_attention,
)
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory

# The authors' ``make_classification_eval_transform``.
PREPROCESSING = Preprocessing(
    shorter_side=256,
    size=224,
    interpolation="bicubic",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)


@config
class DINOv2Config(ViTConfig):
    """Sizes of the encoder; `image_size` is that of the table of positions.

    Args:
        mlp: linear layers with GELU, or SwiGLU.
        offset: see `vit.grown`: 0.1 in the authors' code, 0 in transformers. It changes what is
            seen at any other size than `image_size`, also at that of `PREPROCESSING`.
    """

    mlp: Literal["gelu", "swiglu"]
    offset: float


def vit_s_14() -> DINOv2Config:
    """ViT-S/14: 22,056,576 parameters."""
    return _published(width=384, num_layers=12, mlp="gelu")


def vit_b_14() -> DINOv2Config:
    """ViT-B/14: 86,580,480 parameters."""
    return _published(width=768, num_layers=12, mlp="gelu")


def vit_l_14() -> DINOv2Config:
    """ViT-L/14: 304,368,640 parameters."""
    return _published(width=1024, num_layers=24, mlp="gelu")


def vit_g_14() -> DINOv2Config:
    """ViT-g/14: 1,136,480,768 parameters."""
    return _published(width=1536, num_layers=40, mlp="swiglu")


def _published(*, width: int, num_layers: int, mlp: Literal["gelu", "swiglu"]) -> DINOv2Config:
    return DINOv2Config(
        image_size=518,
        patch_size=14,
        width=width,
        num_layers=num_layers,
        num_heads=width // 64,
        mlp=mlp,
        offset=0.1,
    )


class SwiGLU(nn.Module):
    """silu(a) b, with a and b linear in the input, and a linear layer behind.

    Source: GLU Variants Improve Transformer (arXiv:2002.05202), with biases. F is two thirds of
    4 D, rounded up to a multiple of 8, so that there are as many parameters as in an MLP.
    """

    def __init__(self, width: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        hidden = -(int(4 * width * 2 / 3) // -8) * 8
        self.w12 = nn.Linear(width, 2 * hidden, **factory)
        self.w3 = nn.Linear(hidden, width, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        a, b = self.w12(x).chunk(2, -1)
        return self.w3(functional.silu(a) * b)


class LayerScale(nn.Module):
    """A learned scale of each channel (arXiv:2103.17239); 1 at first, here."""

    def __init__(self, width: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width, **factory))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return x * self.gamma


class ScaledBlock(Block):
    """`vit.Block` with a `LayerScale` behind attention and MLP."""

    def __init__(self, name: str, config: DINOv2Config, **factory: Unpack[Factory]) -> None:
        width = config.width
        attn = plain_attention(f"{name}.attn", width, config.num_heads, **factory)
        mlp: nn.Module
        if config.mlp == "swiglu":
            mlp = SwiGLU(width, **factory)
        else:
            mlp = MLP(width, 4 * width, functional.gelu, **factory)
        super().__init__(attn, mlp, width, eps=config.eps, **factory)
        self.ls1 = LayerScale(width, **factory)
        self.ls2 = LayerScale(width, **factory)

    def forward(self, x_BND: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x_BND = x_BND + self.ls1(self.attn(self.norm1(x_BND), mask))
        return x_BND + self.ls2(self.mlp(self.norm2(x_BND)))


class DINOv2(Checkpointed):
    """Images of any size in patches -> class token and patches, after the last norm."""

    def __init__(self, config: DINOv2Config, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width, **factory))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.num_patches, width, **factory))
        self.mask_token = nn.Parameter(torch.empty(1, width, **factory))
        self.patch_embed = PatchEmbed((config.patch_size,) * 2, width, bias=True, **factory)
        self.blocks = nn.ModuleList(
            ScaledBlock(f"blocks.{i}", config, **factory) for i in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width, eps=config.eps, **factory)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The authors' first values of tables and tokens; other weights are as torch draws them."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.zeros_(self.mask_token)

    def features(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W), normalized -> class tokens (B, D) after the norm."""
        return self(x, None).summary

    def forward(self, x: Tensor, masked: Tensor | None) -> ImageFeatures:
        """Images (B, 3, H, W), normalized -> class tokens (B, D), patches (B, P, D).

        Args:
            x: height and width are multiples of the patch.
            masked: (B, P) bool, patches in whose place the mask token stands, as in training.

        Raises:
            InputError: the images have another size.
        """
        _, channels, height, width = x.shape
        patch = self.config.patch_size
        if channels != 3 or height % patch or width % patch:
            raise InputError(
                f"DINOv2 reads images (B, 3, H, W) with sides that {patch} divides, "
                f"not {tuple(x.shape)}"
            )
        patches = self.patch_embed(x)
        if masked is not None:
            patches = torch.where(masked[..., None], self.mask_token, patches)
        size = (height // patch, width // patch)
        patches = patches + grown(self.pos_embed[:, 1:], size, offset=self.config.offset)
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        x_BND = self.norm(self.through(self.blocks, torch.cat([cls, patches], 1), None))
        return ImageFeatures(x_BND[:, 0], x_BND[:, 1:])
