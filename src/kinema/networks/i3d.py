"""I3D, the inflated Inception network over color frames: the extractor of FVD and KVD.

Quo Vadis, Action Recognition?, Carreira and Zisserman 2017, arXiv 1705.07750, figure 3; as the
extractor of FVD: Unterthiner et al. 2018, arXiv 1812.01717. Authors' code:
github.com/google-deepmind/kinetics-i3d (Apache-2.0), in TensorFlow. Names of parameters are those
of the PyTorch port whose file ``i3d_pretrained_400.pt`` many FVD scores rest on.

Verified by a recorded case of that port: every stage. Verified by a manifest: names and shapes.
The features of FVD are the logits before the softmax, 400 for Kinetics, not the pooled 1024.

Ours: away from 224 pixels the last pool takes the whole grid, which at 224 is its published 7 x 7.

Letters: B clips, C channels, T frames, H height, W width, K classes.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.nn.conv import Factors
from kinema.nn.factory import Factory

SIZE = 224  # pixels of the published network
FEWEST_FRAMES = 9  # eight to a place, and the last pool joins two places
EPS, MOMENTUM = 1e-5, 1e-3
# Channels: of the 1x1 branch, of both branches of two convolutions, and after the pool.
WIDTHS = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Kernel and stride of the max pools, by the block that they precede.
POOLS: dict[str, tuple[Factors, Factors]] = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


@config
class I3DConfig:
    """Sizes.

    Attributes:
        in_channels: 3 for color.
        num_classes: K.
    """

    in_channels: int
    num_classes: int


def i3d_kinetics_400() -> I3DConfig:
    """The published network over color frames: 12,697,264 parameters."""
    return I3DConfig(in_channels=3, num_classes=400)


def same_pad(x: Tensor, kernel: Factors, stride: Factors) -> Tensor:
    """Zeros around (B, C, T, H, W), as TensorFlow's SAME has it: the larger half at the end.

    They depend on the size: an axis of n places gives ceil(n / stride).
    """
    pads: list[int] = []
    for size, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1]):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads) if any(pads) else x


def max_pool(x: Tensor, kernel: Factors, stride: Factors) -> Tensor:
    """A max pool with SAME padding; the zeros it adds do not show after a ReLU."""
    return F.max_pool3d(same_pad(x, kernel, stride), kernel, stride)


class Unit(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.kernel: Factors = (kernel, kernel, kernel)
        self.stride: Factors = (stride, stride, stride)
        self.conv3d = nn.Conv3d(
            in_channels, channels, self.kernel, self.stride, bias=False, **factory
        )
        self.bn = nn.BatchNorm3d(channels, EPS, MOMENTUM, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', ...), each axis divided by the stride and rounded up."""
        return F.relu(self.bn(self.conv3d(same_pad(x, self.kernel, self.stride))))


class Mixed(nn.Module):
    """Four branches side by side; both that widen their view are 3x3x3."""

    def __init__(
        self, in_channels: int, widths: tuple[int, ...], **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        w0, w1a, w1b, w2a, w2b, w3 = widths
        self.b0 = Unit(in_channels, w0, 1, **factory)
        self.b1a = Unit(in_channels, w1a, 1, **factory)
        self.b1b = Unit(w1a, w1b, 3, **factory)
        self.b2a = Unit(in_channels, w2a, 1, **factory)
        self.b2b = Unit(w2a, w2b, 3, **factory)
        self.b3b = Unit(in_channels, w3, 1, **factory)
        self.out_channels = w0 + w1b + w2b + w3

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, out_channels, T, H, W)."""
        pooled = max_pool(x, (3, 3, 3), (1, 1, 1))
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)]
        return torch.cat(branches, dim=1)


class I3D(nn.Module):
    """Clips -> logits. Its norms keep statistics: call `eval()` before features are taken."""

    def __init__(self, config: I3DConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.blocks: list[str] = ["Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"]
        self.Conv3d_1a_7x7 = Unit(config.in_channels, 64, 7, stride=2, **factory)
        self.Conv3d_2b_1x1 = Unit(64, 64, 1, **factory)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3, **factory)
        channels = 192
        for name, widths in WIDTHS.items():
            block = Mixed(channels, widths, **factory)
            self.add_module(name, block)
            self.blocks.append(name)
            channels = block.out_channels
        self.logits = nn.Conv3d(channels, config.num_classes, 1, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) in [-1, 1] -> logits (B, K), their mean over time.

        Raises:
            InputError: the clips have other channels or fewer than `FEWEST_FRAMES` frames.
        """
        channels = self.config.in_channels
        if x.ndim != 5 or x.shape[1] != channels or x.shape[2] < FEWEST_FRAMES:
            raise InputError(
                f"I3D takes clips (B, {channels}, T, H, W) of {FEWEST_FRAMES} frames or more,"
                f" not {tuple(x.shape)}"
            )
        for name in self.blocks:
            if name in POOLS:
                x = max_pool(x, *POOLS[name])
            x = self.get_submodule(name)(x)
        x = F.avg_pool3d(x, (2, *x.shape[3:]), stride=1)
        return self.logits(x)[..., 0, 0].mean(dim=2)
