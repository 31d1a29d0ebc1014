"""Adapters for the recorded cases of ZeroI2V: its networks, what merging makes of them, its shifts.

Reference of all cases: github.com/MCG-NJU/ZeroI2V.
"""

from __future__ import annotations

from functools import partial

import torch
from einops import rearrange
from torch import Tensor

from kinema.networks.zeroi2v import ZeroI2V, shifted
from kinema.networks.zeroi2v_config import Official, from_official, shifts_from_official
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.maps.zeroi2v import OFFICIAL, SEPARATE

Results = dict[str, Tensor]
LN_PRE = "stage.ln_pre"


def network(case: Case, kind: Official) -> Results:
    """Clips (B, C, T, height, width) to the class tokens (B, D, T, 1, 1), the same once merged.

    The authors' backbones have no head, so that of ours keeps its own weights.
    """
    case.check_inputs("video", optional=())
    config = from_official(kind, case.config, num_classes=1)
    keymap = SEPARATE if config.adapters is not None and config.adapters.separate else OFFICIAL
    ours = ZeroI2V(config)
    head = {f"cls_head.fc_cls.{name}": value for name, value in ours.head.named_parameters()}
    load_weights(ours, case, keymap, head)
    behind = config.adapters is not None and "proj" in config.adapters.layers
    attention = "before blocks.{i}.attn.proj.adapters.0" if behind else "blocks.{i}.attn"
    stages = {"ln_pre": "norm_pre", "attn{i}": attention, "block{i}": "blocks.{i}"}
    with recorded(ours, stage_places(case, stages)) as recordings:
        features = ours.frame_features(case.inputs["video"])
    results = {
        name: rearrange(value, "b t n d -> (b t) n d" if name == LN_PRE else "b t n d -> n (b t) d")
        for name, value in recordings.items()
    }
    results["out.features"] = _laid_out(features)
    if any("merged" in name for name in case.expected):
        ours.merge_adapters()
        state = keymap.to_theirs(dict(ours.state_dict()))
        results |= {f"out.merged.{name}": value for name, value in state.items()}
        results["out.features_merged"] = _laid_out(ours.frame_features(case.inputs["video"]))
    return results


def shift_table(case: Case) -> Results:
    """The frame, counted from 1, that each channel (T, C) of keys and values comes from."""
    case.check_inputs(optional=())
    results = {}
    for name, given in case.config.items():
        arguments = dict(given)
        num_frames, width = arguments.pop("num_frames"), arguments.pop("channels")
        kind: Official = "long" if "shift1_div" in arguments else "train"
        heads = arguments.pop("heads", 1)  # whole channels are counted, not heads
        shifts = shifts_from_official(kind, arguments, width=width, num_heads=heads)
        frames = torch.arange(1, num_frames + 1, dtype=torch.int32)
        table = frames[None, :, None].expand(1, num_frames, width)
        results[f"out.source_{name}"] = shifted(table, shifts)[0]
    return results


def _laid_out(features_BTD: Tensor) -> Tensor:
    return features_BTD.transpose(1, 2)[..., None, None]


ADAPTERS: dict[str, Adapter] = {
    "train": partial(network, kind="train"),
    "merged": partial(network, kind="merged"),
    "long": partial(network, kind="long"),
    "ablation-long-right": partial(network, kind="ablation"),
    "ablation-other": partial(network, kind="ablation"),
    "shift-table": shift_table,
}
