"""Adapters for the recorded cases of Frozen in Time: video encoder, growth of positions, losses.

Reference of all cases: github.com/m-bain/frozen-in-time.
"""

from __future__ import annotations

from torch import Tensor

from kinema.errors import InputError
from kinema.networks.space_time_vit import Growth, SpaceTimeViT, fit_frames, from_official
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.training.contrastive import cosines, max_margin, norm_softmax
from kinema.weights.maps.frozen_in_time import VIDEO

Results = dict[str, Tensor]
GROWTHS: tuple[Growth, ...] = ("zeros", "interp", "bilinear")


def video(case: Case) -> Results:
    """Clips (B, F, C, height, width), frames first, to the state of the class token."""
    case.check_inputs("video", optional=())
    arguments = dict(case.config)
    clips = case.inputs["video"].transpose(1, 2)
    if arguments.pop("input_frames", clips.shape[2]) != clips.shape[2]:
        raise InputError(f"the case feeds {clips.shape[2]} frames, not the input_frames it states")
    config = from_official(arguments)
    network = SpaceTimeViT(config)
    load_weights(network, case, VIDEO, {})
    stages = {
        "patch_embed": "patch_embed.proj",
        "timeattn{i}": "blocks.{i}.timeattn",
        "block{i}": "blocks.{i}",
        "last_block": f"blocks.{config.num_layers - 1}",
    }
    with recorded(network, stage_places(case, stages)) as results:
        cls = network(clips)
    return {**results, "out.cls": cls}


def temporal_inflation(case: Case) -> Results:
    """Temporal positions for more and for fewer frames, in every way there is."""
    case.check_inputs("temporal_embed", optional=())
    case.check_config("loaded_frames", "new_frames", optional=())
    table = case.inputs["temporal_embed"]
    return {
        f"out.{how}_{frames}": fit_frames(table, frames, how)
        for how in GROWTHS
        for frames in case.config["new_frames"]
    }


def losses(case: Case) -> Results:
    """Cosines of texts and clips, and both losses of them."""
    case.check_inputs("text", "video", optional=())
    case.check_config("temperature", "margin", optional=())
    similarity = cosines(case.inputs["text"], case.inputs["video"])
    return {
        "out.similarity": similarity,
        "out.norm_softmax_loss": norm_softmax(similarity, temperature=case.config["temperature"]),
        "out.max_margin_loss": max_margin(similarity, margin=case.config["margin"]),
    }


ADAPTERS: dict[str, Adapter] = {
    "video": video,
    "video-fewer-frames": video,
    "temporal-inflation": temporal_inflation,
    "losses": losses,
}
