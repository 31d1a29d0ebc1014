from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kinema.errors import InputError
from kinema.parity.case import read_case
from kinema.parity.network import load_weights, recorded, stage_places
from kinema.parity.runner import (
    adapter_of,
    find_cases,
    lines,
    relative_error,
    run_case,
    run_cases,
    summary,
)
from kinema.weights.fill import fill_one
from kinema.weights.keymap import KeyMap

CASES = Path(__file__).parents[1] / "cases"
LTX = CASES / "05-ltx-video"


@pytest.mark.parametrize("folder", find_cases([CASES]), ids=lambda folder: folder.name)
def test_recorded_case(folder):
    result = run_case(folder)
    assert result.passed, "\n".join(lines(result))
    assert max(row.error for row in result.rows) < result.tolerance / 10
    expected = read_case(folder).expected
    assert [row.name for row in result.rows] == list(expected)


def test_all_cases_of_the_system_are_there():
    assert len(find_cases([LTX])) == 20
    assert len(find_cases([CASES, LTX, LTX / "rope"])) == len(find_cases([CASES]))


# A case that is changed must fail or be refused: the comparison sees what it claims to see.


@pytest.fixture
def copy(tmp_path: Path):
    def make(name: str, *, tensors: dict[str, Any] | None = None, **fields: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(LTX / name, folder)
        case = json.loads((folder / "case.json").read_text())
        case.update(fields)
        text = json.dumps({k: v for k, v in case.items() if v is not None})
        (folder / "case.json").write_text(text)
        if tensors is not None:
            held = {**load_file(folder / "io.safetensors"), **tensors}
            kept = {k: v.contiguous() for k, v in held.items() if v is not None}
            save_file(kept, folder / "io.safetensors")
        return folder

    return make


def config_of(name: str) -> dict[str, Any]:
    return json.loads((LTX / name / "case.json").read_text())["config"]


@pytest.mark.parametrize(
    "name", ["transformer", "vae-0.9.1-decode", "vae-0.9.5-encode", "latent-upsampler"]
)
def test_other_weights_fail_at_the_first_stage(copy, name):
    result = run_case(copy(name, seed=1000))
    assert not result.passed
    assert not result.rows[0].passed
    assert result.rows[0].name.startswith("stage.")


@pytest.mark.parametrize("name", sorted(folder.name for folder in LTX.iterdir()))
def test_every_output_and_stage_is_compared(copy, name):
    tensors = load_file(LTX / name / "io.safetensors")
    wrong = {
        key: value + max(1, math.ceil(value.abs().max().item() * 1e-3))
        for key, value in tensors.items()
        if key.startswith(("out.", "stage."))
    }
    result = run_case(copy(name, tensors=wrong))
    assert len(result.rows) == len(wrong)
    assert not any(row.passed for row in result.rows)


@pytest.mark.parametrize("name", ["attention_skip", "attention_values", "transformer_block"])
def test_the_layers_that_are_skipped_are_those_of_the_case(copy, name):
    mask = load_file(LTX / f"transformer-stg-{name}" / "io.safetensors")["in.skip_layer_mask"]
    folder = copy(f"transformer-stg-{name}", tensors={"in.skip_layer_mask": 1 - mask})
    assert not run_case(folder).passed


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"extra": 1}, "extra"),
        ({"schema": 2}, "schema 2"),
        ({"seed": "7"}, "seed"),
        ({"tolerance": True}, "tolerance"),
        ({"manifest": {"a": "xy"}}, "malformed"),
        ({"mode": "train"}, "train"),
        ({"reference": None}, "reference"),
        ({"stages": ["conv_in", "unheard"]}, "unheard"),
        ({"fill_scale": {"nowhere": 2.0}}, "nowhere"),
        ({"tensor_names": "other"}, "tensor_names"),
        ({"notes": {"stage_slices": {"conv_in": "some"}}}, "conv_in"),
        ({"inputs": {}}, "in.latents"),
    ],
)
def test_a_field_that_is_not_understood_is_named(copy, fields, named):
    with pytest.raises(InputError, match=named):
        read_case(copy("vae-0.9.1-decode", **fields))


def test_a_shape_that_differs_is_named(copy):
    with pytest.raises(InputError, match=r"in\.x"):
        read_case(copy("scheduler-euler", tensors={"in.x": torch.zeros(1)}))


