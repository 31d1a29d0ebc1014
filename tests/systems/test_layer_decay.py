"""Learning rates that fall with depth, in every stage that trains a classifier."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch

from kinema import registry
from kinema.training.classification import ClassifierRecipe

VIT = ("cls_token", "pos_embed", "patch_embed.*")
CLIP = ("class_embedding", "pos_embed", "patch_embed.*", "norm_pre.*")
LATE = ("video_token", "balance")  # of UniFormerV2; torch names them first


def under(role: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{role}.{name}" for name in names)


# Per system, or stage where they differ: what counts with the embeddings, and what with the head.
ENDS = {
    "uniformerv2": (
        under("network", *CLIP),
        under("network", *LATE, "readers.*", "norm.*", "head.*"),
    ),
    "zeroi2v": (under("network", *CLIP, "temporal_embed"), under("network", "norm.*", "head.*")),
    "tnt": (
        under("network", *VIT, "outer_pos", "inner_pos", "fold.*"),
        under("network", "norm.*", "head.*"),
    ),
    "cvt": (("network.stages.0.patch_embed.*",), under("network", "norm.*", "head.*")),
    "ia_red2": (under("network.trunk", *VIT), under("network", "trunk.norm.*", "head.*")),
    "videomae_v2": (("network.patch_embed.*",), under("network", "fc_norm.*", "head.*")),
    "vivit_frozen": (under("network", *VIT, "adapter.*"), under("network", "norm.*", "head.*")),
    "vivit_frozen.image": (
        under("network.spatial", *VIT),
        under("network", "spatial.norm.*", "head.*"),
    ),
    "vivit_frozen.whole": (under("spatial", *VIT), under("network", "norm.*", "head.*")),
}


def classifiers() -> list[tuple[str, str]]:
    """(system, stage) of all that have the option."""
    found = []
    for name in registry.cards():
        stages: Mapping[str, Any] = getattr(registry.system_class(name), "STAGES", {})
        for stage, plan in stages.items():
            if isinstance(plan.recipes.get("nano"), ClassifierRecipe):
                found.append((name, stage))
    return found


def rates(name: str, stage: str) -> dict[str, float]:
    """{parameter: factor of its rate} for a decay of a half, in the order of definition."""
    system = registry.system_class(name)
    torch.manual_seed(0)
    model = system(system.PRESETS["nano"]())
    plan = system.STAGES[stage]
    objective = plan.objective(model, replace(plan.recipes["nano"], layer_decay=0.5))
    (player,) = objective.players
    assert set(objective.trained(player)) <= set(objective.rates)
    return {key.removeprefix("networks."): rate for key, rate in objective.rates.items()}


def fits(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def test_every_recognizer_is_here() -> None:
    assert {name for name, _ in classifiers()} == {name.partition(".")[0] for name in ENDS}


@pytest.mark.parametrize(("name", "stage"), classifiers())
def test_rates_rise_from_embeddings_over_blocks_to_the_head(name: str, stage: str) -> None:
    found = rates(name, stage)
    blocks: dict[str, set[float]] = {}
    for key, rate in found.items():
        if block := re.match(r".*?\bblocks\.\d+\b", key):
            blocks.setdefault(block[0], set()).add(rate)
    depth = len(blocks)
    assert [*blocks.values()] == [{0.5 ** (depth - number)} for number in range(depth)]
    first, last = ENDS.get(f"{name}.{stage}", ENDS[name])
    lowest = {key for key, rate in found.items() if rate == 0.5 ** (depth + 1)}
    highest = {key for key, rate in found.items() if rate == 1.0}
    assert lowest == {key for key in found if fits(key, first)}
    assert highest == {key for key in found if fits(key, last)}
    ordered = [rate for key, rate in found.items() if not fits(key, under("network", *LATE))]
    assert ordered == sorted(ordered)
