"""The pre-training network of VideoMAE V2 (arXiv 2303.16727): clips from a few of their tubelets.

The classifier and the papers' code and license: see `videomae.py`. Verified by a recorded case of
the authors' ``PretrainVisionTransformer``: the encoder on what is left, both forms of decoding; by
manifests: the published sizes; transformers' ``VideoMAEForPreTraining`` (5.23.0) gives the same
where all hidden tubelets are decoded.

Letters: B clips, N tubelets, V of them seen by the encoder, M decoded, D width of the encoder, E of
the decoder, C values of a tubelet (3 * 2 * p * p).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import torch
from einops import rearrange
from torch import Tensor, nn

from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.networks.official import check_arguments
from kinema.networks.patch_decoder import NormalizedPatches, normalized
from kinema.networks.videomae import (
    TUBELET,
    VideoMAEConfig,
    VideoMAEEncoder,
    positions,
    videomae_block,
)
from kinema.networks.vit import check_heads
from kinema.nn.checkpointing import Checkpointed
from kinema.nn.factory import Factory
from kinema.nn.init import STD, initialize_xavier

DEPTH = 4  # of every published decoder
RATIO = 4  # of the width inside an MLP to that outside, of all sizes but giant


@config
class VideoMAEDecoderConfig:
    """Sizes of the decoder.

    Args:
        encoder_width: D.
        width: E.
        num_layers, num_heads: of its blocks.
        hidden: width inside an MLP.
        patch_size: pixels along a side of a tubelet.
        eps: of its norms, and of the encoder's last.
    """

    encoder_width: int
    width: int
    num_layers: int
    num_heads: int
    hidden: int
    patch_size: int
    eps: float = 1e-6

    def __post_init__(self) -> None:
        check_heads(self.width, self.num_heads)

    @property
    def values(self) -> int:
        """C."""
        return 3 * TUBELET * self.patch_size**2


def decoder_of(encoder: VideoMAEConfig) -> VideoMAEDecoderConfig:
    """The published decoder of a published encoder: half as wide, but never wider than 512."""
    width = min(encoder.width // 2, 512)
    return VideoMAEDecoderConfig(
        encoder_width=encoder.width,
        width=width,
        num_layers=DEPTH,
        num_heads=width // 64,
        hidden=width * encoder.hidden // encoder.width,
        patch_size=encoder.patch_size,
    )


def check_fit(encoder: VideoMAEConfig, decoder: VideoMAEDecoderConfig) -> None:
    """Raises InputError unless a decoder is made for an encoder of these sizes."""
    for name, theirs in (("encoder_width", encoder.width), ("patch_size", encoder.patch_size)):
        if getattr(decoder, name) != theirs:
            raise InputError(f"the decoder has {name} {getattr(decoder, name)}, not {theirs}")


SIZES = {
    "img_size": "image_size",
    "patch_size": "patch_size",
    "encoder_embed_dim": "width",
    "encoder_depth": "num_layers",
    "encoder_num_heads": "num_heads",
    "all_frames": "num_frames",
}
DECODER_SIZES = {
    "patch_size": "patch_size",
    "encoder_embed_dim": "encoder_width",
    "decoder_embed_dim": "width",
    "decoder_depth": "num_layers",
    "decoder_num_heads": "num_heads",
}


def from_official(official: Mapping[str, Any]) -> tuple[VideoMAEConfig, VideoMAEDecoderConfig]:
    """Reads the constructor arguments of the authors' ``PretrainVisionTransformer``.

    Raises:
        InputError: an argument is unknown or missing, or asks for another network.
    """
    fixed = {"qkv_bias": (True,), "norm_layer": ("LayerNorm eps 1e-6",), "mlp_ratio": (RATIO,)}
    needed = {*SIZES, *DECODER_SIZES, "decoder_num_classes"}
    check_arguments("VideoMAE V2", official, needed=needed, optional=(), fixed=fixed)
    sizes = {ours: official[theirs] for theirs, ours in SIZES.items()}
    sizes |= {"hidden": RATIO * official["encoder_embed_dim"], "num_classes": 0}
    encoder = from_dict(VideoMAEConfig, sizes, where="VideoMAE V2")
    named = {ours: official[theirs] for theirs, ours in DECODER_SIZES.items()}
    named |= {"hidden": RATIO * official["decoder_embed_dim"]}
    decoder = from_dict(VideoMAEDecoderConfig, named, where="VideoMAE V2")
    if official["decoder_num_classes"] != decoder.values:
        raise InputError(
            f"a tubelet has {decoder.values} values, not "
            f"decoder_num_classes={official['decoder_num_classes']}"
        )
    return encoder, decoder


class VideoMAEDecoder(Checkpointed):
    """States of seen tubelets (B, V, D) -> pixels of others (B, M, C), as they are normalized.

    The encoder's last norm is here: nothing but the decoder reads behind it.
    """

    def __init__(self, config: VideoMAEDecoderConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.encoder_norm = nn.LayerNorm(config.encoder_width, eps=config.eps, **factory)
        self.embed = nn.Linear(config.encoder_width, width, bias=False, **factory)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width, **factory))
        self.blocks = nn.ModuleList(
            videomae_block(
                f"decoder.blocks.{i}",
                width,
                config.num_heads,
                config.hidden,
                eps=config.eps,
                drop_path=0.0,
                **factory,
            )
            for i in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width, eps=config.eps, **factory)
        self.head = nn.Linear(width, config.values, **factory)
        initialize_xavier(self)
        nn.init.trunc_normal_(self.mask_token, std=STD)

    def forward(self, states_BVD: Tensor, seen_BN: Tensor, decoded_BN: Tensor) -> Tensor:
        """See the class; the masks say which tubelets of each clip are seen, and decoded."""
        x_BVE = self.embed(self.encoder_norm(states_BVD))
        table = positions(seen_BN.shape[1], self.config.width).to(x_BVE)
        x = torch.cat(
            [x_BVE + chosen(table, seen_BN), self.mask_token + chosen(table, decoded_BN)], 1
        )
        x = self.through(self.blocks, x, None)
        return self.head(self.norm(x[:, x_BVE.shape[1] :]))


class MaskedAutoencoder(nn.Module):
    """Clips (B, 3, T, S, S), of which most is hidden -> pixels of tubelets (B, M, C).

    Args:
        encoder: sees what is not hidden; a classifier is one too.
        decoder: made for it.
    """

    def __init__(self, encoder: VideoMAEEncoder, decoder: VideoMAEDecoder) -> None:
        super().__init__()
        check_fit(encoder.config, decoder.config)
        self.encoder, self.decoder = encoder, decoder

    def forward(self, clips: Tensor, hidden_BN: Tensor, decoded_BN: Tensor) -> Tensor:
        """See the class.

        Args:
            clips: normalized.
            hidden_BN: bool, true where the encoder sees nothing; as many in every clip.
            decoded_BN: bool, true where pixels are predicted; as many in every clip.
        """
        x_BVD = chosen(self.encoder.embed(clips), ~hidden_BN)
        states = self.encoder.through(self.encoder.blocks, x_BVD, None)
        return self.decoder(states, ~hidden_BN, decoded_BN)


def chosen(values: Tensor, mask_BN: Tensor) -> Tensor:
    """The rows of (N, E), or of (B, N, E), that a mask with as many in every row leaves."""
    return values.expand(*mask_BN.shape, -1)[mask_BN].unflatten(0, (len(mask_BN), -1))


def tubelets(pixels: Tensor, patch_size: int) -> Tensor:
    """Clips (B, 3, T, S, S) -> (B, N, 3, C / 3): the pixels of each tubelet, color by color."""
    sizes = {"i": TUBELET, "p": patch_size, "q": patch_size}
    return rearrange(pixels, "b c (t i) (y p) (x q) -> b (t y x) c (i p q)", **sizes)


def from_tubelets(values: Tensor, grid: tuple[int, int, int], patch_size: int) -> Tensor:
    """The inverse of `tubelets`, for a grid of (time, rows, columns)."""
    sizes = {"t": grid[0], "y": grid[1], "i": TUBELET, "p": patch_size}
    return rearrange(values, "b (t y x) c (i p q) -> b c (t i) (y p) (x q)", **sizes)


def color_last(values: Tensor) -> Tensor:
    """Tubelets (B, N, 3, C / 3) as the decoder gives them: (B, N, C)."""
    return rearrange(values, "b n c v -> b n (v c)")


def color_first(values: Tensor) -> Tensor:
    """The inverse of `color_last`."""
    return rearrange(values, "b n (v c) -> b n c v", c=3)


def targets(pixels: Tensor, patch_size: int) -> NormalizedPatches:
    """What the decoder learns of clips (B, 3, T, S, S) in [0, 1]: each color of each tubelet by
    itself has mean 0 and unbiased deviation 1; (B, N, 3, C / 3).
    """
    return normalized(tubelets(pixels, patch_size))
