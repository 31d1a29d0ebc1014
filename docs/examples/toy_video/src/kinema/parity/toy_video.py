"""Adapters for the recorded cases of the toy: its transformer."""

from __future__ import annotations

from torch import Tensor

from kinema.condition import Conditions, Tokens
from kinema.config import from_dict
from kinema.networks.toy_transformer import ToyTransformer, ToyTransformerConfig
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.maps.toy_transformer import OFFICIAL

STAGES = {"x_embedder": "proj_in", "block{i}": "blocks.{i}"}


def transformer(case: Case) -> dict[str, Tensor]:
    """One forward."""
    case.check_inputs("x", "t", "y", "mask", optional=())
    network = ToyTransformer(from_dict(ToyTransformerConfig, case.config))
    load_weights(network, case, OFFICIAL, {})
    text = Tokens(x=case.inputs["y"], mask=case.inputs["mask"])
    with recorded(network, stage_places(case, STAGES)) as results:
        out = network(case.inputs["x"], case.inputs["t"], Conditions({"text": text}))
    return {**results, "out.out": out}


ADAPTERS: dict[str, Adapter] = {"transformer": transformer}
