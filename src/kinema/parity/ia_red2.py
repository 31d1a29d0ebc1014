"""Adapter for the recorded case of IA-RED^2; reference: the interpretation model in
github.com/joon-stack/ltrp, which masks what ours does not compute.
"""

from __future__ import annotations

from torch import Tensor, nn

from kinema.networks.deit import DeiT
from kinema.networks.ia_red2 import Interpreters, from_official
from kinema.parity.case import Case
from kinema.parity.network import load_weights
from kinema.parity.runner import Adapter
from kinema.weights.maps.ia_red2 import OFFICIAL


def forward(case: Case) -> dict[str, Tensor]:
    """Pictures (B, 3, S, S) to scores before each group, and logits."""
    case.check_inputs("image", optional=())
    host, interpreters = from_official(case.config)
    network, policy = DeiT(host), Interpreters(interpreters)
    parts = nn.ModuleDict({"network": network, "policy": policy})
    load_weights(parts, case, OFFICIAL, {})
    found = policy.reduce(network, case.inputs["image"])
    results = {"out.logits": network.forward_head(found.features)}
    for i, scores in enumerate(found.scores):
        results[f"stage.agent{i}"] = results[f"out.keep_probability_{i}"] = scores
    return results


ADAPTERS: dict[str, Adapter] = {"forward": forward}
