"""Sizes of the KL autoencoder: configuration, published version, the authors' constructor.

Paper, code and license: see `kl_vae.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.networks.official import check_arguments


@config
class KLVAEConfig:
    """Sizes of a `KLVAE`.

    Attributes:
        latent_channels: of the latents.
        channels: of each level, from the finest; between two the resolution is halved.
        num_layers: residual blocks of a level of the encoder; the decoder has one more.
        norm_groups: of every group norm; divides all channels.
        scale: what latents are multiplied with, for a deviation of about 1.
    """

    latent_channels: int
    channels: tuple[int, ...]
    num_layers: int
    norm_groups: int
    scale: float

    def __post_init__(self) -> None:
        if not self.channels:
            raise InputError("channels of the KL autoencoder must name a level at least")
        for width in self.channels:
            if width % self.norm_groups:
                raise InputError(
                    f"channels of the KL autoencoder must be multiples of {self.norm_groups}, the "
                    f"groups of its norms, not {width}"
                )

    @property
    def stride(self) -> int:
        """Pixels to a latent, along height and width."""
        return 2 ** (len(self.channels) - 1)


def stable_diffusion() -> KLVAEConfig:
    """Of Stable Diffusion 1 and 2, and of the encoder of Stable Video Diffusion."""
    return KLVAEConfig(
        latent_channels=4,
        channels=(128, 256, 512, 512),
        num_layers=2,
        norm_groups=32,
        scale=0.18215,
    )


_FIXED: dict[str, tuple[Any, ...]] = {
    "in_channels": (3,),
    "out_ch": (3,),
    "double_z": (True,),
    "attn_type": ("vanilla",),
    "attn_resolutions": ([],),
    "dropout": (0.0,),
}
_SIZES = ("z_channels", "ch", "ch_mult", "num_res_blocks")
_UNUSED = ("resolution",)  # the authors only compare it with attn_resolutions


def from_official(arguments: Mapping[str, Any]) -> KLVAEConfig:
    """The configuration for the arguments of the authors' encoder and decoder.

    Raises:
        InputError: an argument is unknown, missing, or would make another network.
    """
    check_arguments("the KL autoencoder", arguments, needed=_SIZES, optional=_UNUSED, fixed=_FIXED)
    published = stable_diffusion()
    values = {
        "latent_channels": arguments["z_channels"],
        "channels": [arguments["ch"] * factor for factor in arguments["ch_mult"]],
        "num_layers": arguments["num_res_blocks"],
        "norm_groups": published.norm_groups,
        "scale": published.scale,
    }
    return from_dict(KLVAEConfig, values)
