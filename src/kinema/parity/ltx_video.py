"""Adapters for the recorded cases of LTX-Video: transformer, VAE, upsamplers.

Reference of all cases: github.com/Lightricks/LTX-Video. Constructor arguments are read by the
networks' own `from_official`, which refuse what no published version has.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable

import torch
from torch import Tensor

from kinema.condition import Conditions, Grid, Tokens
from kinema.errors import InputError
from kinema.hooks import perturb
from kinema.networks import ltx_latent_upsampler, ltx_transformer, ltx_vae, ltx_vae_config
from kinema.networks.ltx_transformer import LTXTransformer
from kinema.parity import ltx_video_sampling as sampling
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.keymap import KeyMap
from kinema.weights.maps import ltx_transformer as transformer_map
from kinema.weights.maps import ltx_vae as vae_map

Results = dict[str, Tensor]
Perturbation = Callable[[LTXTransformer], contextlib.AbstractContextManager[object]]


# Transformer.


def transformer(case: Case) -> Results:
    """One forward, with text mask and times per sample or per token."""
    case.check_inputs(*TRANSFORMER_INPUTS, optional=("encoder_attention_mask",))
    return _transformer(case, contextlib.nullcontext)


def transformer_values(case: Case) -> Results:
    """Perturbed layers return the values of their self-attention."""
    rows = _perturbed(case)
    named = {f"transformer_blocks.{i}.attn1": row for i, row in rows.items()}
    return _transformer(case, lambda network: perturb.attention_values(named))


def transformer_skip(case: Case) -> Results:
    """Perturbed layers pass the input of their self-attention on to its output projection."""
    rows = _perturbed(case)

    def skip(network: LTXTransformer) -> contextlib.AbstractContextManager[None]:
        named = {f"transformer_blocks.{i}.attn1": row for i, row in rows.items()}
        return perturb.attention_skip({network.get_submodule(n): row for n, row in named.items()})

    return _transformer(case, skip)


def transformer_block(case: Case) -> Results:
    """Perturbed layers return their input."""
    rows = _perturbed(case)

    def skip(network: LTXTransformer) -> contextlib.AbstractContextManager[None]:
        return perturb.block_skip({network.transformer_blocks[i]: row for i, row in rows.items()})

    return _transformer(case, skip)


def transformer_residual(case: Case) -> Results:
    """The authors' residual strategy, which changes nothing: their attention has no residual."""
    _perturbed(case)
    return _transformer(case, contextlib.nullcontext)


TRANSFORMER_INPUTS = ("hidden_states", "indices_grid", "encoder_hidden_states", "timestep")
TRANSFORMER_STAGES = {
    "patchify_proj": "patchify_proj",
    "adaln_six": "adaln_single.linear",
    "adaln_embedded": "adaln_single.emb",
    "caption_projection": "caption_projection",
    "block{i}": "transformer_blocks.{i}",
    "before_proj_out": "before proj_out",
}


def _perturbed(case: Case) -> dict[int, Tensor]:
    """Layer -> the samples (B,) that it is perturbed for, for layers with one."""
    case.check_inputs(*TRANSFORMER_INPUTS, "skip_layer_mask", optional=("encoder_attention_mask",))
    mask = case.inputs["skip_layer_mask"]
    if not torch.isin(mask, torch.tensor([0.0, 1.0])).all():
        raise InputError("skip_layer_mask may hold 0 and 1 only")
    return {i: row == 0 for i, row in enumerate(mask) if (row == 0).any()}


def _transformer(case: Case, perturbed: Perturbation) -> Results:
    network = LTXTransformer(ltx_transformer.from_official(case.config))
    load_weights(network, case, transformer_map.OFFICIAL, {})
    text = Tokens(
        x=case.inputs["encoder_hidden_states"], mask=case.inputs.get("encoder_attention_mask")
    )
    conditions = Conditions({"text": text, "positions": Grid(x=case.inputs["indices_grid"])})
    places = stage_places(case, TRANSFORMER_STAGES)
    with perturbed(network), recorded(network, places) as results:
        out = network(case.inputs["hidden_states"], case.inputs["timestep"], conditions)
    # The authors embed the times of all tokens as one list.
    flat = {n: results[n].flatten(0, 1) for n in results if n.startswith("stage.adaln_")}
    return {**results, **flat, "out.out": out}


def rope(case: Case) -> Results:
    """The rotary table alone."""
    case.check_inputs("indices_grid", optional=())
    case.check_config(
        "num_attention_heads",
        "attention_head_dim",
        "positional_embedding_theta",
        "positional_embedding_max_pos",
        optional=(),
    )
    table = ltx_transformer.rotary_table(
        case.inputs["indices_grid"],
        case.config["num_attention_heads"] * case.config["attention_head_dim"],
        theta=case.config["positional_embedding_theta"],
        max_position=tuple(case.config["positional_embedding_max_pos"]),
    )
    cos, sin = (part.repeat_interleave(2, -1) for part in (table.real, table.imag))
    return {"out.cos": cos, "out.sin": sin}


