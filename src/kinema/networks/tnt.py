"""Transformer in Transformer (arXiv 2103.00112): a ViT that looks inside its patches too.

Authors' code: github.com/huawei-noah/Efficient-AI-Backbones (Apache-2.0), ``tnt_pytorch``. Verified
by a recorded case: words, both transformers of a block, features, logits; by manifests: the
published sizes S and B. Inferred: the size Ti, from the paper's table. Drop path is as theirs,
with keyed noise. Left out are dropout, and the gate behind the MLP (``se``), which no published
size has.

A picture's patches are its sentences, the parts of a patch the words of a sentence. Words attend to
those of their own sentence; what they found is added to the sentence in every block.

Letters: B batch, N patches, W words of a patch, D width of a sentence, E of a word, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.networks.official import check_arguments
from kinema.networks.vit import MLP, Attention, Block, ViTConfig, check_heads
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.dropping import DropPath, linear_rates
from kinema.nn.factory import Factory
from kinema.nn.init import initialize_vit
from kinema.nn.sites import Site

KERNEL = 7  # of the convolution that makes words


@config
class TNTConfig(ViTConfig):
    """Sizes; width and heads of a ViT are those of the sentences.

    Args:
        word_width: E.
        word_heads: of the attention among words.
        word_stride: pixels between words.
        num_classes: K.
        drop_path: share of residuals that are dropped in training by the last block; the others
            drop evenly fewer, the first none.
    """

    word_width: int
    word_heads: int
    word_stride: int
    num_classes: int
    drop_path: float

    def __post_init__(self) -> None:
        ViTConfig.__post_init__(self)
        check_heads(self.word_width, self.word_heads)
        if self.word_stride < 1:
            raise InputError(f"word_stride must be at least 1, not {self.word_stride}")

    @property
    def num_words(self) -> int:
        """W."""
        return (-(-self.patch_size // self.word_stride)) ** 2


def tnt_ti(num_classes: int) -> TNTConfig:
    """TNT-Ti of the paper's table of sizes: 6,076,408 parameters for 1000 classes."""
    return _published(192, num_heads=3, word_width=12, word_heads=2, num_classes=num_classes)


def tnt_s(num_classes: int) -> TNTConfig:
    """TNT-S: 23,768,584 parameters for 1000 classes, and 75,264 zeros that nothing reads."""
    return _published(384, num_heads=6, word_width=24, word_heads=4, num_classes=num_classes)


def tnt_b(num_classes: int) -> TNTConfig:
    """TNT-B: 65,428,680 parameters for 1000 classes, and 125,440 zeros that nothing reads."""
    return _published(640, num_heads=10, word_width=40, word_heads=4, num_classes=num_classes)


def _published(
    width: int, *, num_heads: int, word_width: int, word_heads: int, num_classes: int
) -> TNTConfig:
    return TNTConfig(
        image_size=224,
        patch_size=16,
        width=width,
        num_layers=12,
        num_heads=num_heads,
        eps=1e-5,
        word_width=word_width,
        word_heads=word_heads,
        word_stride=4,
        num_classes=num_classes,
        drop_path=0.1,
    )


SIZES = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "outer_dim": "width",
    "depth": "num_layers",
    "outer_num_heads": "num_heads",
    "inner_dim": "word_width",
    "inner_num_heads": "word_heads",
    "inner_stride": "word_stride",
    "num_classes": "num_classes",
    "drop_path_rate": "drop_path",
}
FIXED: dict[str, tuple[Any, ...]] = {
    "in_chans": (3,),
    "mlp_ratio": (4.0,),
    "qkv_bias": (False,),
    "qk_scale": (None,),
    "drop_rate": (0.0,),
    "attn_drop_rate": (0.0,),
    "se": (0,),
}


def from_official(official: Mapping[str, Any]) -> TNTConfig:
    """Reads the constructor arguments of the authors' ``TNT``.

    Raises:
        InputError: an argument is unknown or missing, or asks for what we leave out.
    """
    official = {"drop_path_rate": 0.0, **official}
    check_arguments("TNT", official, needed=SIZES, optional=(), fixed=FIXED)
    named = {ours: official[theirs] for theirs, ours in SIZES.items()}
    return from_dict(TNTConfig, {**named, "eps": 1e-5}, where="TNT")


