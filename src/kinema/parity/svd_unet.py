"""Adapters for the recorded cases of Stable Video Diffusion's U-Net and its micro-conditions.

Reference: github.com/Stability-AI/generative-models, ``VideoUNet``, which takes the frames of all
clips as one batch; times and conditions are given per frame there and equal in a clip.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from kinema.condition import Condition, Conditions, Grid, Tokens, Vector
from kinema.errors import InputError
from kinema.networks import svd_unet
from kinema.networks.svd_unet import SVDUNet
from kinema.nn.embeddings import sinusoids
from kinema.nn.frames import to_clips, to_frames
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.maps import svd_unet as unet_map

Results = dict[str, Tensor]

# Of the case of micro-conditions, where they are told in a note.
TIMES = (-1.55, 0.0, 1.63, 0.3)


def unet(case: Case) -> Results:
    """Three forwards with micro-conditions: as video, as single images, and mixed."""
    case.check_inputs("x", "c_noise", "context", "vector", "mixed_indicator", optional=())
    mixed = case.inputs["mixed_indicator"]
    network, conditions = _network(case), _conditions(case, mixed.shape[1])
    results = _recorded(case, network, conditions, mixed.shape[1])
    for name, indicator in (("image_only", torch.ones_like(mixed)), ("mixed", mixed)):
        given = Conditions({**conditions, "image_only": Vector(x=indicator)})
        results[f"out.{name}"] = _run(case, network, given, mixed.shape[1])
    return results


def unet_without_vector(case: Case) -> Results:
    """One forward of the text-to-video form."""
    case.check_inputs("x", "c_noise", "context", optional=())
    if "stage.res_temporal" not in case.expected:
        raise InputError(
            f"{case.folder} has no stage res_temporal, which tells the frames of clips"
        )
    num_frames = case.expected["stage.res_temporal"].shape[2]
    return _recorded(case, _network(case), _conditions(case, num_frames), num_frames)


def micro_conditions(case: Case) -> Results:
    """The three sinusoids of the vector, and those of frame numbers and times."""
    case.check_inputs("fps_id", "motion_bucket_id", "cond_aug", optional=())
    case.check_config("outdim", optional=())
    numbers = [case.inputs[name] for name in ("fps_id", "motion_bucket_id", "cond_aug")]
    vector = svd_unet.micro_conditions(torch.stack(numbers, 1), width=case.config["outdim"])
    results = {"out.vector": vector}
    for name, expected in case.expected.items():
        found = re.fullmatch(r"out\.(frame_index|time)_embedding_(\d+)", name)
        if found is not None:
            frames = torch.arange(len(expected), device=expected.device)
            values = frames if found[1] == "frame_index" else expected.new_tensor(TIMES)
            results[name] = sinusoids(values, int(found[2]) // 2)
    return results


def _network(case: Case) -> SVDUNet:
    config = svd_unet.from_official(case.config)
    network = SVDUNet(config)
    keymap = unet_map.official(config.attention, config.blocks_per_level)
    load_weights(network, case, keymap, {})
    return network


def _conditions(case: Case, num_frames: int) -> Conditions:
    # The texts stay as they are: one for every frame.
    given: dict[str, Condition] = {"crossattn": Tokens(x=case.inputs["context"])}
    if "vector" in case.inputs:
        given["vector"] = Vector(x=_per_clip(case, "vector", num_frames))
    if (joined := case.inputs["x"][:, _out_channels(case) :]).numel():
        given["concat"] = Grid(x=to_clips(joined, num_frames))
    return Conditions(given)


def _run(case: Case, network: SVDUNet, conditions: Conditions, num_frames: int) -> Tensor:
    x = to_clips(case.inputs["x"][:, : _out_channels(case)], num_frames)
    out = network(x, _per_clip(case, "c_noise", num_frames), conditions)
    return to_frames(out)


def _recorded(case: Case, network: SVDUNet, conditions: Conditions, num_frames: int) -> Results:
    down = "down_blocks.0"
    places = {
        "time_embed": "time_embedding",
        "label_emb": "add_embedding",
        "conv_in": "conv_in",
        "res_spatial": f"{down}.resnets.0.spatial_res_block.conv2",
        "res_temporal": f"{down}.resnets.0.temporal_res_block",
        "res_merged": f"{down}.resnets.0",
        "attn_spatial": f"{down}.attentions.0.transformer_blocks.0",
        "attn_temporal": f"{down}.attentions.0.temporal_transformer_blocks.0",
        "attn_merged": f"{down}.attentions.0",
        "middle": "mid_block",
        "last_block": f"up_blocks.{len(network.up_blocks) - 1}",
    }
    with recorded(network, stage_places(case, places)) as results:
        out = _run(case, network, conditions, num_frames)
    for name in results.keys() & {"stage.time_embed", "stage.label_emb"}:
        results[name] = results[name].repeat_interleave(num_frames, dim=0)
    if "stage.res_temporal" in results:
        results["stage.res_temporal"] = to_clips(results["stage.res_temporal"], num_frames)
    return {**results, "out.video": out}


def _out_channels(case: Case) -> int:
    return case.config["out_channels"]


def _per_clip(case: Case, name: str, num_frames: int) -> Tensor:
    values = case.inputs[name]
    first = values[::num_frames]
    if not torch.equal(first.repeat_interleave(num_frames, dim=0), values):
        raise InputError(f"{name} of {case.folder} differs between the frames of a clip")
    return first


ADAPTERS: dict[str, Adapter] = {
    "unet": unet,
    "unet-t2v": unet_without_vector,
    "micro-conditions": micro_conditions,
}
