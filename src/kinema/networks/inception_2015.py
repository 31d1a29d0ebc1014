"""Inception-v3 as TensorFlow's graph of 2015-12-05 has it: the extractor of FID, KID and IS.

Rethinking the Inception Architecture, Szegedy et al. 2015, arXiv 1512.00567; as the extractor of
FID: Heusel et al. 2017, arXiv 1706.08500. Authors' code: the graph of
github.com/tensorflow/models (Apache-2.0); its layers were read from the ports
github.com/mseitzer/pytorch-fid and github.com/toshas/torch-fidelity (Apache-2.0), names of
parameters are theirs. It is another network than torchvision's ``inception_v3``, with other
weights: 1008 outputs, average pools that do not count their padding, a max pool in the last block,
and the resizing is part of it.

Verified by a recorded case of torch-fidelity's class: resizing, blocks, all features. Names and
shapes are those that its converter of the graph writes. pytorch-fid, whose file is the same,
resizes with half-pixel centers and maps 8-bit levels to [-1, 1] exactly; we do as the graph does.

Letters: B pictures, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from typing import Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.networks.inception_2015_blocks import (
    MixedA,
    MixedB,
    MixedC,
    MixedD,
    MixedE,
    Unit,
    halve,
)
from kinema.nn.factory import Factory
from kinema.nn.resizing import tf1_bilinear

SIZE = 299
WIDTH = 2048


@config
class Inception2015Config:
    """Sizes.

    Attributes:
        num_classes: K.
    """

    num_classes: int


def inception_2015() -> Inception2015Config:
    """The published graph: 23,850,960 parameters, and 34,432 statistics of the norms."""
    return Inception2015Config(num_classes=1008)


class Inception2015(nn.Module):
    """Pictures -> the 2048 features of FID; from these the logits, with bias or without."""

    def __init__(self, config: Inception2015Config, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, stride=2, padding="valid", **factory)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3, padding="valid", **factory)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3, **factory)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1, **factory)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3, padding="valid", **factory)
        self.Mixed_5b = MixedA(192, 32, **factory)
        self.Mixed_5c = MixedA(256, 64, **factory)
        self.Mixed_5d = MixedA(288, 64, **factory)
        self.Mixed_6a = MixedB(288, **factory)
        self.Mixed_6b = MixedC(128, **factory)
        self.Mixed_6c = MixedC(160, **factory)
        self.Mixed_6d = MixedC(160, **factory)
        self.Mixed_6e = MixedC(192, **factory)
        self.Mixed_7a = MixedD(**factory)
        self.Mixed_7b = MixedE(1280, is_last=False, **factory)
        self.Mixed_7c = MixedE(WIDTH, is_last=True, **factory)
        self.fc = nn.Linear(WIDTH, config.num_classes, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] of any size -> pool3 (B, 2048).

        Scores are defined on 8-bit pictures: x is level / 127.5 - 1.
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise InputError(f"Inception takes pictures (B, 3, H, W), not {tuple(x.shape)}")
        levels = tf1_bilinear((x + 1) * 127.5, SIZE, SIZE)
        x = (levels - 128) / 128
        x = halve(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = self.Mixed_7a(self.Mixed_6e(self.Mixed_6d(x)))
        return self.Mixed_7c(self.Mixed_7b(x)).mean(dim=(2, 3))

    def logits(self, pool3: Tensor) -> Tensor:
        """(B, 2048) -> logits (B, K)."""
        return self.fc(pool3)

    def unbiased_logits(self, pool3: Tensor) -> Tensor:
        """(B, 2048) -> logits (B, K) without the bias: the Inception Score is taken from these."""
        return F.linear(pool3, self.fc.weight)