def test_tensors_must_be_those_that_are_named(copy, tmp_path):
    with pytest.raises(InputError, match=r"out\.recon"):
        read_case(copy("vae-0.9.0-single-image", tensors={"out.recon": None}))
    with pytest.raises(InputError, match=r"in\.more"):
        read_case(copy("rope", tensors={"in.more": torch.zeros(1)}))
    (copy("guidance") / "io.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"io\.safetensors"):
        read_case(tmp_path / "guidance")
    (tmp_path / "guidance" / "case.json").write_text("{")
    with pytest.raises(InputError, match=r"case\.json"):
        read_case(tmp_path / "guidance")


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        ("transformer", "mystery", 1),
        ("transformer", "qk_norm", "layer_norm"),
        ("transformer", "adaptive_norm", "single_scale"),
        ("rope", "spacing", "linear"),
        ("vae-0.9.1-decode", "mystery", 1),
        ("vae-0.9.1-decode", "norm_layer", "group_norm"),
        ("latent-upsampler", "mystery", 1),
        ("latent-upsampler", "dims", 2),
        ("patchifier", "mystery", 1),
        ("latent-filters", "mystery", 1),
        ("scheduler-euler", "mystery", 1),
        ("scheduler-euler", "shifting", "mystery"),
        ("scheduler-sigmas", "t40_6144", {"steps": 40, "tokens": 6144, "mystery": 1}),
        ("masked-denoising", "mystery", 1),
        ("guidance", "stg", {"guidance_scale": 3.0, "mystery": 1}),
    ],
)
def test_an_argument_that_our_network_does_not_have_is_named(copy, name, argument, value):
    folder = copy(name, config={**config_of(name), argument: value})
    with pytest.raises(InputError, match="mystery|" + argument):
        run_case(folder)
    (result,) = run_cases([folder])
    assert not result.passed
    assert result.problem


def test_unknown_pairs_are_named(copy):
    with pytest.raises(InputError, match=r"05-ltx-vide0.*05-ltx-video"):
        run_case(copy("rope", network="05-ltx-vide0"))
    with pytest.raises(InputError, match=r"vae-0\.9\.2-encode.*vae-0\.9"):
        adapter_of("05-ltx-video", "vae-0.9.2-encode")


def test_unknown_stages_inputs_and_outputs_are_named(copy, tmp_path):
    io = load_file(LTX / "rope" / "io.safetensors")
    outputs = {"cos": {}, "sin": {}, "tan": {}}
    with pytest.raises(InputError, match=r"out\.tan"):
        run_case(copy("rope", outputs=outputs, tensors={"out.tan": io["out.cos"]}))
    shutil.rmtree(tmp_path / "rope")
    inputs = {"indices_grid": {}, "mystery": {}}
    with pytest.raises(InputError, match="mystery"):
        run_case(copy("rope", inputs=inputs, tensors={"in.mystery": io["out.cos"]}))
    stage = {"stage.mystery": torch.zeros(1)}
    for name in ("transformer", "vae-0.9.0-single-image"):
        with pytest.raises(InputError, match="mystery"):
            run_case(copy(name, stages=["mystery"], tensors=only(name, stage)))


def only(name: str, stage: dict[str, torch.Tensor]) -> dict[str, torch.Tensor | None]:
    """The changes that leave a case with this stage alone."""
    held = load_file(LTX / name / "io.safetensors")
    return {**{key: None for key in held if key.startswith("stage.")}, **stage}


def test_weights_must_fit_exactly(copy, tmp_path):
    case = json.loads((LTX / "latent-upsampler" / "case.json").read_text())
    manifest = {**case["manifest"], "strange.weight": [3]}
    with pytest.raises(InputError, match=r"1 unexpected: strange\.weight"):
        run_case(copy("latent-upsampler", manifest=manifest))
    shutil.rmtree(tmp_path / "latent-upsampler")
    del manifest["strange.weight"], manifest["final_conv.bias"]
    with pytest.raises(InputError, match=r"1 missing: final_conv\.bias"):
        run_case(copy("latent-upsampler", manifest=manifest))


