"""`kinema encode`: one process at a time in a folder."""

from __future__ import annotations

import json
from pathlib import Path

from kinema.files import LOCK, alone


def test_the_second_process_gets_a_line(kinema, model):
    arguments = ("encode", "shapes", "--model", model, "-o", "out", "--count", 3, "--held-out", 2)
    with alone("out"):
        error = kinema(*arguments).error
    assert error == "another process writes in out; wait for it, or choose another folder"
    assert not list(Path("out").rglob("*.safetensors"))
    answer = kinema(*arguments, "--json")
    assert [json.loads(line) for line in answer.out.splitlines()] == [
        {"folder": "out/train", "clips": 3},
        {"folder": "out/held_out", "clips": 2},
    ]
    assert not (Path("out") / LOCK).exists()
