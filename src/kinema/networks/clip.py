"""CLIP: Learning Transferable Visual Models From Natural Language Supervision (arXiv 2103.00020).

Authors' code: github.com/openai/CLIP (MIT), ``CLIP`` with a ``VisionTransformer``. Verified: names
and shapes of all published ViTs and, at random weights, features and logits against their class
and against transformers' ``CLIPModel`` (5.23.0). Left out: the ResNets.

Letters: B images, C texts, L pieces of words, N tokens of an image, D width, E width of the
features.
"""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor, nn

from kinema.config import config
from kinema.data.preprocessing import Preprocessing
from kinema.errors import InputError
from kinema.networks.vit import PatchEmbed, ViTConfig, check_heads, plain_block
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory

EPS = 1e-5
TEMPERATURE = 0.07  # of the logits, at first

# The authors' ``_transform``, for all sizes below.
PREPROCESSING = Preprocessing(
    shorter_side=224,
    size=224,
    interpolation="bicubic",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
)


@config
class TextTowerConfig:
    """Sizes of the text encoder, which reads up to `max_tokens` pieces of a `vocabulary`."""

    vocabulary: int
    max_tokens: int
    width: int
    num_layers: int
    num_heads: int

    def __post_init__(self) -> None:
        check_heads(self.width, self.num_heads)


@config
class CLIPConfig:
    """Sizes of both encoders; `embed_width` is E."""

    image: ViTConfig
    text: TextTowerConfig
    embed_width: int


def vit_b_32() -> CLIPConfig:
    """ViT-B/32: 151,277,313 parameters."""
    return _base(32)


def vit_b_16() -> CLIPConfig:
    """ViT-B/16: 149,620,737 parameters."""
    return _base(16)


def vit_l_14() -> CLIPConfig:
    """ViT-L/14 at 224 pixels: 427,616,513 parameters."""
    image = ViTConfig(
        image_size=224, patch_size=14, width=1024, num_layers=24, num_heads=16, eps=EPS
    )
    return CLIPConfig(image=image, text=_text(768), embed_width=768)


def _base(patch_size: int) -> CLIPConfig:
    image = ViTConfig(
        image_size=224, patch_size=patch_size, width=768, num_layers=12, num_heads=12, eps=EPS
    )
    return CLIPConfig(image=image, text=_text(512), embed_width=512)


def _text(width: int) -> TextTowerConfig:
    return TextTowerConfig(
        vocabulary=49_408, max_tokens=77, width=width, num_layers=12, num_heads=width // 64
    )


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), an approximation of GELU (arXiv:1606.08415, section 2)."""
    return x * torch.sigmoid(1.702 * x)


def blocks(
    name: str, sizes: ViTConfig | TextTowerConfig, *, eps: float, **factory: Unpack[Factory]
) -> nn.ModuleList:
    """The blocks of a tower, which has this name in its network; `eps` is that of their norms."""
    return nn.ModuleList(
        plain_block(
            f"{name}.blocks.{i}",
            sizes.width,
            sizes.num_heads,
            activation=quick_gelu,
            eps=eps,
            **factory,
        )
        for i in range(sizes.num_layers)
    )


class ImageTower(Checkpointed):
    """Images (B, 3, S, S) -> features (B, E), from the class token."""

    def __init__(self, config: CLIPConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = sizes = config.image
        self.class_embedding = nn.Parameter(torch.empty(sizes.width, **factory))
        self.pos_embed = nn.Parameter(torch.empty(1 + sizes.num_patches, sizes.width, **factory))
        self.patch_embed = PatchEmbed((sizes.patch_size,) * 2, sizes.width, bias=False, **factory)
        self.norm_pre = nn.LayerNorm(sizes.width, eps=sizes.eps, **factory)
        self.blocks = blocks("image", sizes, eps=sizes.eps, **factory)
        self.norm = nn.LayerNorm(sizes.width, eps=sizes.eps, **factory)
        self.proj = nn.Linear(sizes.width, config.embed_width, bias=False, **factory)

    def forward(self, images: Tensor) -> Tensor:
        """See the class; images are normalized as `PREPROCESSING` does.

        Raises:
            InputError: they have another size.
        """
        size = self.config.image_size
        if images.shape[1:] != (3, size, size):
            raise InputError(f"CLIP reads images (B, 3, {size}, {size}), not {tuple(images.shape)}")
        patches = self.patch_embed(images)
        cls = self.class_embedding.expand(len(images), 1, -1)
        x_BND = self.norm_pre(torch.cat([cls, patches], 1) + self.pos_embed)
        return self.proj(self.norm(self.through(self.blocks, x_BND, None)[:, 0]))


class TextTower(Checkpointed):
    """Pieces of words (C, L) -> features (C, E), from the token that ends each text."""

    def __init__(self, config: CLIPConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = sizes = config.text
        self.token_embedding = nn.Embedding(sizes.vocabulary, sizes.width, **factory)
        self.pos_embed = nn.Parameter(torch.empty(sizes.max_tokens, sizes.width, **factory))
        self.blocks = blocks("text", sizes, eps=EPS, **factory)
        self.norm = nn.LayerNorm(sizes.width, eps=EPS, **factory)
        self.proj = nn.Linear(sizes.width, config.embed_width, bias=False, **factory)

    def forward(self, ids: Tensor) -> Tensor:
        """See the class. The end has the largest id; what follows it is padding and not read.

        Raises:
            InputError: there are more pieces than the tower has positions.
        """
        length, longest = ids.shape[1], self.config.max_tokens
        if length > longest:
            raise InputError(f"CLIP reads up to {longest} pieces of words, not {length}")
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        x_CLD = self.token_embedding(ids) + self.pos_embed[:length]
        x_CLD = self.norm(self.through(self.blocks, x_CLD, causal))
        end = ids.argmax(1)
        return self.proj(x_CLD[torch.arange(len(ids), device=ids.device), end])


class CLIP(Checkpointed):
    """Both towers, and how alike what they see is."""

    def __init__(self, config: CLIPConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.image = ImageTower(config, **factory)
        self.text = TextTower(config, **factory)
        self.logit_scale = nn.Parameter(torch.empty((), **factory))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Embeddings, projections and scale as the authors have them; the rest is torch's."""
        image, text = self.image, self.text
        for weight in (image.class_embedding, image.pos_embed, image.proj.weight):
            nn.init.normal_(weight, std=self.config.image.width**-0.5)
        nn.init.normal_(text.token_embedding.weight, std=0.02)
        nn.init.normal_(text.pos_embed, std=0.01)
        nn.init.normal_(text.proj.weight, std=self.config.text.width**-0.5)
        nn.init.constant_(self.logit_scale, math.log(1 / TEMPERATURE))

    def features(self, x: Tensor) -> Tensor:
        """Images (B, 3, S, S), normalized -> features (B, E) of any length. See `ImageTower`."""
        return self.image(x)

    def text_features(self, ids: Tensor) -> Tensor:
        """Pieces of words (C, L) -> features (C, E) of any length. See `TextTower`."""
        return self.text(ids)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """Images (B, 3, S, S) and texts (C, L) -> logits (B, C): scaled cosines of features."""
        image, text = (
            features / features.norm(dim=1, keepdim=True)
            for features in (self.features(x), self.text_features(ids))
        )
        return self.logit_scale.exp() * image @ text.T