def test_a_network_that_breaks_is_a_failed_case_and_the_others_run(copy, tmp_path):
    copy("rope")
    folder = copy(
        "guidance",
        inputs={name: {} for name in ("uncond", "text", "perturbed")},
        tensors={"in.uncond": torch.zeros(1, 5, 4)},
    )
    results = list(run_cases([tmp_path]))
    assert [result.folder.name for result in results] == ["guidance", "rope"]
    assert [result.passed for result in results] == [False, True]
    assert "RuntimeError" in results[0].problem
    assert folder in [result.folder for result in results]
    assert summary(results) == "1 passed, 1 failed"
    assert any("RuntimeError" in line for line in lines(results[0]))


def test_paths_without_cases_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no case\.json"):
        list(run_cases([tmp_path]))
    with pytest.raises(InputError, match="nowhere"):
        list(run_cases([tmp_path / "nowhere"]))


# Parts.


def test_relative_error():
    expected = torch.tensor([1.0, -4.0])
    assert relative_error(expected, expected) == 0
    assert relative_error(torch.tensor([1.5, -4.0]), expected) == 0.125
    assert relative_error(torch.tensor([float("nan"), -4.0]), expected) == math.inf
    assert relative_error(torch.tensor([float("inf"), -4.0]), expected) == math.inf
    assert relative_error(expected, torch.zeros(2)) == math.inf
    assert relative_error(torch.zeros(2), torch.zeros(2)) == 0


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        self.alpha = nn.Parameter(torch.tensor(5.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.alpha * x


def test_stages_are_recorded_where_they_arise():
    network, x = Toy(), torch.randn(1, 2)
    places = {"a": "layers.0", "b": "before layers.1", "c": "layers.2"}
    with recorded(network, places) as stages:
        out = network(x)
    assert torch.equal(stages["a"], stages["b"])
    assert torch.equal(stages["a"], network.layers[0](x))
    assert torch.equal(network.alpha * stages["c"], out)
    stages.clear()
    network(x)
    assert stages == {}


def toy_case(tmp_path: Path, **fields: Any) -> Path:
    manifest = {
        f"layers.{i}.{p}": [2, 2] if p == "weight" else [2]
        for i in range(3)
        for p in ("weight", "bias")
    }
    case = {
        "schema": 1,
        "network": "toy",
        "entry": "toy",
        "mode": "eval",
        "tolerance": 1e-4,
        "reference": "toy",
        "config": {},
        "seed": 3,
        "manifest": {**manifest, "alpha": []},
        "fixed": {"alpha": {"why": "learned"}},
        "inputs": {},
        "outputs": {},
        "stages": [],
        **fields,
    }
    (tmp_path / "case.json").write_text(json.dumps(case))
    return tmp_path


def test_weights_are_filled_scaled_fixed_and_aliased(tmp_path):
    folder = toy_case(
        tmp_path, fill_scale={"layers.1.weight": 3.0}, aliases={"twin.weight": "layers.0.weight"}
    )
    save_file({"fixed.alpha": torch.tensor(1000.0)}, folder / "io.safetensors")
    weights = read_case(folder).weights()
    assert weights["alpha"] == 1000
    assert torch.equal(weights["twin.weight"], weights["layers.0.weight"])
    filled = fill_one("layers.1.weight", (2, 2), 3)
    assert np.array_equal(weights["layers.1.weight"].numpy(), filled * np.float32(3))
    assert np.array_equal(weights["layers.2.bias"].numpy(), fill_one("layers.2.bias", (2,), 3))


def test_a_fixed_weight_that_is_not_stored_keeps_the_constructors_value(tmp_path):
    save_file({}, toy_case(tmp_path) / "io.safetensors")
    case = read_case(tmp_path)
    network = Toy()
    load_weights(network, case, KeyMap(), {})
    assert network.alpha == 5
    assert torch.equal(network.layers[1].bias, case.weights()["layers.1.bias"])


def test_stage_names_with_numbers_lead_to_numbered_places(tmp_path):
    stages = {f"stage.{name}": torch.zeros(1) for name in ("block12", "out")}
    save_file(stages, tmp_path / "io.safetensors")
    case = read_case(toy_case(tmp_path, stages=["block12", "out"]))
    places = stage_places(case, {"block{i}": "layers.{i}", "out": "before head"})
    assert places == {"stage.block12": "layers.12", "stage.out": "before head"}


def test_a_stage_that_is_stored_in_part_is_compared_in_part():
    case = read_case(LTX / "transformer")
    part = case.slices["adaln_six"]
    assert (part.axis, part.length, part.shape) == (1, 192, (120, 384))
    assert case.expected["stage.adaln_six"].shape == (120, 192)
