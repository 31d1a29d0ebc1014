"""Adapters for the recorded cases of Stable Video Diffusion's autoencoder.

Reference: github.com/Stability-AI/generative-models.
"""

from __future__ import annotations

import json
import re

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.networks import kl_vae_config, svd_vae
from kinema.networks.kl_vae import FrameEncoder
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.maps import kl_vae as encoder_map
from kinema.weights.maps import svd_vae as decoder_map

Results = dict[str, Tensor]

ENCODER_STAGES = {
    "conv_in": "encoder.conv_in",
    "down{i}": "encoder.down_blocks.{i}.downsamplers.0",
    "mid_attn": "encoder.mid_block.attentions.0",
    "before_quant": "encoder",
}
DECODER_STAGES = {
    "conv_in": "conv_in",
    "mid_block_1": "mid_block.resnets.0",
    "mid_attn": "mid_block.attentions.0",
    "mid": "mid_block",
    "first_up_block": "up_blocks.0.resnets.0",
    "coarse_level": "up_blocks.0",
}


def encoder(case: Case) -> Results:
    """Frames to the moments of their latents."""
    case.check_inputs("frames", optional=())
    network = FrameEncoder(kl_vae_config.from_official(case.config))
    load_weights(network, case, encoder_map.ENCODER, {})
    clips = case.inputs["frames"][:, :, None]
    with recorded(network, stage_places(case, ENCODER_STAGES)) as results:
        moments = network.moments(clips)[:, :, 0]
    mode, log_variance = (part[:, :, 0] for part in network.posterior(clips))
    return {
        **results,
        "out.moments": moments,
        "out.mode": mode,
        "out.std": torch.exp(log_variance / 2),
    }


def decoder(case: Case) -> Results:
    """Latents of all frames, which the notes count, to pixels."""
    case.check_inputs("z", optional=())
    config = svd_vae.from_official(case.config)
    network = svd_vae.VideoDecoder(config)
    load_weights(network, case, decoder_map.decoder(len(config.channels)), {})
    num_frames = _num_frames(case)
    with recorded(network, stage_places(case, DECODER_STAGES)) as results:
        frames = network(case.inputs["z"], num_frames)
    return {**results, "out.frames": frames}


def _num_frames(case: Case) -> int:
    notes = json.loads((case.folder / "case.json").read_text(encoding="utf-8")).get("notes", "")
    found = re.search(r"\bT=(\d+)", str(notes))
    if found is None:
        raise InputError(f"{case.folder}: the notes must say how many frames a clip has, as T=5")
    return int(found[1])


ADAPTERS: dict[str, Adapter] = {"encoder": encoder, "decoder": decoder}
