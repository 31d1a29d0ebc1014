"""The log of a run: nothing twice, nothing half, and TensorBoard only where it is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from torch.utils.tensorboard.writer import SummaryWriter  # noqa: F401 (the package is installed)

from kinema.errors import InputError
from kinema.training.log import Log, read_log


def test_lines_keep_all_digits(tmp_path: Path) -> None:
    with Log(tmp_path, start=0, total=2) as log:
        log.write(0, {"codec/loss": 0.1 + 0.2, "seconds": 1.0})
        log.report(1, {"held_out/loss": 1 / 3})
    assert read_log(tmp_path) == [
        {"step": 0, "codec/loss": 0.1 + 0.2, "seconds": 1.0},
        {"step": 0, "held_out/loss": 1 / 3},
    ]
    assert list((tmp_path / "tensorboard").iterdir())


def test_what_was_not_saved_is_cut_off(tmp_path: Path) -> None:
    lines = [{"step": step, "loss": 0.5} for step in range(6)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "log.jsonl").write_text(text + '{"step": 6, "lo')  # cut by a kill
    with Log(tmp_path, start=4, total=9) as log:
        log.write(4, {"loss": 0.25, "seconds": 1.0})
    assert read_log(tmp_path) == [*lines[:4], {"step": 4, "loss": 0.25, "seconds": 1.0}]


DAMAGED = [
    b'{"step": 1, "lo',
    b"\xff\x00",
    b"[]",
    b'{"loss": 1}',
    b'{"step": "1"}',
    b"",
    b"[" * 9999,
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    whole = [json.dumps({"step": step}).encode() for step in (0, 2, 3)]
    path = tmp_path / "log.jsonl"
    before = b"\n".join([whole[0], line, *whole[1:], b""])
    path.write_bytes(before)
    for read in (lambda: Log(tmp_path, start=3, total=9), lambda: read_log(tmp_path)):
        with pytest.raises(
            InputError, match=r"log\.jsonl line 2 is damaged \(.*\); delete it"
        ) as said:
            read()
        assert "\n" not in str(said.value)
        assert path.read_bytes() == before
    with Log(tmp_path, start=0, total=9):  # it goes with what a killed run did not save
        pass
    assert read_log(tmp_path) == []


def test_a_last_line_that_was_cut_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 0}\n{"step": 1, "lo\0\0\0')
    assert read_log(tmp_path) == [{"step": 0}]
    with Log(tmp_path, start=9, total=9):
        pass
    assert (tmp_path / "log.jsonl").read_bytes() == b'{"step": 0}\n'


def test_a_log_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*log\.jsonl"):
        read_log(tmp_path)


def test_a_report_belongs_to_the_step_that_it_follows(tmp_path: Path) -> None:
    with Log(tmp_path, start=0, total=4) as log:
        for step in range(4):
            log.write(step, {"loss": 0.5, "seconds": 1.0})
            log.report(step + 1, {"held_out/loss": 0.5})
    with Log(tmp_path, start=2, total=4):
        pass
    assert [line["step"] for line in read_log(tmp_path)] == [0, 0, 1, 1]


def test_without_tensorboard_it_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were missing
    with Log(tmp_path, start=0, total=2) as log:
        for step in range(2):
            log.write(step, {"loss": 0.5, "seconds": 1.0})
    assert len(read_log(tmp_path)) == 2
    assert not (tmp_path / "tensorboard").exists()
    assert capsys.readouterr().err.count("no TensorBoard events are written") == 1