class QueryKeyAndValue(nn.Module):
    """(..., D) -> (..., 3 D): queries and keys by one layer, values by another, without biases."""

    def __init__(self, width: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.qk = nn.Linear(width, 2 * width, bias=False, **factory)
        self.v = nn.Linear(width, width, bias=False, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([self.qk(x), self.v(x)], dim=-1)


class Transformer(Block):
    """A block of either transformer.

    Args:
        name: of the block in its network.
        width, num_heads: of what attends.
        eps: of the norms.
        drop_path: share of residuals that are dropped in training.
    """

    def __init__(
        self,
        name: str,
        width: int,
        num_heads: int,
        *,
        eps: float,
        drop_path: float,
        **factory: Unpack[Factory],
    ) -> None:
        qkv = QueryKeyAndValue(width, **factory)
        attn = Attention(Site(f"{name}.attn", "self"), width, num_heads, qkv, **factory)
        super().__init__(attn, MLP(width, 4 * width, F.gelu, **factory), width, eps=eps, **factory)
        self.drop_attn = DropPath(drop_path, f"{name}.attn")
        self.drop_mlp = DropPath(drop_path, f"{name}.mlp")

    def forward(self, x_BND: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x_BND = x_BND + self.drop_attn(self.attn(self.norm1(x_BND), mask))
        return x_BND + self.drop_mlp(self.mlp(self.norm2(x_BND)))


class WordEmbed(nn.Module):
    """Pictures (B, 3, S, S) -> words (B N, W, E) of their patches, both row by row.

    Each patch is convolved by itself, between zeros: a word at its edge sees nothing beyond.
    """

    def __init__(self, config: TNTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.proj = nn.Conv2d(
            3, config.word_width, KERNEL, config.word_stride, KERNEL // 2, **factory
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        p = self.patch_size
        patches = rearrange(x, "b c (y p) (x q) -> (b y x) c p q", p=p, q=p)
        return self.proj(patches).flatten(2).transpose(1, 2)


class Fold(nn.Module):
    """Words (B N, W, E) -> what they say of their sentences (B, N, D), between two norms."""

    def __init__(self, config: TNTConfig, *, bias: bool, **factory: Unpack[Factory]) -> None:
        super().__init__()
        width = config.num_words * config.word_width
        self.num_patches = config.num_patches
        self.norm1 = nn.LayerNorm(width, eps=config.eps, **factory)
        self.proj = nn.Linear(width, config.width, bias=bias, **factory)
        self.norm2 = nn.LayerNorm(config.width, eps=config.eps, **factory)

    def forward(self, words: Tensor) -> Tensor:
        """See the class."""
        x = rearrange(words, "(b n) w e -> b n (w e)", n=self.num_patches)
        return self.norm2(self.proj(self.norm1(x)))


class TNTBlock(Checkpointed):
    """Words attend within their sentence and are added to it; then sentences attend."""

    def __init__(
        self, name: str, config: TNTConfig, drop_path: float, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        rest = {"eps": config.eps, "drop_path": drop_path}
        self.inner = Transformer(
            f"{name}.inner", config.word_width, config.word_heads, **rest, **factory
        )
        self.fold = Fold(config, bias=False, **factory)
        self.outer = Transformer(f"{name}.outer", config.width, config.num_heads, **rest, **factory)

    def forward(self, words: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor]:
        """Words (B N, W, E) and sentences (B, 1 + N, D), the class token first -> both anew.

        Source: section 2 of the paper; as in the authors' code nothing is added to the class token.
        """
        words = self.run_block(self.inner, words, None)
        cls, patches = sentences[:, :1], sentences[:, 1:]
        sentences = torch.cat([cls, patches + self.fold(words)], dim=1)
        return words, self.run_block(self.outer, sentences, None)


class TNT(Checkpointed):
    """Pictures (B, 3, S, S), normalized -> logits (B, K)."""

    outer_tokens: Tensor

    def __init__(self, config: TNTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        width, num_patches = config.width, config.num_patches
        self.patch_embed = WordEmbed(config, **factory)
        self.fold = Fold(config, bias=True, **factory)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width, **factory))
        self.outer_pos = nn.Parameter(torch.empty(1, 1 + num_patches, width, **factory))
        self.inner_pos = nn.Parameter(
            torch.empty(1, config.num_words, config.word_width, **factory)
        )
        # Nothing reads these zeros; they are in every published file, and in ours for their sake.
        self.register_buffer("outer_tokens", torch.zeros(1, num_patches, width, **factory))
        self.blocks = nn.ModuleList(
            TNTBlock(f"blocks.{i}", config, rate, **factory)
            for i, rate in enumerate(linear_rates(config.drop_path, config.num_layers))
        )
        self.norm = nn.LayerNorm(width, eps=config.eps, **factory)
        self.head = nn.Linear(width, config.num_classes, **factory)
        initialize_vit(self, self.cls_token, self.outer_pos, self.inner_pos)

    def forward_features(self, x: Tensor) -> Tensor:
        """Pictures -> the state (B, D) of the class token behind the last norm.

        Raises:
            InputError: the pictures have another size, for which there are no positions.
        """
        size = self.config.image_size
        if x.ndim != 4 or x.shape[1:] != (3, size, size):
            raise InputError(f"TNT reads pictures (B, 3, {size}, {size}), not {tuple(x.shape)}")
        words = self.patch_embed(x) + self.inner_pos
        cls = self.cls_token.expand(x.shape[0], -1, -1)
        sentences = torch.cat([cls, self.fold(words)], dim=1) + self.outer_pos
        for block in self.blocks:
            words, sentences = block(words, sentences)
        return self.norm(sentences[:, 0])

    def forward_head(self, features: Tensor) -> Tensor:
        """Features (B, D) -> logits (B, K)."""
        return self.head(features)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.forward_head(self.forward_features(x))
