"""VideoMAE: Masked Autoencoders are Data-Efficient Learners (arXiv 2203.12602): its classifier.

Authors' code: github.com/MCG-NJU/VideoMAE (CC-BY-NC-4.0), ``VisionTransformer``; that of VideoMAE
V2 (arXiv 2303.16727, github.com/OpenGVLab/VideoMAEv2, MIT) is the same network, in sizes up to
giant. Verified: names and shapes of the published sizes and, at random weights, states, features
and logits against the authors' class (VideoMAE V2, a recorded case) and transformers'
``VideoMAEForVideoClassification`` (5.23.0). Left out: LayerScale and cosine attention, which are
off in what is published. The decoder of pre-training is in `videomae_pretraining.py`.

Letters: B clips, N tubelets, D width, K classes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Unpack

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from kinema.config import config, from_dict
from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from kinema.errors import InputError
from kinema.networks.official import check_arguments
from kinema.networks.vit import MLP, Attention, DroppingBlock, PatchEmbed, ViTConfig
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.dropping import Dropout, linear_rates
from kinema.nn.factory import Factory
from kinema.nn.init import initialize_xavier
from kinema.nn.sites import Site

TUBELET = 2  # frames
MAX_PERIOD = 10_000.0
HEAD_STD = 0.02 * 0.001  # of the weights of the authors' head

# That of transformers' files. The authors resize by OpenCV, which averages nothing.
PREPROCESSING = Preprocessing(
    shorter_side=224,
    size=224,
    interpolation="bilinear",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
)


@config
class VideoMAEConfig(ViTConfig):
    """Sizes of the classifier of clips of `num_frames` square frames.

    Args:
        hidden: width inside an MLP.
        num_frames: of a clip; two make a tubelet.
        num_classes: K.
        drop_path: rate of the last block in training; it rises evenly from 0.
        dropout: rate before the head in training.
    """

    hidden: int
    num_frames: int
    num_classes: int
    drop_path: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        ViTConfig.__post_init__(self)
        if self.num_frames % TUBELET:
            raise InputError(f"num_frames must be a multiple of {TUBELET}, not {self.num_frames}")

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tubelets in time, in a column and in a row; their product is N."""
        side = self.image_size // self.patch_size
        return self.num_frames // TUBELET, side, side


def vit_s_16(num_classes: int) -> VideoMAEConfig:
    """ViT-S/16: 22,033,936 parameters for the 400 classes of Kinetics-400."""
    return _published(384, num_layers=12, num_heads=6, num_classes=num_classes)


def vit_b_16(num_classes: int) -> VideoMAEConfig:
    """ViT-B/16: 86,534,800 parameters for the 400 classes of Kinetics-400."""
    return _published(768, num_layers=12, num_heads=12, num_classes=num_classes)


def vit_l_16(num_classes: int) -> VideoMAEConfig:
    """ViT-L/16: 304,270,736 parameters for the 400 classes of Kinetics-400."""
    return _published(1024, num_layers=24, num_heads=16, num_classes=num_classes)


def vit_h_16(num_classes: int) -> VideoMAEConfig:
    """ViT-H/16: 632,119,440 parameters for the 400 classes of Kinetics-400."""
    return _published(1280, num_layers=32, num_heads=16, num_classes=num_classes)


def vit_g_14(num_classes: int) -> VideoMAEConfig:
    """ViT-g/14 of VideoMAE V2: 1,012,611,142 parameters for the 710 classes of K710."""
    return VideoMAEConfig(
        image_size=224,
        patch_size=14,
        width=1408,
        num_layers=40,
        num_heads=16,
        hidden=6144,
        num_frames=16,
        num_classes=num_classes,
    )


def _published(width: int, *, num_layers: int, num_heads: int, num_classes: int) -> VideoMAEConfig:
    return VideoMAEConfig(
        image_size=224,
        patch_size=16,
        width=width,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden=4 * width,
        num_frames=16,
        num_classes=num_classes,
    )


SIZES = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "all_frames": "num_frames",
    "embed_dim": "width",
    "depth": "num_layers",
    "num_heads": "num_heads",
    "num_classes": "num_classes",
}
FIXED: dict[str, tuple[Any, ...]] = {
    "qkv_bias": (True,),
    "init_scale": (0.001,),
    "norm_layer": ("LayerNorm eps 1e-6",),
}


