"""The runner: pairs of arms and seeds, resume, matched arms, budget, and its record."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from small_experiments import CLAIM, MODULE, experiment, steady

from kinema.claims import record as records
from kinema.claims.claim import Experiment
from kinema.claims.record import Record, read_record, record_of
from kinema.claims.runner import run_claim
from kinema.errors import InputError


def run(made: Experiment, folder: Path, seeds: int = 3) -> Record:
    return run_claim(made, folder, seeds=seeds, module=MODULE)


def test_a_run_leaves_results_record_and_figure(tmp_path: Path) -> None:
    record = run(experiment(steady), tmp_path)
    assert record.outcome == "holds"
    assert record.gains == pytest.approx((1.0, 1.01, 1.02))
    assert record.mean == pytest.approx(1.01)
    assert record.arms["one"].measured[2] == pytest.approx({"number": 3.02, "seed": 2.0})
    assert record.arms["none"].cost.flops == 1000
    assert record.threads >= 1
    assert set(record.versions) == {"kinema", "torch"}
    assert MODULE in record.modules
    assert record.stale == []
    assert read_record(tmp_path / "record.json") == record
    names = {f"{arm}-{seed}.json" for arm in ("one", "none") for seed in range(3)}
    assert {file.name for file in tmp_path.iterdir()} == {*names, "record.json", "figure.png"}
    with Image.open(tmp_path / "figure.png") as picture:
        assert len(set(picture.convert("L").tobytes())) > 50
    assert "one 2.01, none 1" in record.figures
    assert "margin 0.5" in record.figures


def test_less_is_better_where_the_claim_says_so(tmp_path: Path) -> None:
    lower = replace(CLAIM, better="lower")
    record = run(experiment(steady, claim=lower), tmp_path)
    assert record.gains == pytest.approx((-1.0, -1.01, -1.02))
    assert record.outcome == "does not hold"


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    done: list[tuple[str, int]] = []

    def killed(name: str, seed: int) -> float:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append((name, seed))
        return steady(name, seed)

    with pytest.raises(KeyboardInterrupt):
        run(experiment(killed), tmp_path)
    assert done == [("one", 0), ("none", 0), ("one", 1)]
    assert not (tmp_path / "record.json").exists()
    again: list[tuple[str, int]] = []

    def counted(name: str, seed: int) -> float:
        again.append((name, seed))
        return steady(name, seed)

    record = run(experiment(counted), tmp_path)
    assert again == [("none", 1), ("one", 2), ("none", 2)]
    assert record.gains == pytest.approx((1.0, 1.01, 1.02))
    more = run(experiment(counted), tmp_path, seeds=5)
    assert again[3:] == [(name, seed) for seed in (3, 4) for name in ("one", "none")]
    assert len(more.gains) == 5
    assert more.gains[:3] == record.gains


@pytest.mark.parametrize("seeds", [0, 1, 2, 4, 6])
def test_the_number_of_seeds_is_no_choice(tmp_path: Path, seeds: int) -> None:
    with pytest.raises(InputError, match=f"3 seeds, or once with 5, not {seeds}"):
        run(experiment(steady), tmp_path, seeds=seeds)
    assert not list(tmp_path.iterdir())


def test_arms_that_do_not_match_are_refused_before_anything_runs(tmp_path: Path) -> None:
    run(experiment(steady, parameters=110), tmp_path / "near")
    with pytest.raises(InputError, match=r"differ by 13.8% in parameters, at most 10.0%"):
        run(experiment(steady, parameters=116), tmp_path / "far")
    assert not list((tmp_path / "far").iterdir())


def test_costs_are_told_side_by_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="kinema"):
        run(experiment(steady), tmp_path)
    assert caplog.messages[:2] == [
        "one: 100 parameters, 1000 FLOPs a step",
        "none: 100 parameters, 1000 FLOPs a step",
    ]
    assert "budget" not in caplog.text


def test_a_run_beyond_its_budget_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hasty = replace(CLAIM, budget=1e-9)
    with caplog.at_level(logging.INFO, logger="kinema"):
        record = run(experiment(steady, claim=hasty), tmp_path)
    assert "are its budget" in caplog.text
    assert record.minutes > record.claim.budget


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    def diverges(name: str, seed: int) -> float:
        return math.nan if seed else 1.0

    with pytest.raises(InputError, match="one with seed 1 measured number = nan"):
        run(experiment(diverges), tmp_path)
    assert not (tmp_path / "one-1.json").exists()


def test_results_of_other_code_are_refused(tmp_path: Path) -> None:
    run(experiment(steady), tmp_path)
    with pytest.raises(InputError, match=r"one-0.json was measured before kinema\.noise changed"):
        run_claim(experiment(steady), tmp_path, seeds=3, module="kinema.noise")
    (tmp_path / "one-0.json").write_text('{"seconds": 1.0, "meas')
    with pytest.raises(InputError, match=r"one-0.json is damaged"):
        run(experiment(steady), tmp_path)


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    run(experiment(steady), tmp_path)
    path = tmp_path / "record.json"
    whole = path.read_text()
    for text in (whole[:-30], "[]", "{}", whole.replace('"gains"', '"gain"')):
        path.write_text(text)
        with pytest.raises(InputError, match=r"record.json is no record of a claim"):
            read_record(path)


def test_a_record_of_other_code_is_stale(tmp_path: Path) -> None:
    record = run(experiment(steady), tmp_path)
    old = replace(record, modules={**record.modules, MODULE: "0", "kinema.gone": "1"})
    assert old.stale == [MODULE, "kinema.gone"]


def test_runs_in_a_folder_come_before_the_records_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "records"
    monkeypatch.setattr(records, "RECORDS", shipped)
    assert record_of("small", tmp_path) is None
    record = run(experiment(steady), tmp_path / "runs" / "small")
    replace(record, commit="old").write(shipped / "small.json")
    assert record_of("small", None) == replace(record, commit="old")
    assert record_of("small", tmp_path / "runs") == record
