"""AlexNet and VGG16: plain stacks of convolutions, as trunks of LPIPS and as feature extractors.

One weird trick for parallelizing convolutional neural networks, Krizhevsky 2014, arXiv 1404.5997;
Very Deep Convolutional Networks, Simonyan and Zisserman 2014, arXiv 1409.1556, table 1, column D.
Code that published the weights LPIPS rests on: github.com/pytorch/vision (BSD-3-Clause). The
layers of ``features`` bear torchvision's numbers; what it calls ``classifier`` are fc6, fc7, fc8.

Verified by recorded cases of LPIPS: everything before the fully connected layers. Inferred: names
and shapes of torchvision's whole files, from its code; their numbers of parameters are the known
ones. Left out: dropout of the fully connected layers.

Letters: B pictures, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.nn.factory import Factory


@config
class ConvConfig:
    """One convolution, with a ReLU after it.

    Attributes:
        channels, kernel, stride, padding: of the convolution.
        is_tap: whether LPIPS looks at what comes out of the ReLU.
    """

    channels: int
    kernel: int
    stride: int
    padding: int
    is_tap: bool


@config
class ConvTrunkConfig:
    """Convolutions and the max pools between them.

    Attributes:
        stages: convolutions; after each stage comes a max pool.
        pool: its kernel; its stride is 2.
    """

    stages: tuple[tuple[ConvConfig, ...], ...]
    pool: int

    def __post_init__(self) -> None:
        if not self.stages or not all(self.stages) or not self.taps:
            raise InputError("a trunk needs stages of one convolution or more, and a tap")

    @property
    def convs(self) -> tuple[ConvConfig, ...]:
        """Those of all stages."""
        return tuple(conv for stage in self.stages for conv in stage)

    @property
    def taps(self) -> tuple[int, ...]:
        """The channels of the taps."""
        return tuple(conv.channels for conv in self.convs if conv.is_tap)


@config
class ConvNetConfig:
    """A trunk and three fully connected layers.

    Attributes:
        trunk: the convolutions.
        grid: what the trunk gives is averaged to grid x grid places.
        hidden: width of the fully connected layers.
        num_classes: K.
    """

    trunk: ConvTrunkConfig
    grid: int
    hidden: int
    num_classes: int


def alexnet_trunk() -> ConvTrunkConfig:
    """The convolutions of AlexNet: 2,469,696 parameters."""
    first = ConvConfig(channels=64, kernel=11, stride=4, padding=2, is_tap=True)
    second = ConvConfig(channels=192, kernel=5, stride=1, padding=2, is_tap=True)
    rest = tuple(_conv3(width, is_tap=True) for width in (384, 256, 256))
    return ConvTrunkConfig(stages=((first,), (second,), rest), pool=3)


def vgg16_trunk() -> ConvTrunkConfig:
    """The convolutions of VGG16: 14,714,688 parameters; LPIPS looks at the last of each stage."""
    stages = tuple(
        tuple(_conv3(width, is_tap=i == count - 1) for i in range(count))
        for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    )
    return ConvTrunkConfig(stages=stages, pool=2)


def alexnet() -> ConvNetConfig:
    """The whole of AlexNet: 61,100,840 parameters."""
    return ConvNetConfig(trunk=alexnet_trunk(), grid=6, hidden=4096, num_classes=1000)


def vgg16() -> ConvNetConfig:
    """The whole of VGG16: 138,357,544 parameters."""
    return ConvNetConfig(trunk=vgg16_trunk(), grid=7, hidden=4096, num_classes=1000)


def _conv3(channels: int, *, is_tap: bool) -> ConvConfig:
    return ConvConfig(channels=channels, kernel=3, stride=1, padding=1, is_tap=is_tap)


class ConvTrunk(nn.Module):
    """Pictures -> what the ReLUs give, as far as LPIPS asks for it."""

    def __init__(self, config: ConvTrunkConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        self.tapped: list[int] = []
        for stage in config.stages:
            for conv in stage:
                layers.append(
                    nn.Conv2d(
                        channels, conv.channels, conv.kernel, conv.stride, conv.padding, **factory
                    )
                )
                layers.append(nn.ReLU())
                channels = conv.channels
                if conv.is_tap:
                    self.tapped.append(len(layers) - 1)
            layers.append(nn.MaxPool2d(config.pool, stride=2))
        self.features = nn.Sequential(*layers)
        self.out_channels = channels

    def forward(self, x: Tensor) -> list[Tensor]:
        """Pictures (B, 3, H, W), normalized -> one (B, C', H', W') for each tap, in order."""
        taps = []
        for number in range(self.tapped[-1] + 1):
            x = self.features[number](x)
            if number in self.tapped:
                taps.append(x)
        return taps


class ConvNet(nn.Module):
    """Pictures -> the wide features behind the convolutions, and logits of classes."""

    def __init__(self, config: ConvNetConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        trunk = ConvTrunk(config.trunk, **factory)
        self.features = trunk.features
        width = trunk.out_channels * config.grid**2
        self.fc6 = nn.Linear(width, config.hidden, **factory)
        self.fc7 = nn.Linear(config.hidden, config.hidden, **factory)
        self.fc8 = nn.Linear(config.hidden, config.num_classes, **factory)

    def embed(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), normalized -> features (B, hidden), after the ReLU of fc7.

        Args:
            x: (level / 255 - mean) / deviation, by the means (0.485, 0.456, 0.406) and deviations
                (0.229, 0.224, 0.225) of ImageNet; published at 224 x 224.
        """
        x = F.adaptive_avg_pool2d(self.features(x), self.config.grid)
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, H, W), normalized as for `embed` -> logits (B, K)."""
        return self.fc8(self.embed(x))
