"""`kinema`, `kinema systems`, `kinema show` and `kinema parity`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import kinema as library
from kinema import registry
from kinema.card import CHECKS
from kinema.claims.claim import claims
from kinema.claims.record import record_of
from kinema.cli.systems import NOT_RUN, row, verdicts

CASES = Path(__file__).parents[1] / "cases" / "05-ltx-video"


def test_the_table_holds_every_system(kinema):
    header, *rows = kinema("systems").out.splitlines()
    assert header.split()[:4] == ["no", "name", "kind", "arXiv"]
    assert [row.split()[1] for row in rows] == list(registry.cards())
    assert [card["name"] for card in kinema("systems", "--json").json] == list(registry.cards())


def test_checks_that_do_not_apply_show_so():
    card = replace(registry.card("ltx_video"), kind="metric", applies=("run",))
    cells = dict(zip(CHECKS, row(card, "holds")[4:]))
    assert cells == {check: "applies" if check == "run" else "--" for check in CHECKS}


def test_a_claim_shows_its_recorded_verdict(kinema):
    found = verdicts()
    assert {name for name, said in found.items() if said != NOT_RUN} == {
        claim.system for claim in claims().values() if claim.primary and record_of(claim.name, None)
    }
    assert found["stream"].startswith("holds")
    cells = dict(zip(CHECKS, row(registry.card("stream"), "holds, stale")[4:]))
    assert cells["claim"] == "holds, stale"
    listed = {card["name"]: card["verdict"] for card in kinema("systems", "--json").json}
    assert listed == found


def test_a_card_is_shown_in_full(kinema):
    facts = kinema("show", "ltx_video", "--json").json
    assert facts["number"] == 5
    assert {"full", "tiny", "nano", "shapes"} <= set(facts["presets"])
    assert facts["stages"] == {
        "codec": ["codec"],
        "refine": ["codec"],
        "generator": ["transformer", "text"],
        "finetune": ["transformer", "text"],
    }
    shown = kinema("show", "ltx_video").out
    for value in (facts["title"], facts["code_license"], *facts["deviations"], *facts["presets"]):
        assert value in shown


def test_parity_counts_cases(kinema):
    answer = kinema("parity", CASES / "rope", CASES / "scheduler-euler")
    assert answer.status == 0
    assert answer.out.splitlines()[-1] == "2 passed, 0 failed"


def test_a_case_that_fails_is_an_exit_status(kinema):
    shutil.copytree(CASES / "rope", "good")
    shutil.copytree(CASES / "rope", "bad")
    case = json.loads(Path("bad/case.json").read_text())
    case["entry"] = "no such entry"
    Path("bad/case.json").write_text(json.dumps(case))
    answer = kinema("parity", "good", "bad")
    assert answer.status == 1
    assert answer.out.splitlines()[-1] == "1 passed, 1 failed"


def test_help_and_version(kinema):
    for arguments in ((), ("--help",)):
        answer = kinema(*arguments)
        assert answer.status == 0
        assert all(verb in answer.out for verb in ("generate", "train", "systems", "parity"))
    assert kinema("--version").out == f"kinema {library.__version__}\n"


@pytest.mark.parametrize("verb", ["generate", "run", "train", "encode", "draw", "show", "parity"])
def test_every_verb_has_help(kinema, verb):
    answer = kinema(verb, "--help")
    assert answer.status == 0
    assert answer.out.startswith("Usage: kinema")
