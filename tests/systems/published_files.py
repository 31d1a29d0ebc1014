"""LTX-Video as it is published, but small: single files, T5 encoders, headers without values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from kinema.conditions.text import T5Config
from kinema.networks.ltx_latent_upsampler import LatentUpsampler
from kinema.networks.ltx_transformer import LTXTransformerConfig
from kinema.networks.ltx_vae_config import BlockConfig, LTXVAEConfig
from kinema.noise import Noise
from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_config import LTXVideoConfig
from kinema.weights import files
from kinema.weights.maps import ltx_transformer as transformer_map
from kinema.weights.maps import ltx_vae as vae_map

WORDS = ["<pad>", "</s>", "<unk>", "a", "red", "circle", "moves"]
PROMPT = "a red circle moves"
WIDTH = 16  # of the states of T5
STATISTICS = ("channel", "mean-of-stds", "mean-of-stds_over_std-of-means")
LEVELS = [1.0, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725, 0.4219]

TRANSFORMER = LTXTransformerConfig(
    latent_channels=8, caption_channels=WIDTH, num_layers=2, num_heads=2, head_width=12
)


def small(vae: LTXVAEConfig) -> LTXVAEConfig:
    """A published VAE with few channels and one layer in each group."""
    return replace(
        vae,
        latent_channels=8,
        encoder_base_channels=4,
        decoder_base_channels=4,
        encoder_blocks=tuple(replace(block, num_layers=1) for block in vae.encoder_blocks),
        decoder_blocks=tuple(replace(block, num_layers=1) for block in vae.decoder_blocks),
    )


def write_t5(folder: Path) -> Path:
    """A tiny T5 with random weights and a tokenizer of whole words, flat in a folder."""
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    config = transformers.T5Config(
        vocab_size=len(WORDS), d_model=WIDTH, d_kv=4, d_ff=24, num_layers=1, num_heads=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.T5EncoderModel(config).save_pretrained(folder)
    return folder


def small_model(version: LTXVideoConfig, t5: Path) -> LTXVideo:
    """A version with small networks, small clips and weights that are nowhere zero."""
    config = replace(
        version,
        text=T5Config(folder=str(t5), width=WIDTH, max_tokens=256),
        transformer=TRANSFORMER,
        codec=small(version.codec),
        sampling=replace(version.sampling, num_frames=9, height=64, width=64),
    )
    torch.manual_seed(0)
    model = LTXVideo(config)
    stir(model)
    return model


@torch.no_grad()
def stir(model: LTXVideo) -> None:
    """Adds keyed noise to all weights and statistics."""
    for name, tensor in model.parts.state_dict().items():
        if not name.endswith("timestep_scale_multiplier"):
            tensor += 0.05 * Noise(0, (0,)).normal((1, *tensor.shape), name)[0]


# -- single files -----------------------------------------------------------------------------


def told(config: LTXVideoConfig) -> dict[str, Any]:
    """The metadata that the authors' file of a version has, as far as they are known."""
    shifted = config.sampling.schedule == "shifted"
    metadata: dict[str, Any] = {
        "transformer": official_transformer(config.transformer),
        "vae": official_vae(config.codec),
        "scheduler": {
            "_class_name": "RectifiedFlowScheduler",
            "_diffusers_version": "0.25.1",
            "num_train_timesteps": 1000,
            "shifting": "SD3" if shifted else None,
            "base_resolution": None,
            "target_shift_terminal": 0.1 if shifted else None,
            "sampler": "Uniform" if shifted else "LinearQuadratic",
        },
    }
    if config.causal_positions:
        metadata["transformer"]["causal_temporal_positioning"] = True
    if config.sampling.sigmas:
        metadata["allowed_inference_steps"] = LEVELS
    return metadata


