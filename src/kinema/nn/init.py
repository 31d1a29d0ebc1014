"""First values of the weights of vision transformers."""

from __future__ import annotations

from torch import nn

STD = 0.02


def initialize_vit(module: nn.Module, *tables: nn.Parameter) -> None:
    """Gives a vision transformer its first values, as timm and DeiT (arXiv:2012.12877) do.

    Normal numbers of deviation 0.02 without a tail; biases are zero. Convolutions and norms stay as
    torch makes them.

    Args:
        module: all linear layers in it.
        tables: tokens and positions.
    """
    for table in tables:
        nn.init.trunc_normal_(table, std=STD)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialize_xavier(module: nn.Module) -> None:
    """Gives a vision transformer its first values, as Flax's ViT and masked autoencoders have them.

    Uniform numbers by the rule of Glorot and Bengio (2010); biases are zero. Convolutions and norms
    stay as torch makes them.

    Args:
        module: all linear layers in it.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
