"""LTX-Video written as a folder of diffusers, which its pipelines load.

Paper, code and license: see `ltx_video.py`. Reading it: see `ltx_video_published.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kinema.conditions.text import T5
from kinema.config import to_dict
from kinema.errors import InputError
from kinema.files import write_text
from kinema.networks import ltx_diffusers
from kinema.systems.ltx_video_config import LTXVideoConfig
from kinema.systems.ltx_video_layouts import INDEX, NAME
from kinema.systems.ltx_video_published import OURS
from kinema.weights.layouts import check_new_folder, save_part
from kinema.weights.maps import ltx_transformer as transformer_map

if TYPE_CHECKING:
    from kinema.systems.ltx_video import LTXVideo

VERSION = "0.35.0"  # of diffusers, the first whose classes take all that is written here


def write(model: LTXVideo, folder: Path, dtype: torch.dtype | None, shard_bytes: int) -> None:
    """Writes a model as a folder of diffusers; its index comes last, when all is complete.

    Beside what diffusers reads there is our configuration, which tells how the model is sampled.

    Args:
        model: whose text encoder is T5.
        folder: must not exist, or be empty.
        dtype: of the stored weights; as they are if None.
        shard_bytes: of a file at most.

    Raises:
        InputError: diffusers has no such networks, or there is something in the folder.
    """
    config = model.config
    transformer = ltx_diffusers.transformer_to_diffusers(config.transformer)
    codec = ltx_diffusers.vae_to_diffusers(config.codec)
    if not isinstance(model.text, T5):
        raise InputError("diffusers' LTX-Video reads text with T5; this model has words of its own")
    check_new_folder(folder)
    parts = {
        "transformer": (transformer_map.DIFFUSERS, model.transformer, transformer),
        "vae": (ltx_diffusers.vae_keymap(config.codec), model.codec, codec),
    }
    for name, (keymap, network, arguments) in parts.items():
        told = {**arguments, "_diffusers_version": VERSION}
        tensors = keymap.to_theirs(network.state_dict())
        save_part(folder / name, tensors, told, dtype=dtype, shard_bytes=shard_bytes)
    tokenizer = model.text.save(folder)
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler(config))
    _write_json(folder / OURS, {"system": NAME, "config": to_dict(config)})
    pipeline = "LTXConditionPipeline" if config.causal_positions else "LTXPipeline"
    index = {
        "_class_name": pipeline,
        "_diffusers_version": VERSION,
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", tokenizer],
        "transformer": ["diffusers", "LTXVideoTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLLTXVideo"],
    }
    _write_json(folder / INDEX, index)


def scheduler(config: LTXVideoConfig) -> dict[str, Any]:
    """The arguments of diffusers' scheduler; its pipelines make linear-quadratic levels."""
    shifted = config.sampling.schedule == "shifted"
    told = {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "_diffusers_version": VERSION,
        "num_train_timesteps": 1000,
        "shift": 1.0,
        "use_dynamic_shifting": shifted,
    }
    if not shifted:
        return told
    (tokens, most_tokens), (mu, highest) = config.shift.tokens, config.shift.mu
    return told | {
        "base_image_seq_len": tokens,
        "max_image_seq_len": most_tokens,
        "base_shift": mu,
        "max_shift": highest,
        "shift_terminal": config.sampling.terminal,
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True))
