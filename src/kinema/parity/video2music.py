"""Adapters for the recorded cases of Video2Music: the AMT and the regressor.

Reference of all cases: github.com/AMAAI-Lab/Video2Music. Constructor arguments are read by the
networks' own `from_official`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kinema.condition import Conditions, Tokens, Vector
from kinema.networks import affective_music_transformer, bigru_regressor
from kinema.networks.affective_music_transformer import AffectiveMusicTransformer
from kinema.networks.bigru_regressor import BiGRURegressor
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.maps import affective_music_transformer as transformer_map
from kinema.weights.maps import bigru_regressor as regressor_map

VIDEO = ("semantic", "scene_offset", "motion", "emotion")
STAGES = {
    "Linear_chord": "Linear_chord",
    "Linear_vis": "Linear_vis",
    "encoder_layer{i}": "transformer.encoder.layers.{i}",
    "decoder_layer{i}": "transformer.decoder.layers.{i}",
}


def amt(case: Case) -> dict[str, Tensor]:
    """One forward of the AMT; the authors' layers put time before the batch."""
    case.check_inputs("root", "attr", "key", *VIDEO, optional=())
    sizes = affective_music_transformer.from_official(case.config)
    network = AffectiveMusicTransformer(sizes)
    load_weights(network, case, transformer_map.OFFICIAL, {})
    ids = torch.stack([case.inputs["root"], case.inputs["attr"]], 1)
    key = Vector(x=case.inputs["key"].expand(len(ids))[:, None])
    with recorded(network, stage_places(case, STAGES)) as results:
        logits = network(ids, Conditions({"video": video(case), "key": key}))
    turned = {
        name: x.transpose(0, 1) if "coder_layer" in name else x for name, x in results.items()
    }
    return {**turned, "out.logits": logits}


def regression(case: Case) -> dict[str, Tensor]:
    """One forward of the regressor."""
    case.check_inputs(*VIDEO, optional=())
    network = BiGRURegressor(bigru_regressor.from_official(case.config))
    load_weights(network, case, regressor_map.OFFICIAL, {})
    with recorded(network, stage_places(case, {})) as results:
        curves = network(Conditions({"video": video(case)}))
    return {**results, "out.note_density_loudness": curves}


def video(case: Case) -> Tokens:
    """The features of a case as our networks take them: (B, T, F)."""
    semantic, offset, motion, emotion = (case.inputs[name] for name in VIDEO)
    return Tokens(x=torch.cat([semantic, offset[..., None], motion[..., None], emotion], -1))


ADAPTERS: dict[str, Adapter] = {"amt": amt, "regression": regression}
