"""`kinema claim`: the table of verdicts, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kinema.claims.claim import claims
from kinema.claims.record import RECORDS, read_record


def test_the_table_lists_every_claim(kinema: Any) -> None:
    answer = kinema("claim")
    assert answer.status == 0, answer
    header, *lines = answer.out.splitlines()
    assert header.split()[:4] == ["no", "claim", "of", "rank"]
    assert sorted(line.split()[1] for line in lines) == list(claims())
    numbered = [line.split()[0] for line in lines]
    assert numbered == sorted(numbered)
    (line,) = [line for line in lines if "ltx_given_tokens" in line]
    assert line.split()[0] == "05"


def test_secondary_claims_alone(kinema: Any) -> None:
    _, *lines = kinema("claim", "--secondary").out.splitlines()
    secondary = [name for name, claim in claims().items() if not claim.primary]
    assert sorted(line.split()[1] for line in lines) == secondary
    assert "ltx_denoising_decoder" in secondary


def test_the_table_as_json(kinema: Any) -> None:
    listed = {claim["name"]: claim for claim in kinema("claim", "--json").json}
    assert sorted(listed) == list(claims())
    decoder = listed["ltx_denoising_decoder"]
    assert (decoder["number"], decoder["primary"], decoder["margin"]) == (5, False, 0.3)
    assert decoder["told"].startswith("our reading of: a decoder")
    for claim in listed.values():
        assert (claim["record"] is None) == (claim["outcome"] == "not run")


def test_the_table_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys; from kinema.cli.main import main; main(['claim'])\n"
    code += "assert not {'torch', 'matplotlib'} & set(sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr


@pytest.mark.slow
def test_a_recorded_claim_comes_out_again(kinema: Any, tmp_path: Path) -> None:
    answer = kinema("claim", "stream", "-o", tmp_path, "--json")
    assert answer.status == 0, answer
    (claim,) = answer.json
    (line,) = [line for line in answer.err.splitlines() if line.startswith("stream:")]
    assert line.endswith("FLOPs a step")
    assert (claim["outcome"], claim["stale"]) == ("holds", [])
    recorded = read_record(RECORDS / f"{claim['name']}.json")
    assert claim["record"]["gains"] == pytest.approx(recorded.gains, abs=0.01)
    # The same command runs nothing again, and the table shows the run of the folder.
    assert kinema("claim", "stream", "-o", tmp_path).status == 0
    listed = {each["name"]: each for each in kinema("claim", "-o", tmp_path, "--json").json}
    assert listed[claim["name"]]["record"]["gains"] == claim["record"]["gains"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ltx_vidoe"], "unknown claim 'ltx_vidoe'; did you mean 'ltx_video'?"),
        (["stream", "--secondary"], "stream has no secondary claim"),
        (["stream", "--seeds", "4"], "3 seeds, or once with 5, not 4"),
    ],
)
def test_what_cannot_be_run_is_refused(
    kinema: Any, tmp_path: Path, arguments: list[str], said: str
) -> None:
    assert said in kinema("claim", *arguments, "-o", tmp_path).error
    assert not list(tmp_path.iterdir())


def test_a_run_is_refused_where_a_file_stands(kinema: Any, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.touch()
    assert str(place) in kinema("claim", "stream", "-o", place).error


def test_a_damaged_record_is_named(kinema: Any, tmp_path: Path) -> None:
    record = tmp_path / "ltx_given_tokens" / "record.json"
    record.parent.mkdir()
    record.write_text("{}")
    assert f"{record} is no record of a claim" in kinema("claim", "-o", tmp_path).error
