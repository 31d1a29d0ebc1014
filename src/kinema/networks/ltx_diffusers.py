"""LTX-Video's networks as diffusers describes them: its arguments to our sizes, and back.

Paper, code and license: see `ltx_transformer.py`. Verified against diffusers 0.42.1 (Apache-2.0):
the arguments of ``LTXVideoTransformer3DModel`` and ``AutoencoderKLLTXVideo``, and equal outputs.

diffusers counts levels, from the pixels to the middle, for the encoder and the decoder alike: some
residual blocks, and what stands between them and the next level's.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from kinema.config import from_dict
from kinema.errors import InputError
from kinema.networks.ltx_transformer import LTXTransformerConfig
from kinema.networks.ltx_vae_config import BlockConfig, LTXVAEConfig
from kinema.networks.official import check_arguments
from kinema.weights.keymap import KeyMap
from kinema.weights.maps import ltx_vae as vae_map

# -- the transformer --------------------------------------------------------------------------

TRANSFORMER_SIZES = {
    "in_channels": "latent_channels",
    "caption_channels": "caption_channels",
    "num_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "attention_head_dim": "head_width",
}
# Arguments of which we build one value; diffusers' defaults too.
TRANSFORMER_FIXED: dict[str, Any] = {
    "_class_name": "LTXVideoTransformer3DModel",
    "patch_size": 1,
    "patch_size_t": 1,
    "activation_fn": "gelu-approximate",
    "qk_norm": "rms_norm_across_heads",
    "norm_elementwise_affine": False,
    "norm_eps": 1e-6,
    "attention_bias": True,
    "attention_out_bias": True,
}


def transformer_from_diffusers(arguments: Mapping[str, Any]) -> LTXTransformerConfig:
    """The configuration for the arguments of ``LTXVideoTransformer3DModel``.

    Raises:
        InputError: an argument is unknown or missing, or makes another network.
    """
    what = "diffusers' LTX transformer"
    also = ("out_channels", "cross_attention_dim")
    fixed = {name: (value,) for name, value in TRANSFORMER_FIXED.items()}
    check_arguments(what, arguments, needed=TRANSFORMER_SIZES, optional=also, fixed=fixed)
    sizes = {ours: arguments[theirs] for theirs, ours in TRANSFORMER_SIZES.items()}
    read = from_dict(LTXTransformerConfig, sizes, where=what)
    for name, size in (("out_channels", read.latent_channels), ("cross_attention_dim", read.width)):
        if arguments.get(name, size) not in (size, None):
            raise InputError(f"{name} of {what} must be {size}, not {arguments[name]!r}")
    return read


def transformer_to_diffusers(config: LTXTransformerConfig) -> dict[str, Any]:
    """The arguments of ``LTXVideoTransformer3DModel`` for a configuration.

    Raises:
        InputError: its positions or times are told otherwise than diffusers can.
    """
    sizes = {theirs: getattr(config, ours) for theirs, ours in TRANSFORMER_SIZES.items()}
    published = from_dict(LTXTransformerConfig, {o: sizes[t] for t, o in TRANSFORMER_SIZES.items()})
    if config != published:
        raise InputError(
            "diffusers knows the published rotary table and scale of times only: theta "
            f"{published.theta:g}, max_position {published.max_position}, "
            f"time_scale {published.time_scale:g}; and no absolute_positions"
        )
    channels = {"out_channels": config.latent_channels, "cross_attention_dim": config.width}
    return {**TRANSFORMER_FIXED, **sizes, **channels}


# -- the VAE ----------------------------------------------------------------------------------

BY_CONV, SPACE_TO_DEPTH = "LTXVideoDownBlock3D", "LTXVideo095DownBlock3D"
DOWNSAMPLES = {
    "conv": "compress_all",
    "spatial": "compress_space_res",
    "temporal": "compress_time_res",
    "spatiotemporal": "compress_all_res",
}
VAE_FIXED: dict[str, Any] = {
    "_class_name": "AutoencoderKLLTXVideo",
    "patch_size_t": 1,
    "resnet_norm_eps": 1e-6,
    "scaling_factor": 1.0,
    "encoder_causal": True,
}
# Of versions before 0.9.1 the files lack what came with it.
VAE_DEFAULTS: dict[str, Any] = {
    "down_block_types": (BY_CONV,) * 4,
    "downsample_type": ("conv",) * 4,
    "decoder_block_out_channels": (128, 256, 512, 512),
    "decoder_layers_per_block": (4, 3, 3, 3, 4),
    "decoder_spatio_temporal_scaling": (True, True, True, False),
    "decoder_inject_noise": (False,) * 5,
    "upsample_residual": (False,) * 4,
    "upsample_factor": (1,) * 4,
    "timestep_conditioning": False,
    "decoder_causal": False,
    "out_channels": None,
    "spatial_compression_ratio": None,
    "temporal_compression_ratio": None,
}
VAE_NEEDED = (
    *("in_channels", "latent_channels", "patch_size"),
    *("block_out_channels", "layers_per_block", "spatio_temporal_scaling"),
)
Level = tuple[BlockConfig, tuple[BlockConfig, ...]]  # residual blocks, and what follows them


def vae_from_diffusers(arguments: Mapping[str, Any]) -> LTXVAEConfig:
    """The configuration for the arguments of ``AutoencoderKLLTXVideo``.

    Raises:
        InputError: an argument is unknown or missing, or makes another network.
    """
    what = "diffusers' LTX VAE"
    fixed = {name: (value,) for name, value in VAE_FIXED.items()}
    check_arguments(what, arguments, needed=VAE_NEEDED, optional=VAE_DEFAULTS, fixed=fixed)
    given = {**VAE_DEFAULTS, **arguments}
    if given["out_channels"] not in (None, given["in_channels"]):
        raise InputError(f"out_channels of {what} must equal in_channels")
    try:
        decoder = _read_decoder(given)[::-1]
        read = LTXVAEConfig(
            in_channels=given["in_channels"],
            latent_channels=given["latent_channels"],
            patch_size=given["patch_size"],
            encoder_base_channels=given["block_out_channels"][0],
            decoder_base_channels=_narrow(given)[0],
            encoder_blocks=tuple(_read_encoder(given)),
            decoder_blocks=tuple(decoder),
            timestep_conditioning=given["timestep_conditioning"],
            causal_decoder=given["decoder_causal"],
            spatial_padding_mode="zeros",
        )
    except (IndexError, KeyError, TypeError, ZeroDivisionError) as error:
        raise InputError(f"the arguments of {what} do not fit one another ({error})") from None
    told = given["spatial_compression_ratio"], given["temporal_compression_ratio"]
    if any(
        ratio not in (None, size) for ratio, size in zip(told, (read.stride[1], read.stride[0]))
    ):
        raise InputError(f"{what} says that it compresses by {told}; its blocks by {read.stride}")
    return read


def _read_encoder(given: Mapping[str, Any]) -> list[BlockConfig]:
    channels, layers = given["block_out_channels"], given["layers_per_block"]
    types, scaled = given["down_block_types"], given["spatio_temporal_scaling"]
    blocks = []
    for i, kind in enumerate(types):
        blocks.append(BlockConfig(kind="res_x", num_layers=layers[i]))
        wider = channels[min(i + 1, len(channels) - 1)] // channels[i]
        by_conv = kind != SPACE_TO_DEPTH
        step = DOWNSAMPLES["conv" if by_conv else given["downsample_type"][i]]
        if scaled[i]:
            change = {} if by_conv else {"multiplier": wider}
            blocks.append(from_dict(BlockConfig, {"kind": step, **change}))
        if wider != 1 and by_conv:
            blocks.append(BlockConfig(kind="res_x_y", multiplier=wider))
    return [*blocks, BlockConfig(kind="res_x", num_layers=layers[len(types)])]


def _narrow(given: Mapping[str, Any]) -> list[int]:
    """Channels of the decoder's levels behind their steps."""
    factors = given["upsample_factor"]
    wide = given["decoder_block_out_channels"]
    return [channels // factors[i] for i, channels in enumerate(wide)]


def _read_decoder(given: Mapping[str, Any]) -> list[BlockConfig]:
    """From the pixels to the middle."""
    layers, noisy = given["decoder_layers_per_block"], given["decoder_inject_noise"]
    wide, narrow = given["decoder_block_out_channels"], _narrow(given)
    blocks = []
    for i in range(len(wide)):
        blocks.append(BlockConfig(kind="res_x", num_layers=layers[i], inject_noise=noisy[i]))
        if given["decoder_spatio_temporal_scaling"][i]:
            factor, residual = given["upsample_factor"][i], given["upsample_residual"][i]
            step = BlockConfig(kind="compress_all", multiplier=factor, residual=residual)
            blocks.append(step)
        # What the level before, in the order of use, ends with.
        before = narrow[i + 1] if i + 1 < len(wide) else wide[i]
        if (factor := before // wide[i]) != 1:
            blocks.append(BlockConfig(kind="res_x_y", multiplier=factor))
    end = len(wide)
    return [*blocks, BlockConfig(kind="res_x", num_layers=layers[end], inject_noise=noisy[end])]


def vae_to_diffusers(config: LTXVAEConfig) -> dict[str, Any]:
    """The arguments of ``AutoencoderKLLTXVideo`` for a configuration.

    Raises:
        InputError: diffusers has no such VAE.
    """
    down, middle = _levels(config.encoder_blocks)
    up, core = _levels(config.decoder_blocks[::-1])
    kinds = [next((step.kind for step in steps if step.kind != "res_x_y"), "") for _, steps in down]
    samples = {kind: name for name, kind in DOWNSAMPLES.items()}
    types = [BY_CONV if kind in ("", "compress_all") else SPACE_TO_DEPTH for kind in kinds]
    wide = _channels(config.encoder_base_channels, down)
    shuffles = [[step for step in steps if step.kind == "compress_all"] for _, steps in up]
    factors = [steps[0].multiplier if steps else 1 for steps in shuffles]
    narrow = _channels(config.decoder_base_channels, up)
    arguments = {
        **VAE_FIXED,
        "in_channels": config.in_channels,
        "out_channels": config.in_channels,
        "latent_channels": config.latent_channels,
        "patch_size": config.patch_size,
        "block_out_channels": wide if SPACE_TO_DEPTH in types else wide[:-1],
        "down_block_types": types,
        "downsample_type": [samples.get(kind, "conv") for kind in kinds],
        "layers_per_block": [*(res.num_layers for res, _ in down), middle.num_layers],
        "spatio_temporal_scaling": [bool(kind) for kind in kinds],
        "decoder_block_out_channels": [size * factor for size, factor in zip(narrow, factors)],
        "decoder_layers_per_block": [*(res.num_layers for res, _ in up), core.num_layers],
        "decoder_inject_noise": [*(res.inject_noise for res, _ in up), core.inject_noise],
        "decoder_spatio_temporal_scaling": [bool(steps) for steps in shuffles],
        "upsample_residual": [any(step.residual for step in steps) for steps in shuffles],
        "upsample_factor": factors,
        "timestep_conditioning": config.timestep_conditioning,
        "decoder_causal": config.causal_decoder,
        "spatial_compression_ratio": config.stride[1],
        "temporal_compression_ratio": config.stride[0],
    }
    if vae_from_diffusers(arguments) != config:
        raise InputError("diffusers has no VAE with blocks and padding as this one's")
    return arguments


def vae_keymap(config: LTXVAEConfig) -> KeyMap:
    """The map between diffusers' names of such a VAE and ours."""
    down, up = _levels(config.encoder_blocks)[0], _levels(config.decoder_blocks[::-1])[0]
    encoder = [_names(steps, vae_map.DOWN, vae_map.WIDER) for _, steps in down]
    decoder = [_names(steps[::-1], vae_map.UP, vae_map.NARROWER) for _, steps in up]
    return vae_map.diffusers(encoder, decoder[::-1])


def _names(steps: Sequence[BlockConfig], resampling: str, other_channels: str) -> tuple[str, ...]:
    return tuple(other_channels if s.kind == "res_x_y" else resampling for s in steps)


def _levels(blocks: Sequence[BlockConfig]) -> tuple[list[Level], BlockConfig]:
    """Blocks from the pixels to the middle as levels, and the residual blocks in the middle."""
    starts = [i for i, block in enumerate(blocks) if block.kind == "res_x"]
    if not starts or starts[0] != 0 or starts[-1] != len(blocks) - 1:
        raise InputError("diffusers' LTX VAE begins and ends with residual blocks on both sides")
    pairs = pairwise(starts)
    return [(blocks[i], tuple(blocks[i + 1 : end])) for i, end in pairs], blocks[-1]


def _channels(base: int, levels: Sequence[Level]) -> list[int]:
    """Of each level, and in the middle."""
    growth = (math.prod(step.multiplier for step in steps) for _, steps in levels)
    return list(accumulate(growth, operator.mul, initial=base))