def from_official(official: Mapping[str, Any]) -> VideoMAEConfig:
    """Reads the constructor arguments of the authors' ``VisionTransformer``.

    Raises:
        InputError: an argument is unknown or missing, or asks for what we leave out.
    """
    needed = (*SIZES, "mlp_ratio")
    check_arguments("VideoMAE", official, needed=needed, optional=(), fixed=FIXED)
    named = {ours: official[theirs] for theirs, ours in SIZES.items()}
    hidden = int(official["mlp_ratio"] * official["embed_dim"])
    return from_dict(VideoMAEConfig, {**named, "hidden": hidden}, where="VideoMAE")


@functools.lru_cache(maxsize=8)
def positions(num_tokens: int, width: int) -> Tensor:
    """Sines (even channels) and cosines (odd) of the number of a token, (N, D) on the CPU.

    Computed in float64, as the authors' table, then float32. It lies in no published file.
    """
    channel = torch.arange(0, width, 2, device="cpu", dtype=torch.float64)
    number = torch.arange(num_tokens, device="cpu", dtype=torch.float64)
    angle = number[:, None] / MAX_PERIOD ** (channel / width)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).float()


class QueryValueBias(nn.Linear):
    """(..., D) -> (..., 3 D): queries, keys and values, of which keys have no bias.

    A bias of keys adds the same to all logits of a query, which softmax does not see.
    """

    def __init__(self, width: int, **factory: Unpack[Factory]) -> None:
        super().__init__(width, 3 * width, bias=False, **factory)
        self.q_bias = nn.Parameter(torch.zeros(width, **factory))
        self.v_bias = nn.Parameter(torch.zeros(width, **factory))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        return functional.linear(x, self.weight, bias)


class VideoMAEEncoder(Checkpointed):
    """Clips to the states of their tubelets: what classifier and pre-training share."""

    def __init__(self, config: VideoMAEConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        tubelet = (TUBELET, config.patch_size, config.patch_size)
        self.patch_embed = PatchEmbed(tubelet, config.width, bias=True, **factory)
        rates = linear_rates(config.drop_path, config.num_layers)
        self.blocks = nn.ModuleList(
            videomae_block(
                f"blocks.{i}",
                config.width,
                config.num_heads,
                config.hidden,
                eps=config.eps,
                drop_path=rate,
                **factory,
            )
            for i, rate in enumerate(rates)
        )
        initialize_xavier(self)

    def embed(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S), normalized -> tubelets (B, N, D) at their positions.

        Raises:
            InputError: the clips have another size.
        """
        size = self.config.image_size
        expected = (3, self.config.num_frames, size, size)
        if x.shape[1:] != expected:
            raise InputError(f"VideoMAE reads clips (B, {str(expected)[1:]}, not {tuple(x.shape)}")
        x_BND = self.patch_embed(x)
        return x_BND + positions(*x_BND.shape[1:]).to(x_BND)

    def tokens(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S), normalized -> states (B, N, D) behind the last block."""
        return self.through(self.blocks, self.embed(x), None)


class VideoMAE(VideoMAEEncoder):
    """Clips (B, 3, T, S, S) -> logits (B, K) of what is done in them."""

    def __init__(self, config: VideoMAEConfig, **factory: Unpack[Factory]) -> None:
        super().__init__(config, **factory)
        self.fc_norm = nn.LayerNorm(config.width, eps=config.eps, **factory)
        self.head = nn.Linear(config.width, config.num_classes, **factory)
        self.dropout = Dropout(config.dropout, "head")
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The head starts near zero; the encoder as it does for pre-training."""
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, S, S), normalized -> the normed mean of the states (B, D)."""
        return self.fc_norm(self.tokens(x).mean(1))

    def forward_head(self, features: Tensor) -> Tensor:
        """Features (B, D) -> logits (B, K)."""
        return self.head(self.dropout(features))

    def forward(self, x: Tensor) -> Tensor:
        """See the class; clips are normalized as `PREPROCESSING` does."""
        return self.forward_head(self.forward_features(x))


def videomae_block(
    name: str,
    width: int,
    num_heads: int,
    hidden: int,
    *,
    eps: float,
    drop_path: float,
    **factory: Unpack[Factory],
) -> DroppingBlock:
    """A block of encoder and decoder, of this name in its network."""
    qkv = QueryValueBias(width, **factory)
    attn = Attention(Site(f"{name}.attn", "self"), width, num_heads, qkv, **factory)
    mlp = MLP(width, hidden, functional.gelu, **factory)
    return DroppingBlock(name, attn, mlp, width, eps=eps, drop_path=drop_path, **factory)
