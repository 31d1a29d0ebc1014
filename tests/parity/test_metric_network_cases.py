from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from kinema.errors import InputError
from kinema.parity.case import Case, read_case
from kinema.parity.metric_networks import ADAPTERS
from kinema.parity.runner import relative_error

CASES = Path(__file__).parents[1] / "cases" / "00-metrics"


def case(name: str, **changes: Any) -> Case:
    """A recorded case with other arguments."""
    read = read_case(CASES / name)
    return dataclasses.replace(read, config={**read.config, **changes})


def test_every_adapter_has_a_case() -> None:
    assert all((CASES / name / "case.json").is_file() for name in ADAPTERS)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("i3d", {"dropout": 0.5}, "unknown argument of the entry i3d 'dropout'"),
        ("lpips-alex", {"spatial": True}, "LPIPS has spatial=False, not True"),
        ("lpips-alex", {"version": "0.0"}, "LPIPS has version='0.1', not '0.0'"),
        ("lpips-alex", {"net": "squeeze"}, "LPIPS has net='alex', not 'squeeze'"),
        ("lpips-vgg", {"net": "alex"}, "the entry lpips-vgg cannot have net='alex'"),
        ("c3d-ucf101", {"n_channels": 1}, "C3D takes 3 channels, not n_channels=1"),
        ("inception-2015", {"features_list": ["768"]}, "unknown feature of Inception '768'"),
        ("fvd-preprocess", {"crop": 1}, "unknown argument of the entry fvd-preprocess 'crop'"),
    ],
)
def test_another_network_is_refused(name: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said), torch.no_grad():
        ADAPTERS[name](case(name, **changes))


def test_pixels_that_do_not_fill_224_are_refused() -> None:
    read = case("i3d")
    small = dataclasses.replace(read, inputs={"x": read.inputs["x"][..., :20]})
    with pytest.raises(InputError, match="20 pixels of the input x do not divide 224"):
        ADAPTERS["i3d"](small)


def test_other_weights_give_another_distance() -> None:
    read = case("lpips-alex")
    with torch.no_grad():
        found = ADAPTERS["lpips-alex"](dataclasses.replace(read, seed=read.seed + 1))
    for name in ("out.distance", "out.layer0", "out.layer4"):
        assert relative_error(found[name], read.expected[name]) > 0.01


def test_the_way_of_preparing_shows() -> None:
    read = case("fvd-preprocess")
    found = ADAPTERS["fvd-preprocess"](read)
    styleganv = read.expected["out.styleganv_48"]
    assert relative_error(found["out.videogpt_48"], styleganv) > 1e-3
    assert relative_error(found["out.tensorflow_48"], styleganv) > 0.1
    assert found["out.tensorflow_48"].shape == styleganv.shape