def patchifier(case: Case) -> Results:
    """Latents to tokens and back, and the coordinates of the tokens."""
    case.check_inputs("latents", optional=())
    case.check_config("patch_size", "scale_factors", optional=())
    latents, size = case.inputs["latents"], case.config["patch_size"]
    batch, _, frames, height, width = latents.shape
    tokens = ltx_transformer.patchify(latents, size=size)
    coords = ltx_transformer.latent_positions(frames, height, width, device="cpu", size=size)
    stride = tuple(case.config["scale_factors"])
    positions = {
        "out.latent_coords": coords,
        "out.pixel_coords": ltx_transformer.pixel_positions(coords, stride, causal=False),
        "out.pixel_coords_causal_fix": ltx_transformer.pixel_positions(coords, stride, causal=True),
    }
    return {
        "out.tokens": tokens,
        "out.back": ltx_transformer.unpatchify(tokens, height, width, size=size),
        **{name: value.expand(batch, -1, -1) for name, value in positions.items()},
    }


# VAE and upsampler.

ENCODER_STAGES = {
    "conv_in": "encoder.conv_in",
    "down{i}": "encoder.down_blocks.{i}",
    "conv_out": "encoder.conv_out",
}
DECODER_STAGES = {
    "conv_in": "decoder.conv_in",
    "up{i}": "decoder.up_blocks.{i}",
    "last_time_embedder": "decoder.last_time_embedder",
    "conv_out": "decoder.conv_out",
}
UPSAMPLER_STAGES = {
    "initial_conv": "initial_conv",
    "res{i}": "res_blocks.{i}",
    "upsampler": "upsampler",
    "post{i}": "post_upsample_res_blocks.{i}",
    "final_conv": "final_conv",
}


def vae_encode(case: Case) -> Results:
    """Mean and log-variance of the posterior, before the latents are normalized."""
    case.check_inputs("sample", optional=())
    network = _vae(case)
    with recorded(network, stage_places(case, ENCODER_STAGES)) as results:
        mean, log_variance = network.posterior(case.inputs["sample"])
    return {**results, "out.mean": mean, "out.logvar": log_variance}


def vae_decode(case: Case) -> Results:
    """Un-normalized latents to pixels, with time and noise maps where the version has them."""
    maps = _maps(case)
    case.check_inputs("latents", optional=("timestep", *maps))
    network = _vae(case)
    with recorded(network, stage_places(case, DECODER_STAGES)) as results:
        sample = network.decode(
            case.inputs["latents"],
            time=case.inputs.get("timestep"),
            noise=[case.inputs[name] for name in maps] or None,
        )
    return {**results, "out.sample": sample}


def vae_single_image(case: Case) -> Results:
    """One frame to its latent and back."""
    maps = _maps(case)
    case.check_inputs("sample", optional=("timestep", *maps))
    network = _vae(case)
    stage_places(case, {})
    mean, _ = network.posterior(case.inputs["sample"])
    recon = network.decode(
        mean,
        time=case.inputs.get("timestep"),
        noise=[case.inputs[name] for name in maps] or None,
    )
    return {"out.mean": mean, "out.recon": recon}


def _vae(case: Case) -> ltx_vae.LTXVAE:
    config = ltx_vae_config.from_official(case.config)
    network = ltx_vae.LTXVAE(config)
    # Cases work on latents before normalization.
    mean, std = vae_map.statistics(config.latent_channels).items()
    beside = {mean[0]: torch.zeros(mean[1]), std[0]: torch.ones(std[1])}
    load_weights(network, case, vae_map.OFFICIAL, beside)
    return network


def _maps(case: Case) -> list[str]:
    """The names of the noise maps in the order of use."""
    names = [name for name in case.inputs if re.fullmatch(r"noise\d+", name)]
    return sorted(names, key=lambda name: int(name.removeprefix("noise")))


def latent_upsampler(case: Case) -> Results:
    """Latents to twice the size or twice the frame rate."""
    case.check_inputs("latent", optional=())
    config = ltx_latent_upsampler.from_official(case.config)
    network = ltx_latent_upsampler.LatentUpsampler(config)
    load_weights(network, case, KeyMap(), {})
    with recorded(network, stage_places(case, UPSAMPLER_STAGES)) as results:
        out = network(case.inputs["latent"])
    return {**results, "out.out": out}


ADAPTERS: dict[str, Adapter] = {
    "transformer": transformer,
    "transformer-stg-attention_values": transformer_values,
    "transformer-stg-attention_skip": transformer_skip,
    "transformer-stg-transformer_block": transformer_block,
    "transformer-stg-residual": transformer_residual,
    "rope": rope,
    "patchifier": patchifier,
    "latent-upsampler": latent_upsampler,
    "scheduler-sigmas": sampling.scheduler_sigmas,
    "scheduler-euler": sampling.scheduler_euler,
    "masked-denoising": sampling.masked_denoising,
    "guidance": sampling.guided,
    "latent-filters": sampling.filters,
    **{
        f"vae-{version}-{part}": adapter
        for version in ("0.9.0", "0.9.1", "0.9.5")
        for part, adapter in (
            ("encode", vae_encode),
            ("decode", vae_decode),
            ("single-image", vae_single_image),
        )
    },
}
