"""ControlNet: Adding Conditional Control to Text-to-Image Diffusion Models (arXiv 2302.05543).

Authors' code: github.com/lllyasviel/ControlNet (license Apache-2.0); parameter names are those of
diffusers' ``ControlNetModel`` (Apache-2.0). Verified: number, names and shapes of the parameters
for SD 1.5, and the residuals of a small network, against diffusers. Different: nothing.

Letters: B clips, T frames, F = B T, C channels, H, W of the latents, s pixels to a latent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Unpack

import torch.nn.functional as F
from torch import Tensor, nn

from kinema.condition import Conditions, Grid
from kinema.config import config
from kinema.errors import InputError
from kinema.networks.sd_blocks import close
from kinema.networks.video_unet import EMPTY, UNetEncoder, VideoUNet, VideoUNetConfig, sd_1_5
from kinema.networks.video_unet_levels import Residuals, Slots
from kinema.nn.factory import Factory
from kinema.nn.frames import to_frames


@config
class ControlNetConfig:
    """A U-Net and its control branch.

    Args:
        unet: sizes of the U-Net; the branch has those of its way down and its middle.
        control_channels: of the control map.
        embedder_channels: of the map's embedder; each step but the first halves the map.
    """

    unet: VideoUNetConfig
    control_channels: int
    embedder_channels: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.embedder_channels:
            raise InputError("embedder_channels of a ControlNet must name one width at least")

    @property
    def stride(self) -> int:
        """Pixels of the control map to a latent."""
        return 2 ** (len(self.embedder_channels) - 1)


def control_sd_1_5() -> ControlNetConfig:
    """Of Stable Diffusion 1.5; the branch has 361,279,120 parameters."""
    return ControlNetConfig(unet=sd_1_5(), control_channels=3, embedder_channels=(16, 32, 96, 256))


class ControlEmbedder(nn.Module):
    """The control map on the grid of the latents: 3x3 convolutions with SiLU between."""

    def __init__(self, config: ControlNetConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        widths = config.embedder_channels
        conv: Callable[..., nn.Module] = partial(nn.Conv2d, kernel_size=3, padding=1, **factory)
        self.conv_in = conv(config.control_channels, widths[0])
        self.blocks = nn.ModuleList()
        for before, after in pairwise(widths):
            self.blocks += [conv(before, before), conv(before, after, stride=2)]
        self.conv_out = conv(widths[-1], config.unet.channels[0])

    def forward(self, x: Tensor) -> Tensor:
        """(F, C, s H, s W) -> (F, C', H, W)."""
        h = F.silu(self.conv_in(x))
        for block in self.blocks:
            h = F.silu(block(h))
        return self.conv_out(h)


class ControlNet(UNetEncoder):
    """A copy of the U-Net's way down that reads a control map and adds to the U-Net's skips.

    Condition beside those of the U-Net: ``control``, Grid (B, control_channels, T, s H, s W), in
    [0, 1]. Before training it adds nothing (section 3.2: zero convolutions).
    """

    def __init__(self, config: ControlNetConfig, **factory: Unpack[Factory]) -> None:
        super().__init__(config.unet, EMPTY, **factory)
        self.stride = config.stride
        self.controlnet_cond_embedding = ControlEmbedder(config, **factory)
        widths, blocks = config.unet.channels, config.unet.blocks_per_level
        skips = [widths[0]]
        for width in widths:
            skips += [width] * (blocks + 1)
        skips.pop()  # nothing is halved behind the last level
        zero: Callable[..., nn.Conv2d] = partial(nn.Conv2d, kernel_size=1, **factory)
        self.controlnet_down_blocks = nn.ModuleList(zero(width, width) for width in skips)
        self.controlnet_mid_block = zero(widths[-1], widths[-1])
        if self.conv_in.weight.device.type != "meta":
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """As the encoder's; the map's embedding and all residuals are 0 too."""
        super().reset_parameters()
        embedder = self.controlnet_cond_embedding
        convs = (*self.controlnet_down_blocks, self.controlnet_mid_block, embedder.conv_out)
        for conv in convs:
            assert isinstance(conv, nn.Conv2d)
            close(conv)

    def forward(self, x: Tensor, time: Tensor, conditions: Conditions) -> Residuals:
        """What is added to the skips and to the middle for a state (B, C, T, H, W) at times (B,).

        Raises:
            InputError: the control map does not lie on the state.
        """
        frames, setting = self.enter(x, time, conditions)
        control = conditions.of(Grid, "control").x
        expected = (x.shape[2], *(self.stride * size for size in x.shape[3:]))
        if control.shape[2:] != expected:
            raise InputError(
                f"the control map of this state must have {expected} frames, rows and columns,"
                f" not {tuple(control.shape[2:])}"
            )
        embedded = self.controlnet_cond_embedding(to_frames(control))
        h, skips = self.descend(self.conv_in(frames) + embedded, setting, ())
        convs = (*self.controlnet_down_blocks, self.controlnet_mid_block)
        return Residuals(skips=tuple(conv(y) for conv, y in zip(convs, [*skips, h], strict=True)))


class ControlledUNet(VideoUNet):
    """The U-Net of Stable Diffusion with a ControlNet in its slot `residual_in`."""

    def __init__(self, config: ControlNetConfig, **factory: Unpack[Factory]) -> None:
        slots = Slots(residual_in=partial(ControlNet, config))
        super().__init__(config.unet, slots, **factory)
