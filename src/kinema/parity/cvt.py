"""Adapter for the recorded case of CvT; reference: github.com/microsoft/CvT."""

from __future__ import annotations

from torch import Tensor

from kinema.networks.cvt import CvT, StageOutput
from kinema.networks.cvt_config import from_official
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.maps.cvt import OFFICIAL


def forward(case: Case) -> dict[str, Tensor]:
    """Pictures (B, 3, H, W) to features and logits; of a stage the map is compared."""
    case.check_inputs("image", optional=())
    config = from_official(case.config)
    network = CvT(config)
    load_weights(network, case, OFFICIAL, {})
    stages = {"stage{i}": "stages.{i}"}
    for i in range(len(config.stages)):
        stages[f"stage{i}_embed"] = f"stages.{i}.patch_embed"
        stages[f"stage{i}_block{{i}}"] = f"stages.{i}.blocks.{{i}}"
    with recorded(network, stage_places(case, stages)) as results:
        features = network.forward_features(case.inputs["image"])
    maps = {
        name: found.x if isinstance(found, StageOutput) else found
        for name, found in results.items()
    }
    return {**maps, "out.features": features, "out.logits": network.forward_head(features)}


ADAPTERS: dict[str, Adapter] = {"forward": forward}
