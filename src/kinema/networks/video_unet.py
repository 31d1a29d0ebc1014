"""Stable Diffusion's U-Net with slots for what makes a video model of it (arXiv 2112.10752).

Authors' code: github.com/CompVis/stable-diffusion (license CreativeML OpenRAIL-M); parameter names
are those of diffusers' ``UNet2DConditionModel`` (Apache-2.0). With empty slots it is that network,
frame by frame. Verified: every tensor of SD 1.5 and 2.1, and outputs of small networks of both
kinds. Different: a text is projected once for all frames that share it.

A video model fills `Slots`. Where `after_resnet` or `after_block` is filled, the site has the names
of diffusers' ``UNetSpatioTemporalConditionModel``. What a model wants to read beside the
prediction it takes by a module hook, or from `VideoUNet.features`.

Letters: as in `sd_blocks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.condition import Conditions, Grid, Tokens
from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.networks.official import check_arguments
from kinema.networks.sd_blocks import (
    RESNET_EPS,
    PointwiseConv,
    ResnetBlock,
    Setting,
    SpatialTransformer,
    close,
)
from kinema.networks.video_unet_levels import (
    DownLevel,
    MidBlock,
    Place,
    Residuals,
    Run,
    Slots,
    UpLevel,
)
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.embeddings import MLPEmbedder, sinusoids
from kinema.nn.factory import Factory
from kinema.nn.frames import to_clips, to_frames

EMPTY = Slots()


@config
class VideoUNetConfig:
    """Sizes of the 2-D network; lists go from the finest level to the coarsest.

    Args:
        in_channels: of the state.
        out_channels: of the prediction.
        concat_channels: of the condition ``concat``, joined to the state; 0 for none.
        channels: of each level.
        blocks_per_level: residual blocks of a level on the way down; on the way up one more.
        attention: which levels have transformers.
        num_heads: of each level.
        context_channels: width of the condition ``crossattn``.
        projection: what stands before and behind a transformer's block: 1x1 convolutions (SD 1.x)
            or linear maps (SD 2.x). They compute the same.
        num_groups: of all group norms.

    Raises:
        InputError: the lists differ in length, or channels cannot be split into heads or groups.
    """

    in_channels: int
    out_channels: int
    concat_channels: int = 0
    channels: tuple[int, ...]
    blocks_per_level: int
    attention: tuple[bool, ...]
    num_heads: tuple[int, ...]
    context_channels: int
    projection: Literal["conv", "linear"]
    num_groups: int = 32

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.attention) == len(self.num_heads) > 0:
            raise InputError("channels, attention and num_heads of a U-Net must have equal lengths")
        for channels, heads in zip(self.channels, self.num_heads):
            if channels % heads or channels % self.num_groups:
                raise InputError(
                    f"{channels} channels cannot be split into {heads} heads"
                    f" and {self.num_groups} groups"
                )

    @property
    def stride(self) -> int:
        """Height and width of the state must be multiples of this."""
        return 2 ** (len(self.channels) - 1)


def sd_1_5() -> VideoUNetConfig:
    """Stable Diffusion 1.1 to 1.5: 859,520,964 parameters."""
    return VideoUNetConfig(
        in_channels=4,
        out_channels=4,
        channels=(320, 640, 1280, 1280),
        blocks_per_level=2,
        attention=(True, True, True, False),
        num_heads=(8, 8, 8, 8),
        context_channels=768,
        projection="conv",
    )


def sd_2_1() -> VideoUNetConfig:
    """Stable Diffusion 2.0 and 2.1: 865,910,724 parameters."""
    return replace(sd_1_5(), num_heads=(5, 10, 20, 20), context_channels=1024, projection="linear")


# What the published configurations hold beside the sizes; any other value is another network.
FIXED: dict[str, tuple[Any, ...]] = {
    "_class_name": ("UNet2DConditionModel",),
    "act_fn": ("silu",),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "downsample_padding": (1,),
    "dual_cross_attention": (False,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_scale_factor": (1,),
    "norm_eps": (RESNET_EPS,),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_time_scale_shift": ("default",),
    "upcast_attention": (False, True),  # a matter of precision
}
SIZES = {
    "in_channels": "in_channels",
    "out_channels": "out_channels",
    "block_out_channels": "channels",
    "layers_per_block": "blocks_per_level",
    "cross_attention_dim": "context_channels",
    "norm_num_groups": "num_groups",
}
NEEDED = (*SIZES, "down_block_types", "up_block_types", "attention_head_dim")
# Neither of the last two bears on the network's tensors.
OPTIONAL = ("use_linear_projection", "sample_size", "_diffusers_version")


def from_diffusers(official: Mapping[str, Any]) -> VideoUNetConfig:
    """Reads the arguments of diffusers' ``UNet2DConditionModel``: ``config.json`` of ``unet/``.

    Raises:
        InputError: an argument is unknown or missing, or has a value that makes another network.
    """
    check_arguments("the U-Net", official, needed=NEEDED, optional=OPTIONAL, fixed=FIXED)
    sizes = {ours: official[theirs] for theirs, ours in SIZES.items()}
    down, heads = list(official["down_block_types"]), official["attention_head_dim"]
    sizes["attention"] = [kind == "CrossAttnDownBlock2D" for kind in down]
    # The argument means the number of heads; one number stands for all levels.
    sizes["num_heads"] = [heads] * len(down) if isinstance(heads, int) else heads
    sizes["projection"] = "linear" if official.get("use_linear_projection") else "conv"
    kinds = {True: "CrossAttn{}Block2D", False: "{}Block2D"}
    expected = [kinds[has_attention] for has_attention in sizes["attention"]]
    for name, way, blocks in (("down", "Down", expected), ("up", "Up", expected[::-1])):
        if list(official[f"{name}_block_types"]) != [kind.format(way) for kind in blocks]:
            raise InputError(f"{name}_block_types of the U-Net do not fit its other blocks")
    return from_dict(VideoUNetConfig, sizes, where="the U-Net")


class UNetEncoder(Checkpointed):
    """The way down and the middle, which a control branch has too."""

    def __init__(self, config: VideoUNetConfig, slots: Slots, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        widths, blocks = config.channels, config.blocks_per_level
        joined = config.in_channels + config.concat_channels
        self.conv_in = nn.Conv2d(joined, widths[0], 3, padding=1, **factory)
        self.time_embedding = MLPEmbedder(widths[0], 4 * widths[0], **factory)
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            place = self.place(f"down_blocks.{level}", level)
            incoming = (widths[max(level - 1, 0)], *(width,) * (blocks - 1))
            transformers = blocks if config.attention[level] else 0
            last = level == len(widths) - 1
            self.down_blocks.append(
                DownLevel(place, incoming, transformers, slots, last=last, **factory)
            )
        place, incoming = self.place("mid_block", -1), (widths[-1], widths[-1])
        self.mid_block = MidBlock(place, incoming, 1, slots, **factory)

    def place(self, name: str, level: int) -> Place:
        """A place at a level, with its sizes."""
        return Place(
            name=name,
            channels=self.config.channels[level],
            num_heads=self.config.num_heads[level],
            context_channels=self.config.context_channels,
            embedding_channels=4 * self.config.channels[0],
            num_groups=self.config.num_groups,
            projection=nn.Linear if self.config.projection == "linear" else PointwiseConv,
        )

    def embedding(self, time: Tensor, _conditions: Conditions) -> Tensor:
        """(B, E) of the time (B,); a model that embeds more beside it overrides this."""
        waves = sinusoids(time, self.config.channels[0] // 2)
        return self.time_embedding(waves.to(self.conv_in.weight.dtype))

    def enter(self, x: Tensor, time: Tensor, conditions: Conditions) -> tuple[Tensor, Setting]:
        """The state (B, C, T, H, W) as frames with what is joined to it, and their setting.

        Raises:
            InputError: height or width cannot be halved as often as the network has levels.
        """
        num_frames, height, width = x.shape[2:]
        if height % self.config.stride or width % self.config.stride:
            raise InputError(
                f"the U-Net needs latents with a height and a width that are multiples of"
                f" {self.config.stride}, not {height} x {width}"
            )
        if self.config.concat_channels:
            joined = conditions.of(Grid, "concat").x
            x = torch.cat([x, joined.expand(-1, -1, num_frames, -1, -1)], dim=1)
        text = conditions.of(Tokens, "crossattn")
        embedding = self.embedding(time, conditions)
        setting = Setting(
            num_frames=num_frames,
            embedding=embedding.repeat_interleave(num_frames, dim=0),
            text=text.x,
            mask=None if text.mask is None else text.mask.bool()[:, None, None],
            conditions=conditions,
        )
        return to_frames(x), setting

    def run(self, setting: Setting) -> Run:
        """How blocks are run in a setting."""
        return lambda part, x: self.run_block(part, x, setting)

    def descend(
        self, x: Tensor, setting: Setting, levels: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """What `conv_in` made -> what the middle makes, and the skips in the order of the way down.

        `levels` is as in `Residuals`.
        """
        assert len(levels) in (0, len(self.down_blocks)), f"{len(levels)} residuals of levels"
        run, skips = self.run(setting), [x]
        for block, residual in zip_longest(self.down_blocks, levels):
            x, more = block(x, run, residual)
            skips += more
        return self.mid_block(x, run), skips

    def reset_parameters(self) -> None:
        """The start of training: every residual branch returns 0; the rest is as torch draws it."""
        for module in self.modules():
            if isinstance(module, ResnetBlock):
                close(module.conv2)
            if isinstance(module, SpatialTransformer):
                close(module.proj_out)


class VideoUNet(UNetEncoder):
    """Predicts from a noisy clip under a text (Latent Diffusion, section 3.3).

    Conditions: ``crossattn``, Tokens (B, L, context_channels), or (B T, L, context_channels) where
    every frame has its own; ``concat``, Grid (B, concat_channels, T or 1, H, W), if the
    configuration has such channels.

    Args:
        config: sizes.
        slots: what makes a video model of it.
    """

    def __init__(
        self, config: VideoUNetConfig, slots: Slots = EMPTY, **factory: Unpack[Factory]
    ) -> None:
        super().__init__(config, slots, **factory)
        widths, blocks = config.channels, config.blocks_per_level + 1
        skips = [widths[0]]
        for level, width in enumerate(widths):
            skips += [width] * (blocks if level < len(widths) - 1 else blocks - 1)
        self.up_blocks = nn.ModuleList()
        x = widths[-1]
        for index, level in enumerate(reversed(range(len(widths)))):
            place = self.place(f"up_blocks.{index}", level)
            incoming = [x + skips.pop(), *(widths[level] + skips.pop() for _ in range(blocks - 1))]
            transformers = blocks if config.attention[level] else 0
            self.up_blocks.append(
                UpLevel(place, incoming, transformers, slots, last=level == 0, **factory)
            )
            x = widths[level]
        self.conv_norm_out = slots.norm(config.num_groups, x, eps=RESNET_EPS, **factory)
        self.conv_out = nn.Conv2d(x, config.out_channels, 3, padding=1, **factory)
        self.residual_in = None if slots.residual_in is None else slots.residual_in(**factory)
        if self.conv_out.weight.device.type != "meta":
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """As the encoder's; the output is 0 too."""
        super().reset_parameters()
        close(self.conv_out)

    def features(self, x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        """What the last block returns, normalized: frames (F, C, H, W)."""
        frames, setting = self.enter(x, time, conditions)
        added = Residuals()
        if self.residual_in is not None:
            added = self.residual_in(x, time, conditions)
        h, skips = self.descend(self.conv_in(frames), setting, added.levels)
        if added.skips:
            *skips, h = (a + b for a, b in zip([*skips, h], added.skips, strict=True))
        run = self.run(setting)
        for block in self.up_blocks:
            h = block(h, run, skips)
        return F.silu(self.conv_norm_out(h, setting.num_frames))

    def forward(self, x: Tensor, time: Tensor, conditions: Conditions) -> Tensor:
        """Prediction (B, C', T, H, W) for a state (B, C, T, H, W) at times (B,).

        Raises:
            InputError: height or width is no multiple of the configuration's stride.
        """
        return to_clips(self.conv_out(self.features(x, time, conditions)), x.shape[2])
