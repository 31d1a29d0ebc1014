"""LPIPS v0.1: how different two pictures look, by what a trained network sees in both.

The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, Zhang et al. 2018,
arXiv 1801.03924, section 3 and equation 1. Authors' code:
github.com/richzhang/PerceptualSimilarity (BSD-2-Clause). The trunk is AlexNet for scores (their
choice) and VGG16 for losses.

Verified by recorded cases, with the published heads and with others: every stage of both trunks.
Verified by manifests: names and shapes. Left out: version 0.0, which forgot to scale its input,
maps of distances, the SqueezeNet trunk, and dropout before the heads.

Letters: B pairs, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.networks.plain_convnets import (
    ConvTrunk,
    ConvTrunkConfig,
    alexnet_trunk,
    vgg16_trunk,
)
from kinema.nn.factory import Factory

EPS = 1e-10
# The means and deviations of ImageNet for pictures in [-1, 1], rounded as the authors have them.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


@config
class LPIPSConfig:
    """The trunk; there is a head for each of its taps."""

    trunk: ConvTrunkConfig


def lpips_alex() -> LPIPSConfig:
    """On AlexNet: 2,470,848 parameters; for scores."""
    return LPIPSConfig(trunk=alexnet_trunk())


def lpips_vgg() -> LPIPSConfig:
    """On VGG16: 14,716,160 parameters; for losses."""
    return LPIPSConfig(trunk=vgg16_trunk())


class ScalingLayer(nn.Module):
    """From [-1, 1] to the range in which the trunks were trained."""

    def __init__(self, **factory: Unpack[Factory]) -> None:
        super().__init__()
        for name, values in (("shift", SHIFT), ("scale", SCALE)):
            self.register_buffer(name, torch.tensor(values, **factory).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> the same shape."""
        return (x - self.get_buffer("shift")) / self.get_buffer("scale")


class LPIPS(nn.Module):
    """Two pictures -> their distance, 0 where they are equal."""

    def __init__(self, config: LPIPSConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.scaling_layer = ScalingLayer(**factory)
        self.trunk = ConvTrunk(config.trunk, **factory)
        self.heads = nn.ModuleList(
            nn.Conv2d(width, 1, 1, bias=False, **factory) for width in config.trunk.taps
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], twice -> distances (B,)."""
        return self.layers(a, b).sum(dim=0)

    def layers(self, a: Tensor, b: Tensor) -> Tensor:
        """What each tap adds to the distance, (taps, B).

        Raises:
            InputError: the pictures are not of one shape (B, 3, H, W).
        """
        if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3:
            raise InputError(
                "LPIPS compares pictures of one shape (B, 3, H, W), not"
                f" {tuple(a.shape)} and {tuple(b.shape)}"
            )
        seen = (self.trunk(self.scaling_layer(x)) for x in (a, b))
        return torch.stack(
            [
                head((normalized(x) - normalized(y)).square()).mean(dim=(1, 2, 3))
                for head, x, y in zip(self.heads, *seen)
            ]
        )


def normalized(x: Tensor) -> Tensor:
    """(B, C, H, W) with the channels of each place as a vector of length 1."""
    return x / (x.square().sum(dim=1, keepdim=True).sqrt() + EPS)
