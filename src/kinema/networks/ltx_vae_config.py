"""Sizes of LTX-Video's VAE: the configuration, the published versions, the authors' constructor.

Paper, code and license: see `ltx_vae.py`. Verified: the parameter counts of the three versions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kinema.config import config, from_dict
from kinema.errors import InputError, unknown
from kinema.networks.official import check_arguments

Factors = tuple[int, int, int]  # over time, height, width

STRIDES: dict[str, Factors] = {
    "compress_time": (2, 1, 1),
    "compress_space": (1, 2, 2),
    "compress_all": (2, 2, 2),
}
# The fields of BlockConfig that a block of each kind has.
ENCODER_FIELDS: dict[str, tuple[str, ...]] = {
    "res_x": ("num_layers",),
    "res_x_y": ("multiplier",),
    **dict.fromkeys(STRIDES, ()),
    **{f"{kind}_res": ("multiplier",) for kind in STRIDES},
}
DECODER_FIELDS: dict[str, tuple[str, ...]] = {
    "res_x": ("num_layers", "inject_noise"),
    "res_x_y": ("multiplier",),
    **dict.fromkeys(STRIDES, ("multiplier", "residual")),
}


@config
class BlockConfig:
    """One block of the encoder or the decoder.

    res_x: residual blocks; res_x_y: one residual block that changes the channels; compress_*: a
    step of 2 in time, space or all, in the encoder by a strided conv; compress_*_res: the encoder's
    step by space-to-depth with a shortcut.

    Attributes:
        num_layers: residual blocks of a res_x.
        multiplier: by how much channels grow in the encoder and shrink in the decoder.
        inject_noise: a res_x of the decoder adds noise maps.
        residual: a compress_* of the decoder has a shortcut.
    """

    kind: Literal[
        "res_x",
        "res_x_y",
        "compress_time",
        "compress_space",
        "compress_all",
        "compress_time_res",
        "compress_space_res",
        "compress_all_res",
    ]
    num_layers: int = 1
    multiplier: int = 1
    inject_noise: bool = False
    residual: bool = False

    @property
    def stride(self) -> Factors:
        """The change of resolution over time, height, width."""
        return STRIDES.get(self.kind.removesuffix("_res"), (1, 1, 1))

    @property
    def has_shortcut(self) -> bool:
        """A change of resolution with a shortcut, which binds the numbers of channels."""
        return self.residual or self.kind.endswith("_res")


@config
class LTXVAEConfig:
    """Sizes of an `LTXVAE`.

    Attributes:
        in_channels: of the pixels, 3.
        latent_channels: of the latents.
        patch_size: side of the pixel patches that enter and leave the convolutions.
        encoder_base_channels: after the encoder's first conv.
        decoder_base_channels: before the decoder's last conv.
        encoder_blocks, decoder_blocks: in the order of use (the authors list the decoder's
            reversed).
        timestep_conditioning: the decoder knows the noise level of its latents.
        causal_decoder: the decoder too sees only the past; no published version has it.
        spatial_padding_mode: of every 3x3x3 conv.

    Raises:
        InputError: a block does not belong on its side, or sizes do not fit together.
    """

    in_channels: int
    latent_channels: int
    patch_size: int
    encoder_base_channels: int
    decoder_base_channels: int
    encoder_blocks: tuple[BlockConfig, ...]
    decoder_blocks: tuple[BlockConfig, ...]
    timestep_conditioning: bool
    causal_decoder: bool
    spatial_padding_mode: Literal["zeros", "replicate", "reflect"]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise InputError(f"{field.name} of the VAE must be 1 or more, not {value}")
        widening = tuple(reversed(self.decoder_blocks))
        _check_blocks("encoder", self.encoder_base_channels, self.encoder_blocks, ENCODER_FIELDS)
        _check_blocks("decoder", self.decoder_base_channels, widening, DECODER_FIELDS)
        down, up = _stride(self.encoder_blocks), _stride(self.decoder_blocks)
        if down != up:
            raise InputError(
                f"the encoder divides time, height and width by {down}, the decoder multiplies "
                f"them by {up}; give both the same steps"
            )

    @property
    def stride(self) -> Factors:
        """Pixels per latent over time, height, width."""
        t, h, w = _stride(self.encoder_blocks)
        return t, h * self.patch_size, w * self.patch_size


def _stride(blocks: Sequence[BlockConfig]) -> Factors:
    t, h, w = (math.prod(block.stride[axis] for block in blocks) for axis in range(3))
    return t, h, w


def _check_blocks(
    side: str, channels: int, blocks: Sequence[BlockConfig], fields: dict[str, tuple[str, ...]]
) -> None:
    """Refuses blocks, in the order of growing channels, that cannot be built."""
    for block in blocks:
        if block.kind not in fields:
            raise InputError(f"{block.kind} is no block of the {side}; it has {', '.join(fields)}")
        for field in dataclasses.fields(block):
            strange = field.name not in ("kind", *fields[block.kind])
            if strange and getattr(block, field.name) != field.default:
                raise InputError(f"a {block.kind} block of the {side} takes no {field.name}")
        if block.num_layers < 1 or block.multiplier < 1:
            raise InputError(f"num_layers and multiplier of {block} must be 1 or more")
        channels *= block.multiplier
        cell = math.prod(block.stride)
        if block.has_shortcut and (channels % cell or cell % block.multiplier):
            raise InputError(
                f"the shortcut of {block.kind} at {channels} channels of the {side} needs channels "
                f"that are a multiple of {cell} and a multiplier that divides {cell}"
            )


def v0_9_0() -> LTXVAEConfig:
    """0.9.0: 32x32x8 pixels to 128 channels; the decoder has no time. 419,193,649 parameters."""
    down = (
        BlockConfig(kind="res_x", num_layers=4),
        BlockConfig(kind="compress_all"),
        BlockConfig(kind="res_x_y", multiplier=2),
        BlockConfig(kind="res_x", num_layers=3),
        BlockConfig(kind="compress_all"),
        BlockConfig(kind="res_x_y", multiplier=2),
        BlockConfig(kind="res_x", num_layers=3),
        BlockConfig(kind="compress_all"),
        BlockConfig(kind="res_x", num_layers=3),
        BlockConfig(kind="res_x", num_layers=4),
    )
    return LTXVAEConfig(
        in_channels=3,
        latent_channels=128,
        patch_size=4,
        encoder_base_channels=128,
        decoder_base_channels=128,
        encoder_blocks=down,
        decoder_blocks=down[::-1],
        timestep_conditioning=False,
        causal_decoder=False,
        spatial_padding_mode="zeros",
    )


def v0_9_1() -> LTXVAEConfig:
    """0.9.1: the encoder of 0.9.0, a decoder with time and noise maps. 934,976,434 parameters."""
    up = BlockConfig(kind="compress_all", multiplier=2, residual=True)
    return dataclasses.replace(
        v0_9_0(),
        decoder_blocks=(
            BlockConfig(kind="res_x", num_layers=8),
            up,
            BlockConfig(kind="res_x", num_layers=7, inject_noise=True),
            up,
            BlockConfig(kind="res_x", num_layers=6, inject_noise=True),
            up,
            BlockConfig(kind="res_x", num_layers=5, inject_noise=True),
        ),
        timestep_conditioning=True,
    )


def v0_9_5() -> LTXVAEConfig:
    """0.9.5 to 0.9.8, 2B and 13B: space-to-depth encoder, no maps. 1,246,913,522 parameters."""
    up = BlockConfig(kind="compress_all", multiplier=2, residual=True)
    res = BlockConfig(kind="res_x", num_layers=5)
    return dataclasses.replace(
        v0_9_1(),
        encoder_blocks=(
            BlockConfig(kind="res_x", num_layers=4),
            BlockConfig(kind="compress_space_res", multiplier=2),
            BlockConfig(kind="res_x", num_layers=6),
            BlockConfig(kind="compress_time_res", multiplier=2),
            BlockConfig(kind="res_x", num_layers=6),
            BlockConfig(kind="compress_all_res", multiplier=2),
            BlockConfig(kind="res_x", num_layers=2),
            BlockConfig(kind="compress_all_res", multiplier=2),
            BlockConfig(kind="res_x", num_layers=2),
        ),
        decoder_blocks=(res, up, res, up, res, up, res),
    )


# Arguments of the authors' constructor with their defaults; `None` where there is none.
_ARGUMENTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": None,
    "patch_size": 1,
    "encoder_base_channels": 128,
    "decoder_base_channels": 128,
    "timestep_conditioning": False,
    "causal_decoder": False,
    "spatial_padding_mode": "zeros",
}
# Arguments of which every published version uses one value, and only that is built here; the first
# five are always given.
_FIXED: dict[str, tuple[Any, ...]] = {
    "_class_name": ("CausalVideoAutoencoder",),
    "dims": (3,),
    "norm_layer": ("pixel_norm",),
    "latent_log_var": ("uniform",),
    "use_quant_conv": (False,),
    "scaling_factor": (1.0,),
    "normalize_latent_channels": (False,),
    "double_z": (True,),
}
_NEEDED = (*tuple(_FIXED)[:5], "latent_channels")
_BLOCK_LISTS = ("blocks", "encoder_blocks", "decoder_blocks")


def from_official(arguments: Mapping[str, Any]) -> LTXVAEConfig:
    """The configuration for the authors' constructor arguments, as their files carry them.

    Blocks are pairs (kind, number of layers) or (kind, parameters); one list `blocks` may stand for
    both sides.

    Raises:
        InputError: an argument is unknown, missing, or has a value of no published version.
    """
    optional = (*_ARGUMENTS, *_BLOCK_LISTS)
    check_arguments("the LTX-Video VAE", arguments, needed=_NEEDED, optional=optional, fixed=_FIXED)
    given = _ARGUMENTS | dict(arguments)
    given.setdefault("encoder_blocks", given.get("blocks"))
    given.setdefault("decoder_blocks", given.get("blocks"))
    for name in ("encoder_blocks", "decoder_blocks"):
        if given[name] is None:
            raise InputError(f"the arguments of the LTX-Video VAE lack {name!r}")
    if given.pop("out_channels") != given["in_channels"]:
        raise InputError("out_channels of the LTX-Video VAE must equal in_channels")
    values = {name: given[name] for name in _ARGUMENTS if name != "out_channels"}
    values["encoder_blocks"] = _official_blocks(given["encoder_blocks"], ENCODER_FIELDS)
    ups = _official_blocks(given["decoder_blocks"], _OFFICIAL_DECODER_FIELDS)
    values["decoder_blocks"] = ups[::-1]
    return from_dict(LTXVAEConfig, values)


# The authors' decoder ignores the parameters of a step in time or space alone.
_OFFICIAL_DECODER_FIELDS = DECODER_FIELDS | {"compress_time": (), "compress_space": ()}


def _official_blocks(blocks: Any, fields: dict[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """The authors' pairs as values of `BlockConfig`; steps widen by 2 if not told."""
    read = []
    for block in blocks:
        if not isinstance(block, (list, tuple)) or len(block) != 2:
            raise InputError(
                f"a block of the LTX-Video VAE is a pair (kind, parameters), not {block!r}"
            )
        kind, given = block
        if kind not in fields:
            raise unknown("block of the LTX-Video VAE", str(kind), fields)
        # A number counts layers; where there is only one layer the authors write 1.
        layers = {"num_layers": given} if kind == "res_x" else {}
        parameters = given if isinstance(given, dict) else layers
        if not isinstance(given, dict) and not layers and given != 1:
            raise InputError(f"a {kind} block of the LTX-Video VAE has one layer, not {given!r}")
        for name in parameters:
            if name not in fields[kind]:
                raise unknown(f"parameter of a {kind} block", name, fields[kind])
        default = {"multiplier": 2} if kind == "res_x_y" or kind.endswith("_res") else {}
        read.append({"kind": kind, **default, **parameters})
    return read
