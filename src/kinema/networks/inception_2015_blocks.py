"""The blocks of Inception-v3 as the graph of 2015-12-05 has them; see `inception_2015.py`.

Letters: B pictures, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.nn.factory import Factory

EPS = 1e-3


class FixedNorm(nn.Module):
    """Batch norm with the statistics of a finished training; the file counts no batches."""

    def __init__(self, channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, **factory))
        self.bias = nn.Parameter(torch.zeros(channels, **factory))
        self.register_buffer("running_mean", torch.zeros(channels, **factory))
        self.register_buffer("running_var", torch.ones(channels, **factory))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        mean, var = self.get_buffer("running_mean"), self.get_buffer("running_var")
        return F.batch_norm(x, mean, var, self.weight, self.bias, eps=EPS)


class Unit(nn.Module):
    """Convolution without bias, norm, ReLU; padded to keep the size, or not at all."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: Literal["same", "valid"] = "same",
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, channels, kernel, stride, padding=padding, bias=False, **factory
        )
        self.bn = FixedNorm(channels, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return F.relu(self.bn(self.conv(x)))


def average_pool(x: Tensor) -> Tensor:
    """The mean over 3x3 places; at the border over those that exist."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def halve(x: Tensor) -> Tensor:
    """The max over 3x3 places, every second one."""
    return F.max_pool2d(x, 3, stride=2)


class MixedA(nn.Module):
    """Figure 5 of the paper, with a 5x5 that stayed: 35 x 35 places."""

    def __init__(self, in_channels: int, pool_width: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.branch1x1 = Unit(in_channels, 64, 1, **factory)
        self.branch5x5_1 = Unit(in_channels, 48, 1, **factory)
        self.branch5x5_2 = Unit(48, 64, 5, **factory)
        self.branch3x3dbl_1 = Unit(in_channels, 64, 1, **factory)
        self.branch3x3dbl_2 = Unit(64, 96, 3, **factory)
        self.branch3x3dbl_3 = Unit(96, 96, 3, **factory)
        self.branch_pool = Unit(in_channels, pool_width, 1, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 224 + pool_width, H, W)."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat(
            [self.branch1x1(x), five, double, self.branch_pool(average_pool(x))], dim=1
        )


class MixedB(nn.Module):
    """The first reduction: 35 x 35 to 17 x 17 places."""

    def __init__(self, in_channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.branch3x3 = Unit(in_channels, 384, 3, stride=2, padding="valid", **factory)
        self.branch3x3dbl_1 = Unit(in_channels, 64, 1, **factory)
        self.branch3x3dbl_2 = Unit(64, 96, 3, **factory)
        self.branch3x3dbl_3 = Unit(96, 96, 3, stride=2, padding="valid", **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 480 + C, H', W')."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, halve(x)], dim=1)


class MixedC(nn.Module):
    """Figure 6 with n = 7: a 7x7 taken apart, 17 x 17 places."""

    def __init__(self, width: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.branch1x1 = Unit(768, 192, 1, **factory)
        self.branch7x7_1 = Unit(768, width, 1, **factory)
        self.branch7x7_2 = Unit(width, width, (1, 7), **factory)
        self.branch7x7_3 = Unit(width, 192, (7, 1), **factory)
        self.branch7x7dbl_1 = Unit(768, width, 1, **factory)
        self.branch7x7dbl_2 = Unit(width, width, (7, 1), **factory)
        self.branch7x7dbl_3 = Unit(width, width, (1, 7), **factory)
        self.branch7x7dbl_4 = Unit(width, width, (7, 1), **factory)
        self.branch7x7dbl_5 = Unit(width, 192, (1, 7), **factory)
        self.branch_pool = Unit(768, 192, 1, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 768, H, W) -> the same shape."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat(
            [self.branch1x1(x), seven, double, self.branch_pool(average_pool(x))], dim=1
        )


class MixedD(nn.Module):
    """The second reduction: 17 x 17 to 8 x 8 places."""

    def __init__(self, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.branch3x3_1 = Unit(768, 192, 1, **factory)
        self.branch3x3_2 = Unit(192, 320, 3, stride=2, padding="valid", **factory)
        self.branch7x7x3_1 = Unit(768, 192, 1, **factory)
        self.branch7x7x3_2 = Unit(192, 192, (1, 7), **factory)
        self.branch7x7x3_3 = Unit(192, 192, (7, 1), **factory)
        self.branch7x7x3_4 = Unit(192, 192, 3, stride=2, padding="valid", **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 768, H, W) -> (B, 1280, H', W')."""
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat(
            [self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(seven), halve(x)], dim=1
        )


class MixedE(nn.Module):
    """Figure 7: 3x3 taken apart side by side, 8 x 8 places.

    Args:
        in_channels: C.
        is_last: the pool takes the max. So it is in the graph, though not in the paper.
    """

    def __init__(self, in_channels: int, *, is_last: bool, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.is_last = is_last
        self.branch1x1 = Unit(in_channels, 320, 1, **factory)
        self.branch3x3_1 = Unit(in_channels, 384, 1, **factory)
        self.branch3x3_2a = Unit(384, 384, (1, 3), **factory)
        self.branch3x3_2b = Unit(384, 384, (3, 1), **factory)
        self.branch3x3dbl_1 = Unit(in_channels, 448, 1, **factory)
        self.branch3x3dbl_2 = Unit(448, 384, 3, **factory)
        self.branch3x3dbl_3a = Unit(384, 384, (1, 3), **factory)
        self.branch3x3dbl_3b = Unit(384, 384, (3, 1), **factory)
        self.branch_pool = Unit(in_channels, 192, 1, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2048, H, W)."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.is_last else average_pool(x)
        branches = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        branches += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([*branches, self.branch_pool(pooled)], dim=1)
