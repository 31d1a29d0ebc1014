"""DeiT: Training data-efficient image transformers (arXiv 2012.12877): a plain ViT that classifies.

Authors' code: github.com/facebookresearch/deit (Apache-2.0), timm's ``VisionTransformer``. Verified
by the recorded case of IA-RED^2, whose host it is; parameters of the published sizes are counted.
Left out are the distillation token, dropout and drop path.

Letters: B batch, P patches, D width, K classes.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.networks.vit import ViT, ViTConfig
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory
from kinema.nn.init import initialize_vit


@config
class DeiTConfig(ViTConfig):
    """Sizes; `num_classes` is K."""

    num_classes: int


def deit_s(num_classes: int) -> DeiTConfig:
    """DeiT-S: 22,050,664 parameters for 1000 classes."""
    return _published(384, num_heads=6, num_classes=num_classes)


def deit_b(num_classes: int) -> DeiTConfig:
    """DeiT-B: 86,567,656 parameters for 1000 classes."""
    return _published(768, num_heads=12, num_classes=num_classes)


def _published(width: int, *, num_heads: int, num_classes: int) -> DeiTConfig:
    return DeiTConfig(
        image_size=224,
        patch_size=16,
        width=width,
        num_layers=12,
        num_heads=num_heads,
        num_classes=num_classes,
    )


class DeiT(Checkpointed):
    """Pictures (B, 3, S, S), normalized -> logits (B, K)."""

    def __init__(self, config: DeiTConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.trunk = ViT(config, **factory)
        self.head = nn.Linear(config.width, config.num_classes, **factory)
        initialize_vit(self, self.trunk.cls_token, self.trunk.pos_embed)

    def embed(self, x: Tensor) -> Tensor:
        """Pictures -> tokens (B, 1 + P, D) at their positions, the class token first.

        Raises:
            InputError: the pictures have another size, for which there are no positions.
        """
        size = self.config.image_size
        if x.ndim != 4 or x.shape[1:] != (3, size, size):
            raise InputError(f"DeiT reads pictures (B, 3, {size}, {size}), not {tuple(x.shape)}")
        cls = self.trunk.cls_token.expand(x.shape[0], -1, -1)
        return torch.cat([cls, self.trunk.patch_embed(x)], dim=1) + self.trunk.pos_embed

    def forward_features(self, x: Tensor) -> Tensor:
        """Pictures -> the state (B, D) of the class token behind the last norm."""
        return self.trunk.norm(self.trunk.through(self.trunk.blocks, self.embed(x), None)[:, 0])

    def forward_head(self, features: Tensor) -> Tensor:
        """Features (B, D) -> logits (B, K)."""
        return self.head(features)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.forward_head(self.forward_features(x))
