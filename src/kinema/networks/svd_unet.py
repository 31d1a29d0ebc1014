"""The U-Net of Stable Video Diffusion: Scaling Latent Video Diffusion Models to Large Datasets.

arXiv 2311.15127; its temporal layers are those of Video LDM (arXiv 2304.08818). Authors' code:
github.com/Stability-AI/generative-models (MIT), ``VideoUNet``; weights under the Stable Video
Diffusion license. Parameter names are those of diffusers' ``UNetSpatioTemporalConditionModel``.
Verified against the authors' code: every tensor, and outputs with and without micro-conditions,
also of clips whose frames are in part still images. Different: nothing; diffusers takes 1e-6 for
the eps of some norms, the authors 1e-5 throughout.

Letters: as in `sd_blocks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kinema.condition import Conditions, Vector
from kinema.config import config, from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.official import check_arguments
from kinema.networks.sd_blocks import RESNET_EPS, Attention, FeedForward, Setting, close
from kinema.networks.video_unet import VideoUNet, VideoUNetConfig, sd_2_1
from kinema.networks.video_unet_levels import Place, Slots
from kinema.nn.conv import TIME_KERNEL, TimeConv
from kinema.nn.embeddings import MLPEmbedder, sinusoids
from kinema.nn.factory import Factory
from kinema.nn.frames import to_clips, to_frames
from kinema.nn.sites import Site

MIX_FACTOR = 0.5


@config
class SVDUNetConfig(VideoUNetConfig):
    """Sizes of the U-Net.

    Args:
        vector_channels: of the condition ``vector``, embedded beside the time; 0 for none.
    """

    vector_channels: int = 0


def text_to_video() -> SVDUNetConfig:
    """The paper's base model, never published: 1,521,987,562 parameters, 656,076,838 over time.

    They are those of SD 2.1 and of its temporal layers, as the paper counts them.
    """
    return from_dict(SVDUNetConfig, to_dict(sd_2_1()))


def full() -> SVDUNetConfig:
    """SVD and SVD-XT, image to video: 1,524,623,082 parameters."""
    return replace(text_to_video(), concat_channels=4, vector_channels=768)


def tiny() -> SVDUNetConfig:
    """Image to video, trained on two cores in minutes."""
    return SVDUNetConfig(
        in_channels=4,
        out_channels=4,
        concat_channels=4,
        channels=(32, 48, 64),
        blocks_per_level=1,
        attention=(True, True, False),
        num_heads=(2, 3, 4),
        context_channels=32,
        projection="linear",
        num_groups=8,
        vector_channels=96,
    )


def nano() -> SVDUNetConfig:
    """Image to video, for tests."""
    return replace(
        tiny(),
        channels=(8, 16),
        attention=(True, False),
        num_heads=(2, 2),
        context_channels=8,
        num_groups=4,
        vector_channels=24,
    )


# What the published configurations hold beside the sizes; any other value is another network.
FIXED: dict[str, tuple[Any, ...]] = {
    "transformer_depth": (1,),
    "spatial_transformer_attn_type": ("softmax", "softmax-xformers"),  # the same numbers
    "extra_ff_mix_layer": (True, False),  # the authors' block has the layer in either case
    "use_spatial_context": (True,),
    "merge_strategy": ("learned_with_images", "learned"),  # the same where no frame is an image
    "video_kernel_size": (list(TIME_KERNEL), TIME_KERNEL),
    "num_classes": ("sequential",),
    "use_checkpoint": (True, False),  # of activations
}
SIZES = (
    "in_channels",
    "out_channels",
    "model_channels",
    "channel_mult",
    "num_res_blocks",
    "attention_resolutions",
    "context_dim",
    "use_linear_in_transformer",
)
OPTIONAL = ("num_heads", "num_head_channels", "adm_in_channels")


def from_official(official: Mapping[str, Any]) -> SVDUNetConfig:
    """Reads the constructor arguments of the authors' ``VideoUNet``.

    Channels beyond those that are predicted are taken for the condition ``concat``.

    Raises:
        InputError: an argument is unknown or missing, or has a value that makes another network.
    """
    check_arguments("the SVD U-Net", official, needed=SIZES, optional=OPTIONAL, fixed=FIXED)
    channels = [official["model_channels"] * factor for factor in official["channel_mult"]]
    width = official.get("num_head_channels", -1)
    if width != -1 and any(size % width for size in channels):
        raise InputError(f"levels of {channels} cannot be split into heads of {width} channels")
    heads = [official.get("num_heads") if width == -1 else size // width for size in channels]
    sizes = {
        "in_channels": official["out_channels"],
        "out_channels": official["out_channels"],
        "concat_channels": official["in_channels"] - official["out_channels"],
        "channels": channels,
        "blocks_per_level": official["num_res_blocks"],
        "attention": [2**i in official["attention_resolutions"] for i in range(len(channels))],
        "num_heads": heads,
        "context_channels": official["context_dim"],
        "projection": "linear" if official["use_linear_in_transformer"] else "conv",
        "vector_channels": official.get("adm_in_channels", 0),
    }
    return from_dict(SVDUNetConfig, sizes, where="the SVD U-Net")


def micro_conditions(values: Tensor, *, width: int) -> Tensor:
    """Sinusoids of numbers (B, n), side by side: (B, n width).

    SVD's are, in this order, the frame rate less one, the motion bucket (0 to 255) and the level of
    the noise on the conditioning frame, each 256 wide.
    """
    return sinusoids(values, width // 2).flatten(1)


class TemporalResnetBlock(nn.Module):
    """norm, SiLU, convolution over 3 frames; + the time; the same again; + the input.

    Norms are over all frames of a clip.
    """

    def __init__(self, place: Place, **factory: Unpack[Factory]) -> None:
        super().__init__()
        groups, channels = place.num_groups, place.channels
        self.norm1 = nn.GroupNorm(groups, channels, eps=RESNET_EPS, **factory)
        self.conv1 = TimeConv(channels, **factory)
        self.time_emb_proj = nn.Linear(place.embedding_channels, channels, **factory)
        self.norm2 = nn.GroupNorm(groups, channels, eps=RESNET_EPS, **factory)
        self.conv2 = TimeConv(channels, **factory)

    def forward(self, x_FCHW: Tensor, setting: Setting) -> Tensor:
        """(F, C, H, W) -> the same shape."""
        x = to_clips(x_FCHW, setting.num_frames)
        time = self.time_emb_proj(F.silu(setting.embedding))
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + rearrange(time, "(b t) c -> b c t 1 1", t=setting.num_frames)
        h = self.conv2(F.silu(self.norm2(h)))
        return to_frames(x + h)


class FrameEmbedding(nn.Module):
    """Adds an embedding of the number of the frame: sinusoids, C -> 4 C -> C, SiLU between."""

    def __init__(self, place: Place, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(place.channels, 4 * place.channels, **factory)
        self.linear_2 = nn.Linear(4 * place.channels, place.channels, **factory)

    def forward(self, x_FNC: Tensor, setting: Setting) -> Tensor:
        """(F, N, C) -> (F, N, C)."""
        numbers = torch.arange(setting.num_frames, device=x_FNC.device)
        waves = sinusoids(numbers, x_FNC.shape[-1] // 2).to(x_FNC.dtype)
        embedding_TC = self.linear_2(F.silu(self.linear_1(waves)))
        clips = len(x_FNC) // setting.num_frames
        return x_FNC + embedding_TC.repeat(clips, 1)[:, None]


class TemporalTransformerBlock(nn.Module):
    """Feed-forward, attention over the frames, attention to the text, feed-forward.

    Each behind a LayerNorm and added to its input. Every pixel attends to itself in all frames of
    its clip, and to the text of the first.
    """

    def __init__(self, place: Place, **factory: Unpack[Factory]) -> None:
        super().__init__()
        width, heads = place.channels, place.num_heads
        frames, text = Site(f"{place.name}.attn1", "temporal"), Site(f"{place.name}.attn2", "cross")
        self.norm_in = nn.LayerNorm(width, **factory)
        self.ff_in = FeedForward(width, **factory)
        self.norm1 = nn.LayerNorm(width, **factory)
        self.attn1 = Attention(frames, width, width, heads, **factory)
        self.norm2 = nn.LayerNorm(width, **factory)
        self.attn2 = Attention(text, width, place.context_channels, heads, **factory)
        self.norm3 = nn.LayerNorm(width, **factory)
        self.ff = FeedForward(width, **factory)

    def forward(self, x_FNC: Tensor, setting: Setting) -> Tensor:
        """(F, N, C) -> (F, N, C)."""
        tokens = x_FNC.shape[1]
        x = rearrange(x_FNC, "(b t) n c -> (b n) t c", t=setting.num_frames)
        x = x + self.ff_in(self.norm_in(x))
        y = self.norm1(x)
        x = x + self.attn1(y, y, None)
        # The text is the same for all pixels: they are queries of one attention.
        text, mask = setting.first_text()
        y = rearrange(self.norm2(x), "(b n) t c -> b (n t) c", n=tokens)
        x = x + rearrange(self.attn2(y, text, mask), "b (n t) c -> (b n) t c", n=tokens)
        x = x + self.ff(self.norm3(x))
        return rearrange(x, "(b n) t c -> (b t) n c", n=tokens)


class AlphaBlender(nn.Module):
    """a x + (1 - a) y, a = sigmoid of one learned number; a = 1 for frames that are images."""

    def __init__(self, _place: Place, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.mix_factor = nn.Parameter(torch.full((1,), MIX_FACTOR, **factory))

    def forward(self, x: Tensor, y: Tensor, setting: Setting) -> Tensor:
        """x, y (F, ...) -> the same shape."""
        a = self.mix_factor.sigmoid()
        if "image_only" in setting.conditions:
            images = setting.conditions.of(Vector, "image_only").x.flatten().bool()
            a = torch.where(images, 1.0, a).view(-1, *(1,) * (x.ndim - 1))
        return a * x + (1 - a) * y


class SVDUNet(VideoUNet):
    """Predicts F of the denoiser D = c_skip x + c_out F(c_in x; c_noise, conditions).

    The state is (B, 4, T, H, W), scaled by c_in already; time (B,) is c_noise = ln(sigma) / 4.

    Conditions: ``crossattn``, Tokens (B, L, context_channels), of the picture or the text;
    ``concat``, Grid (B, concat_channels, 1 or T, H, W), latents of the picture, for the form that
    has such channels; ``vector``, Vector (B, vector_channels), see `micro_conditions`, likewise;
    ``image_only``, Vector (B, T), may be left out: 1 for frames that are single images, which
    all temporal layers pass by. With one token, queries and keys of the attentions to it have no
    effect.
    """

    config: SVDUNetConfig

    def __init__(self, config: SVDUNetConfig, **factory: Unpack[Factory]) -> None:
        slots = Slots(
            after_resnet=TemporalResnetBlock,
            before_after_block=FrameEmbedding,
            after_block=TemporalTransformerBlock,
            fusion=AlphaBlender,
        )
        super().__init__(config, slots, **factory)
        if config.vector_channels:
            self.add_embedding = MLPEmbedder(
                config.vector_channels, 4 * config.channels[0], **factory
            )

    def reset_parameters(self) -> None:
        """As without time; temporal residual blocks return their input."""
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, TemporalResnetBlock):
                close(module.conv2)

    def embedding(self, time: Tensor, conditions: Conditions) -> Tensor:
        """(B, E) of time and micro-conditions."""
        embedding = super().embedding(time, conditions)
        if self.config.vector_channels:
            vector = conditions.of(Vector, "vector").x.to(embedding.dtype)
            embedding = embedding + self.add_embedding(vector)
        return embedding
