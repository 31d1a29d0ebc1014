"""C3D, fine-tuned on the actions of UCF-101: the classifier behind the Inception Score of videos.

Learning Spatiotemporal Features with 3D Convolutional Networks, Tran et al. 2014, arXiv 1412.0767,
figure 3. Scores of generated videos rest on the port of TGANv2, Saito et al. 2018,
arXiv 1811.09245; its code: github.com/pfnet-research/tgan2 (MIT), in Chainer. Names of parameters
are theirs.

Verified by a recorded case of that class: the prepared input, two pools, all that follows, with
other weights. Two details are easily lost: the last pool reaches over the border (7 places give 4,
without padding in front), and frames are resized with aligned corners, straight to 112 x 112.
Recalled, not read: that StyleGAN-V's file ``c3d_ucf101.pt`` computes the same probabilities.

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

POOL: Factors = (2, 2, 2)
# Before each convolution but the first: the pool, if there is one.
POOLS: dict[str, Factors] = {"conv2a": (1, 2, 2), "conv3a": POOL, "conv4a": POOL, "conv5a": POOL}


@config
class C3DConfig:
    """Sizes.

    Attributes:
        widths: channels of the five levels; from the third on a level has two convolutions.
        hidden: width of the fully connected layers.
        num_classes: K.
        num_frames: T of every clip.
        size: height and width to which frames are brought.
    """

    widths: tuple[int, int, int, int, int]
    hidden: int
    num_classes: int
    num_frames: int
    size: int

    @property
    def places(self) -> int:
        """What is left of T, H and W before the fully connected layers; halves are rounded up."""
        return -(-self.num_frames // 16) * (-(-self.size // 32)) ** 2


def c3d_ucf101() -> C3DConfig:
    """The published network: 78,409,573 parameters."""
    return C3DConfig(
        widths=(64, 128, 256, 512, 512), hidden=4096, num_classes=101, num_frames=16, size=112
    )


class C3D(nn.Module):
    """Clips -> features of their actions, and logits of the classes.

    The buffer ``mean`` (3, T, size, size) is the clip that is subtracted, blue first, in levels
    from 0 to 255; it is loaded with the weights (`weights/maps/c3d.py`) and 0 until then.
    """

    def __init__(self, config: C3DConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        one, two, three, four, five = config.widths
        layers = {
            "conv1a": (3, one),
            "conv2a": (one, two),
            "conv3a": (two, three),
            "conv3b": (three, three),
            "conv4a": (three, four),
            "conv4b": (four, four),
            "conv5a": (four, five),
            "conv5b": (five, five),
        }
        self.convs = list(layers)
        for name, (before, after) in layers.items():
            self.add_module(name, nn.Conv3d(before, after, 3, padding=1, **factory))
        self.fc6 = nn.Linear(five * config.places, config.hidden, **factory)
        self.fc7 = nn.Linear(config.hidden, config.hidden, **factory)
        self.fc8 = nn.Linear(config.hidden, config.num_classes, **factory)
        shape = (3, config.num_frames, config.size, config.size)
        self.register_buffer("mean", torch.zeros(shape, **factory))

    def prepare(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) in [-1, 1], red first -> (B, 3, T, size, size), blue first.

        Frames are stretched, with aligned corners; [-1, 1] becomes [0, 256], less the mean clip.

        Raises:
            InputError: the clips have other channels or another number of frames.
        """
        expected = (3, self.config.num_frames)
        if x.ndim != 5 or x.shape[1:3] != expected:
            raise InputError(
                f"C3D takes clips (B, 3, {self.config.num_frames}, H, W), not {tuple(x.shape)}"
            )
        frames = x.flip(1).transpose(1, 2).flatten(0, 1)
        side = (self.config.size, self.config.size)
        frames = F.interpolate(frames, side, mode="bilinear", align_corners=True)
        levels = 128 * frames.unflatten(0, (len(x), -1)).transpose(1, 2) + 128
        return levels - self.get_buffer("mean")

    def embed(self, x: Tensor) -> Tensor:
        """Clips as for `prepare` -> features (B, hidden), after the ReLU of fc7."""
        x = self.prepare(x)
        for name in self.convs:
            if name in POOLS:
                x = F.max_pool3d(x, POOLS[name], ceil_mode=True)
            x = F.relu(self.get_submodule(name)(x))
        x = F.max_pool3d(x, POOL, ceil_mode=True)
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))

    def forward(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) in [-1, 1] of any size -> logits (B, K)."""
        return self.fc8(self.embed(x))