def official_transformer(config: LTXTransformerConfig) -> dict[str, Any]:
    """The arguments of the authors' class."""
    return {
        "_class_name": "Transformer3DModel",
        "_diffusers_version": "0.25.1",
        "_name_or_path": "PixArt-alpha/PixArt-XL-2-256x256",
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "attention_head_dim": config.head_width,
        "attention_type": "default",
        "caption_channels": config.caption_channels,
        "cross_attention_dim": config.width,
        "double_self_attention": False,
        "dropout": 0.0,
        "in_channels": config.latent_channels,
        "norm_elementwise_affine": False,
        "norm_eps": 1e-06,
        "norm_num_groups": 32,
        "num_attention_heads": config.num_heads,
        "num_embeds_ada_norm": 1000,
        "num_layers": config.num_layers,
        "num_vector_embeds": None,
        "only_cross_attention": False,
        "out_channels": config.latent_channels,
        "project_to_2d_pos": True,
        "upcast_attention": False,
        "use_linear_projection": False,
        "qk_norm": "rms_norm",
        "standardization_norm": "rms_norm",
        "positional_embedding_type": "rope",
        "positional_embedding_theta": 10000.0,
        "positional_embedding_max_pos": [20, 2048, 2048],
        "timestep_scale_multiplier": 1000,
    }


def official_vae(config: LTXVAEConfig) -> dict[str, Any]:
    """The arguments of the authors' class."""
    return {
        "_class_name": "CausalVideoAutoencoder",
        "dims": 3,
        "in_channels": config.in_channels,
        "out_channels": config.in_channels,
        "latent_channels": config.latent_channels,
        "encoder_blocks": [official_block(block) for block in config.encoder_blocks],
        "decoder_blocks": [official_block(block) for block in config.decoder_blocks[::-1]],
        "encoder_base_channels": config.encoder_base_channels,
        "decoder_base_channels": config.decoder_base_channels,
        "scaling_factor": 1.0,
        "norm_layer": "pixel_norm",
        "patch_size": config.patch_size,
        "latent_log_var": "uniform",
        "use_quant_conv": False,
        "causal_decoder": config.causal_decoder,
        "timestep_conditioning": config.timestep_conditioning,
    }


def official_block(block: BlockConfig) -> list[Any]:
    """A block as the authors list it."""
    if block.kind == "res_x":
        noise = {"inject_noise": True} if block.inject_noise else {}
        return [block.kind, {"num_layers": block.num_layers, **noise}]
    if block.kind == "res_x_y":
        return [block.kind, 1]
    residual = {"residual": True} if block.residual else {}
    return [block.kind, {"multiplier": block.multiplier, **residual} if block.has_shortcut else {}]


def write_single_file(path: Path, model: LTXVideo, metadata: Mapping[str, Any] | None) -> None:
    """The networks of a model as the authors publish them, with what lies beside them."""
    tensors = {
        **transformer_map.SINGLE_FILE.to_theirs(model.transformer.state_dict()),
        **vae_map.SINGLE_FILE.to_theirs(model.codec.state_dict()),
    }
    for name in STATISTICS:
        tensors[f"vae.per_channel_statistics.{name}"] = torch.zeros(model.codec.channels)
    text = {} if metadata is None else {"config": json.dumps(metadata)}
    files.save(path, tensors, text, overwrite=False)


def single_file_shapes(config: LTXVideoConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a published file."""
    model = LTXVideo(config, device="meta")
    parts = (
        (transformer_map.SINGLE_FILE, model.transformer),
        (vae_map.SINGLE_FILE, model.codec),
    )
    shapes: dict[str, tuple[int, ...]] = {}
    for keymap, network in parts:
        state = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        shapes |= keymap.to_theirs(state)
    channels = (config.codec.latent_channels,)
    return shapes | {f"vae.per_channel_statistics.{name}": channels for name in STATISTICS}


def write_upsampler(path: Path, network: LatentUpsampler, **changes: Any) -> Path:
    """A latent upsampler as its authors publish it, perhaps with other arguments."""
    config = network.config
    told = {
        "_class_name": "LatentUpsampler",
        "in_channels": config.in_channels,
        "mid_channels": config.mid_channels,
        "num_blocks_per_stage": config.num_blocks_per_stage,
        "dims": 3,
        "spatial_upsample": config.upsample in ("space", "all"),
        "temporal_upsample": config.upsample in ("time", "all"),
        **changes,
    }
    files.save(path, network.state_dict(), {"config": json.dumps(told)}, overwrite=True)
    return path


def write_without_values(
    path: Path, shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, Any] | None
) -> dict[str, int]:
    """A safetensors file in bfloat16 whose values are a hole in the disk, that is, zeros.

    Returns:
        The place of each tensor in the file.
    """
    header: dict[str, Any] = {}
    if metadata is not None:
        header["__metadata__"] = {"config": json.dumps(metadata)}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    first = 8 + len(text)
    return {name: first + header[name]["data_offsets"][0] for name in shapes}
