"""Adapter for the recorded cases of GR-1: policy and image encoder together.

Reference: github.com/bytedance/GR-1. The text encoder is left out: its features are an input.
"""

from __future__ import annotations

from torch import Tensor

from kinema.networks.gr1 import Felt, GR1Transformer, Seen, Target, from_official
from kinema.networks.patch_decoder import normalized, to_patches
from kinema.networks.vit import ViT
from kinema.parity.case import Case
from kinema.parity.network import recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.files import load_tensors
from kinema.weights.keymap import lazy
from kinema.weights.maps import gr1 as gr1_map

INPUTS = ("rgb", "hand_rgb", "arm", "gripper", "language", "attention_mask")
STAGES = {
    "resampler": "perceiver_resampler",
    "embed_ln": "embed_ln",
    "gpt_block{i}": "transformer.h.{i}",
    "gpt": "transformer",
    "decoder_norm": "decoder.norm",
}
FRAMES = {"image": ("obs", "rgb"), "wrist": ("obs_hand", "hand_rgb")}


def policy(case: Case) -> dict[str, Tensor]:
    """One window of normalized images, states and language features."""
    case.check_inputs(*INPUTS, optional=())
    official = from_official(case.config)
    encoder, network = ViT(official.image), GR1Transformer(official.policy)
    weights = lazy(case.weights())
    theirs = {name: w for name, w in weights.items() if name.startswith("model_mae.")}
    load_tensors(encoder, theirs, gr1_map.IMAGE, where=str(case.folder))
    load_tensors(network, weights, gr1_map.POLICY, where=str(case.folder))
    given = case.inputs
    images = {name: given[camera] for name, (_, camera) in FRAMES.items()}
    seen = Seen(
        language=given["language"],
        **{name: encoder(x) for name, x in images.items()},
        felt=Felt(arm=given["arm"], gripper=given["gripper"]),
        real=given["attention_mask"] > 0,
    )
    with recorded(network.eval(), stage_places(case, STAGES)) as results:
        prediction = network(seen, official.asked)
    results |= first_camera(network, seen, official.asked)
    answers = dict(zip(official.asked, (prediction.value, *prediction.aux.values())))
    for name, answer in answers.items():
        if name == "action":
            results["out.arm_action_preds"] = answer[..., :-1]
            results["out.gripper_action_preds"] = answer[..., -1:]
        else:
            theirs_name = FRAMES[name][0]
            patches = to_patches(images[name], official.policy.patch_size)
            results[f"out.{theirs_name}_preds"] = answer
            results[f"out.{theirs_name}_targets"] = normalized(patches).x
    return results


def first_camera(
    network: GR1Transformer, seen: Seen, asked: tuple[Target, ...]
) -> dict[str, Tensor]:
    """Stages of parts that serve both cameras; what was recorded is the first time they ran."""
    latents = network.perceiver_resampler(seen.image.patches.flatten(0, 1))
    frame = next((name for name in asked if name != "action"), None)
    if frame is None:
        return {"stage.resampler": latents[:, None]}
    with recorded(network, {"stage.decoder_norm": "decoder.norm"}) as results:
        network(seen, (frame,))
    return {"stage.resampler": latents[:, None], **results}  # theirs has an axis of media items


ADAPTERS: dict[str, Adapter] = {"policy": policy}
