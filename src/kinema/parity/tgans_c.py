"""Adapters for the recorded cases of TGANs-C.

Reference: github.com/miguelmartin75/txt2vid, a re-implementation; the authors' code is not public.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.networks import lstm_text, tgans_c
from kinema.parity.case import Case
from kinema.parity.network import load_weights, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.keymap import KeyMap
from kinema.weights.maps.tgans_c import CRITICS


def generator(case: Case) -> dict[str, Tensor]:
    """Noise and sentence to a clip."""
    case.check_inputs("z", "sentence", optional=())
    case.check_config("z_size", "cond_dim", optional=("scale_factor",))
    stage_places(case, {})
    base, scale = tgans_c.generator_48(), case.config.get("scale_factor", 1)
    channels = tuple(int(count * scale) for count in base.channels)
    config = replace(
        base, noise=case.config["z_size"], sentence=case.config["cond_dim"], channels=channels
    )
    network = tgans_c.Generator(config)
    load_weights(network, case, KeyMap(), {})
    return {"out.video": network(case.inputs["z"], case.inputs["sentence"])}


def discriminators(case: Case) -> dict[str, Tensor]:
    """Scores of a clip; the last kernel of the frame and motion critics sees a corner of the map.

    The reference has one number for all clips, puts frames before clips and drops an axis of one.
    """
    case.check_inputs("video", "sentence", optional=())
    case.check_config("cond_dim", optional=())
    stage_places(case, {})
    config = replace(tgans_c.critics_48(), sentence=case.config["cond_dim"], frame_kernel=2)
    network = tgans_c.Critics(config)
    load_weights(network, case, CRITICS, {})
    sentence = case.inputs["sentence"]
    maps = network.maps(case.inputs["video"])
    return {
        "out.video_logit": network.video.judge(maps.clips, sentence).mean(),
        "out.frame_logit": network.frame(maps.frames, sentence).transpose(0, 1).squeeze(2),
        "out.motion_logit": network.motion(maps.frames.diff(dim=1), sentence)
        .transpose(0, 1)
        .squeeze(2),
        "out.frame_maps": maps.frames.transpose(0, 1),
    }


def text(case: Case) -> dict[str, Tensor]:
    """Ids to a sentence; none of the reference's ids is a mark, so the lengths are given."""
    case.check_inputs("ids", optional=())
    case.check_config("vocab_size", "lengths", optional=("embed_size", "hidden_size", "num_layers"))
    stage_places(case, {})
    if case.config["vocab_size"] < lstm_text.MARKS:
        raise InputError(f"vocab_size must be {lstm_text.MARKS} or more, for the marks")
    words = tuple(f"word{i}" for i in range(case.config["vocab_size"] - lstm_text.MARKS))
    sizes = {"embedding": "embed_size", "sentence": "hidden_size", "num_layers": "num_layers"}
    given = {ours: case.config[name] for ours, name in sizes.items() if name in case.config}
    network = lstm_text.LSTMText(replace(lstm_text.lstm_256(words), **given))
    load_weights(network, case, KeyMap(), {})
    return {"out.sentence": network(case.inputs["ids"], torch.tensor(case.config["lengths"]))}


ADAPTERS: dict[str, Adapter] = {
    "generator": generator,
    "discriminators": discriminators,
    "text": text,
}
