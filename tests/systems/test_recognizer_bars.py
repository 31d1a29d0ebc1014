"""The scripts that judge bars of recognizers: figures in a file, a verdict in the exit status."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import torch

from kinema.systems.ia_red2 import IARED2

BENCH = Path(__file__).parents[2] / "bench"


def script(name: str) -> ModuleType:
    """A script of the folder `bench`."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def saved(path: Path, seed: int) -> str:
    """A fresh nano model of IA-RED^2, whose interpreters keep everything."""
    torch.manual_seed(seed)
    IARED2(IARED2.PRESETS["nano"]()).save_pretrained(path)
    return f"ia_red2@{path}"


def test_the_exit_status_is_that_of_both_bars(tmp_path: Path) -> None:
    name, figures = saved(tmp_path / "model.safetensors", 0), tmp_path / "figures.json"
    words = [f"--model={name}", f"--host={name}", "--clips=130", "--rounds=1"]
    status = script("ia_red2_speed").main([*words, f"--json={figures}"])
    found = json.loads(figures.read_text())
    assert found["patches"] == 1
    assert found["lost"] == 0
    fast = found["faster"] >= 1.2  # a matter of the machine
    assert found["bars"] == {"speed": fast, "accuracy": True}
    assert status == int(not fast)


def test_what_is_lost_is_that_to_the_host(tmp_path: Path) -> None:
    bench = script("ia_red2_speed")
    model, host = (saved(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1))
    told = {}
    for first, second in ((model, host), (host, model)):
        figures = tmp_path / "figures.json"
        words = [f"--model={first}", f"--host={second}", "--clips=130", "--rounds=1"]
        bench.main([*words, f"--json={figures}"])
        told[first] = json.loads(figures.read_text())
    assert told[model]["top1"]["host"] == told[host]["top1"]["all"]
    assert told[model]["lost"] == -told[host]["lost"] != 0


def test_merging_costs_nothing(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    script("zeroi2v_cost").main(["--rounds=1", f"--json={figures}"])
    found = json.loads(figures.read_text())
    assert found["bars"]["merging"]
    assert found["bars"]["operations"]
    networks = found["networks"]
    assert networks["with adapters"]["flops"] > networks["merged"]["flops"]


def test_freezing_saves_time_and_memory(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    words = ["--rounds=1", "--width=128", f"--json={figures}"]
    status = script("vivit_frozen_cost").main(words)
    found = json.loads(figures.read_text())
    stages, shares = found["stages"], found["shares"]
    assert stages["cached"]["trained"] == stages["classifier"]["trained"]
    assert stages["classifier"]["trained"] < stages["whole"]["trained"]
    assert shares["cached"]["flops"] < shares["classifier"]["flops"] < 0.6
    assert all(0 < row["memory"] < 1e9 for row in stages.values())
    assert found["bars"] == {what: shares["classifier"][what] <= 0.6 for what in found["bars"]}
    assert status == int(not all(found["bars"].values()))
