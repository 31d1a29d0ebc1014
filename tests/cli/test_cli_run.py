"""`kinema run` and `encode` with systems of several kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_words_that_a_model_leaves_out_are_named(kinema, model):
    answer = kinema("run", model, "a sparkly red circle", "-o", "a.mp4")
    assert answer.status == 0
    assert answer.err == "not in this model's vocabulary, ignored: sparkly\n"
    assert json.loads(Path("a.run.json").read_text())["unknown_words"] == ["sparkly"]


def test_a_system_that_reads_words_itself_ignores_none(kinema):
    answer = kinema("run", "survey_video_diffusion", "attention qwertz", "-o", "a.json", "--json")
    assert answer.status == 0, answer.err
    assert answer.err == ""
    assert answer.json["unknown_words"] == []


@pytest.mark.parametrize("system", ["stream", "survey_video_diffusion"])
def test_a_system_whose_stages_read_no_latents_encodes_none(kinema, system):
    error = kinema("encode", "shapes", "--model", system, "-o", "out").error
    assert error == f"no stage of {system} trains on latents, so there is nothing to encode"
    assert not [*Path("out").rglob("*.*")]
