"""Seconds from rates, the calibration of this machine and its file, plans on hardware."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.nn.attention import attention
from kinema.planning import calibration
from kinema.planning.hardware import CARDS, CONTEXT, LAUNCH, MOVED, REACHED, Hardware, card
from kinema.planning.meters import resident_peak
from kinema.planning.operations import Kind, Operation
from kinema.planning.plan import of_generation, times
from kinema.planning.rehearsal import Rehearsal


def machine(**changed: object) -> Hardware:
    """A machine with round figures."""
    figures = {
        "name": "m",
        "title": "M",
        "device": "cpu",
        "memory": 1000,
        "reserved": 100,
        "rates": {
            ("matmul", "float32"): ((100.0, 10.0), (10_000.0, 1000.0)),
            ("matmul", "bfloat16"): ((1.0, 50.0),),
            ("plain", "float32"): ((1.0, 20.0),),
            ("plain", "bfloat16"): ((1.0, 20.0),),
        },
        "overhead": 1.0,
        "fresh": 5.0,
    }
    return Hardware(**{**figures, **changed})


def product(flops: int, moved: int = 0, dtype: str = "float32") -> Operation:
    return Operation("matmul", dtype, flops, moved, 0, 0)


def test_rates_are_interpolated_in_logarithms_and_stay_beyond_the_ends() -> None:
    rates = [machine().rate("matmul", "float32", size) for size in (1, 100, 1000, 10_000, 10**9)]
    assert rates == pytest.approx([10, 10, 100, 1000, 1000])


def test_an_operation_takes_the_longer_of_computing_and_moving() -> None:
    here = machine()
    assert here.seconds_of(product(100, 40)) == pytest.approx(1 + 100 / 10)
    assert here.seconds_of(product(100, 400)) == pytest.approx(1 + 400 / 20)
    assert here.seconds_of(product(100, 40, "float16")) == pytest.approx(1 + 100 / 50)
    moved = Operation("plain", "int64", 0, 60, 30, 0)
    assert here.seconds_of(moved) == pytest.approx(1 + 60 / 20 + 30 / 5)
    assert machine(fresh=None).seconds_of(moved) == pytest.approx(1 + 60 / 20)
    assert here.seconds({moved: 3, product(100): 0.5}) == pytest.approx(3 * 10 + 0.5 * 11)


def test_cards_have_their_published_figures() -> None:
    h100 = card("h100")
    large = product(10**15, dtype="bfloat16")
    assert h100.seconds_of(large) == pytest.approx(LAUNCH + 1 / (REACHED["matmul"] * 0.9894))
    copy = Operation("strided", "float32", 0, 3350 * 10**9, 0, 0)
    assert h100.seconds_of(copy) == pytest.approx(LAUNCH + 1 / MOVED)
    assert (h100.memory, h100.reserved, h100.device) == (80 * 10**9, CONTEXT, "cuda")
    for here in CARDS.values():
        fast, slow = (here.rate("matmul", dtype, 1) for dtype in ("bfloat16", "float32"))
        assert fast >= slow
    with pytest.raises(InputError, match="did you mean 'l40s'"):
        card("l40")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, and a calibration on small tensors."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "SIDES", ((16, 16, 16), (64, 64, 64)))
    monkeypatch.setattr(calibration, "CONVOLUTIONS", ((4, 2, 8), (8, 2, 8)))
    monkeypatch.setattr(calibration, "TOKENS", (16, 64))
    monkeypatch.setattr(calibration, "ELEMENTS", (2**10, 2**12))
    monkeypatch.setattr(calibration, "BEYOND_CACHES", 2**14)
    return tmp_path / "kinema"


def test_this_machine_is_measured_once_and_again_when_told(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = calibration.this_machine(anew=False, attention=attention)
    (file,) = cache.iterdir()
    figures = json.loads(file.read_text())
    assert figures["torch"] == torch.__version__
    assert figures["threads"] == torch.get_num_threads()
    assert {kind for kind, _ in here.rates} == set(get_args(Kind))
    assert all(rate > 0 for points in here.rates.values() for _, rate in points)
    assert here.device == "cpu"
    assert 0 < here.overhead < 0.1
    assert here.fresh is not None
    assert 50e6 < here.reserved < here.memory
    figures["overhead"] = 7.0
    file.write_text(json.dumps(figures))
    assert calibration.this_machine(anew=False, attention=attention).overhead == 7.0
    monkeypatch.setattr(calibration, "PROCESS", "print(123)")
    anew = calibration.this_machine(anew=True, attention=attention)
    assert anew.overhead < 0.1
    assert anew.reserved == 123
    assert [*cache.iterdir()] == [file]
    monkeypatch.setattr(calibration, "SCHEME", calibration.SCHEME + 1)
    calibration.this_machine(anew=False, attention=attention)
    assert len([*cache.iterdir()]) == 2


def test_attention_is_measured_as_networks_compute_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "PROCESS", "print(123)")
    seen = []

    def ours(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        seen.append(q.dtype)
        return attention(q, k, v, mask)

    calibration.this_machine(anew=True, attention=ours)
    assert set(seen) == {torch.float32, torch.bfloat16}


@pytest.mark.parametrize("damage", ["{", "[]", '{"cpu": "another"}'])
def test_figures_that_cannot_be_read_are_told(cache: Path, damage: str) -> None:
    place = calibration._place()
    place.parent.mkdir()
    place.write_text(damage)
    with pytest.raises(InputError, match=str(place)):
        calibration.this_machine(anew=False, attention=attention)


def test_the_peak_of_a_process_is_its_own() -> None:
    held = torch.ones(50_000_000)
    assert resident_peak() > held.nbytes
    code = "from kinema.planning.meters import resident_peak; print(resident_peak())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    alone = int(child.stdout)
    more = code.replace("print", "import torch; x = torch.ones(50_000_000); print")
    child = subprocess.run([sys.executable, "-c", more], capture_output=True, check=True)
    assert int(child.stdout) - alone == pytest.approx(held.nbytes, rel=0.1)


def test_the_plan_of_a_network_on_a_machine() -> None:
    layer = nn.Linear(10, 10, bias=False, device="meta")

    def steps() -> None:
        for _ in range(4):
            layer(torch.empty(5, 10, device="meta"))

    with torch.no_grad(), Rehearsal({"layer": layer}) as rehearsal:
        steps()
    plan = of_generation({"layer": layer}, rehearsal, 4)
    assert (plan.parameters, plan.steps, plan.stepwise) == (100, 4, ("layer",))
    assert plan.memory == {"weights": 400, "activations": 400}
    roomy, tight = machine(), machine(memory=899)
    assert plan.peak(roomy) == 900
    assert (plan.fits(roomy), plan.fits(tight)) == (True, False)
    each = roomy.seconds_of(product(1000, 800))
    assert plan.step_seconds(roomy) == pytest.approx(each)
    assert plan.seconds(roomy) == pytest.approx(4 * each)


def test_operations_can_be_multiplied() -> None:
    assert times({product(3): 2}, 2.5) == {product(3): 5.0}
