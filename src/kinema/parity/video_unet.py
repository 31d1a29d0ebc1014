"""Adapters for the recorded cases of Stable Diffusion's U-Net, the skeleton with empty slots.

Reference: diffusers' ``UNet2DConditionModel``, in whose layout the weights are published.
"""

from __future__ import annotations

from torch import Tensor

from kinema.condition import Conditions, Tokens
from kinema.networks.video_unet import VideoUNet, from_diffusers
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.keymap import KeyMap

STAGES = {
    "time_embedding": "time_embedding",
    "conv_in": "conv_in",
    "resnet0": "down_blocks.0.resnets.0",
    "first_block_in_it": "down_blocks.0.attentions.0.transformer_blocks.0",
    "first_attention": "down_blocks.0.attentions.0",
    "mid_block": "mid_block",
    "last_up_block": "up_blocks.3",
}


def unet(case: Case) -> dict[str, Tensor]:
    """One forward; an image is a clip of one frame."""
    case.check_inputs("sample", "timestep", "context", optional=())
    network = VideoUNet(from_diffusers(case.config))
    load_weights(network, case, KeyMap(), {})
    conditions = Conditions({"crossattn": Tokens(x=case.inputs["context"])})
    x = case.inputs["sample"].unsqueeze(2)
    with recorded(network, stage_places(case, STAGES)) as results:
        out = network(x, case.inputs["timestep"], conditions)
    return {**results, "out.prediction": out.squeeze(2)}


ADAPTERS: dict[str, Adapter] = {"sd15-unet": unet, "sd21-unet": unet}
