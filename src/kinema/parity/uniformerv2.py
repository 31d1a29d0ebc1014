"""Adapters for the recorded cases of UniFormerV2: its three forms, from clips to logits.

Reference of all cases: github.com/OpenGVLab/UniFormerV2.
"""

from __future__ import annotations

from torch import Tensor

from kinema.errors import InputError
from kinema.networks.uniformerv2 import UniFormerV2
from kinema.networks.uniformerv2_config import from_official
from kinema.parity.case import Case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import Adapter
from kinema.weights.maps.uniformerv2 import OFFICIAL

STAGES = {
    "ln_pre": "norm_pre",
    "block{i}": "blocks.{i}",
    "dpe{i}": "readers.{i}.places",
    "dec{i}": "readers.{i}",
    "head_in": "before norm",
}
TOKENS_FIRST = ("stage.block", "stage.dec")  # theirs lie (N, B, D)


def network(case: Case) -> dict[str, Tensor]:
    """Clips (B, C, T, height, width) to logits."""
    case.check_inputs("video", optional=())
    clips = case.inputs["video"]
    frames = case.config.get("t_size", 8)
    if clips.shape[2] != frames:
        raise InputError(f"the case feeds {clips.shape[2]} frames, not {frames} (t_size)")
    # Recorded in eval mode, where no share of dropout counts: readers may have one each.
    drawn = ("mlp_dropout", "cls_dropout")
    ours = UniFormerV2(from_official({k: v for k, v in case.config.items() if k not in drawn}))
    load_weights(ours, case, OFFICIAL, {})
    with recorded(ours, stage_places(case, STAGES)) as results:
        logits = ours(clips)
    turned = {
        name: value.transpose(0, 1) if name.startswith(TOKENS_FIRST) else value
        for name, value in results.items()
    }
    return {**turned, "out.logits": logits}


ADAPTERS: dict[str, Adapter] = {"global": network, "local-global": network, "frozen": network}
