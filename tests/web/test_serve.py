"""`kinema serve` as a process: its address, its end, and what it cannot do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra `web`")

from kinema.cli.main import main


def test_the_page_opens_and_ends_with_a_signal(tmp_path: Path, model: Path, free_port: int) -> None:
    words = ["serve", "--port", str(free_port), "--folder", "page", "--model", str(model)]
    process = subprocess.Popen(
        [sys.executable, "-m", "kinema", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url == f"http://127.0.0.1:{free_port}"
        with urllib.request.urlopen(url) as answer:
            assert "Kinema" in answer.read().decode()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "kinema: stopped; runs are in page"
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == [
        *("examples", "features", "runs", "uploads")
    ]


def test_what_cannot_be_served_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free_port: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()

    def error(*words: object) -> str:
        assert main(["serve", *map(str, words)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert f"cannot listen at 127.0.0.1 port {taken}" in error("--port", taken)
    assert "cannot listen at no.such.host.invalid" in error("--host", "no.such.host.invalid")
    assert "cannot listen at 192.0.2.1" in error("--host", "192.0.2.1", "--port", free_port)
    assert "65535" in error("--port", 70_000)
    at = ("--port", free_port)
    assert "cannot make the folder file" in error(*at, "--folder", "file")
    assert "unknown system" in error(*at, "--model", "nothing:here")
    assert "makes no clips from prompts" in error(*at, "--model", "stream")
