"""Adapter for the recorded case of TNT (github.com/huawei-noah/Efficient-AI-Backbones)."""

from __future__ import annotations

from torch import Tensor

from kinema.networks.tnt import TNT, from_official
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.maps.tnt import OFFICIAL

STAGES = {
    "words": "patch_embed",
    "block{i}_inner": "blocks.{i}.inner",
    "block{i}_outer_mlp": "blocks.{i}.outer.mlp",
}


def forward(case: Case) -> dict[str, Tensor]:
    """Pictures (B, 3, S, S) to features and logits."""
    case.check_inputs("image", optional=())
    network = TNT(from_official(case.config))
    load_weights(network, case, OFFICIAL, {})
    with recorded(network, stage_places(case, STAGES)) as results:
        features = network.forward_features(case.inputs["image"])
    logits = network.forward_head(features)
    return {**results, "out.features": features, "out.logits": logits}


ADAPTERS: dict[str, Adapter] = {"forward": forward}
