"""Adapters of UniFormerV2 and ZeroI2V: other networks are refused, other weights are seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from kinema.errors import InputError
from kinema.parity import uniformerv2, zeroi2v
from kinema.parity.case import Case, read_case
from kinema.parity.runner import relative_error

CASES = Path(__file__).parents[1] / "cases"
FOLDERS: dict[ModuleType, Path] = {
    uniformerv2: CASES / "14-uniformerv2",
    zeroi2v: CASES / "32-zeroi2v",
}


def case(module: ModuleType, name: str, **changes: Any) -> Case:
    """A recorded case with other arguments."""
    read = read_case(FOLDERS[module] / name)
    return dataclasses.replace(read, config={**read.config, **changes})


@pytest.mark.parametrize("module", FOLDERS)
def test_every_adapter_has_a_case(module: ModuleType) -> None:
    assert {folder.name for folder in FOLDERS[module].iterdir()} == set(module.ADAPTERS)


@pytest.mark.parametrize(
    ("module", "name", "changes", "said"),
    [
        (uniformerv2, "global", {"depth": 3}, "unknown argument of UniFormerV2 'depth'"),
        (uniformerv2, "global", {"t_size": 8}, "feeds 6 frames, not 8"),
        (zeroi2v, "train", {"attn_adapter_type": "qkv"}, "unknown argument of ZeroI2V"),
        (zeroi2v, "train", {"num_frames": 6}, r"temporal_embed is \(1, 4, 48\)"),
        (zeroi2v, "merged", {"adapter_scale": 0.5}, "unknown argument of ZeroI2V"),
        (zeroi2v, "long", {"stdha_cfg": {"shift_div": 8}}, "unknown argument of the attention"),
    ],
)
def test_another_network_is_refused(
    module: ModuleType, name: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said), torch.no_grad():
        module.ADAPTERS[name](case(module, name, **changes))


def test_shares_of_dropout_do_not_matter() -> None:
    changed = case(uniformerv2, "global", mlp_dropout=[0.1, 0.3], cls_dropout=0.2)
    with torch.no_grad():
        found = uniformerv2.ADAPTERS["global"](changed)
    assert relative_error(found["out.logits"], changed.expected["out.logits"]) < changed.tolerance


@pytest.mark.parametrize(
    ("module", "name", "output"),
    [(uniformerv2, "local-global", "out.logits"), (zeroi2v, "train", "out.features_merged")],
)
def test_other_weights_give_other_results(module: ModuleType, name: str, output: str) -> None:
    read = case(module, name)
    with torch.no_grad():
        found = module.ADAPTERS[name](dataclasses.replace(read, seed=read.seed + 1))
    for result in (output, "stage.block0"):
        assert relative_error(found[result], read.expected[result]) > 0.01


def test_the_direction_of_a_shift_is_seen() -> None:
    """Groups in another order give another table."""
    read = case(zeroi2v, "shift-table")
    arguments = {**read.config["0"], "shift_div": 6}
    found = zeroi2v.ADAPTERS["shift-table"](case(zeroi2v, "shift-table", **{"0": arguments}))
    assert not torch.equal(found["out.source_0"], read.expected["out.source_0"])
    assert torch.equal(found["out.source_1"], read.expected["out.source_1"])


@pytest.mark.parametrize("adapters", ["share", "qkv"])
def test_an_ablation_with_shifts_of_the_class_token_runs(adapters: str) -> None:
    """Not recorded at this size: that it is another network, and that all weights are taken."""
    changes = {
        "stdha_cfg": {"ops_type": "token_shift", "shift_div": 4},
        "adapter_type": "linear",
        "attn_adapter_type": adapters,
    }
    read = case(zeroi2v, "ablation-other", **changes)
    inner = "T_Adapter_in."
    parts = [f"T_Adapter_in_{name}." for name in "qkv"] if adapters == "qkv" else [inner]
    manifest = {
        key.replace(inner, part): shape
        for key, shape in read.manifest.items()
        for part in (parts if inner in key else [inner])
    }
    with torch.no_grad():
        found = zeroi2v.ADAPTERS["ablation-other"](dataclasses.replace(read, manifest=manifest))
    assert found["out.features"].shape == read.expected["out.features"].shape
    assert relative_error(found["out.features"], read.expected["out.features"]) > 0.01
