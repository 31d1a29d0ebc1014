"""`kinema run` and `encode` with systems of several kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kinema.noise import Noise
from kinema.systems.svd import SVD
from kinema.systems.svd_config import nano
from kinema.worlds import load as load_world
from kinema.worlds.folder import write_folder


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


def test_a_model_of_pictures_is_tuned_without_captions_and_used(kinema):
    untrained = SVD(nano())
    for name, parameter in untrained.parts.named_parameters():  # none may stay at zero
        parameter.data.add_(Noise(0, (0,)).normal((1, *parameter.shape), name)[0], alpha=0.05)
    untrained.save_pretrained("svd.safetensors")
    size = {"num_frames": 4, "height": 16, "width": 16, "fps": 8.0}
    write_folder(load_world("shapes", seed=5, split="train", **size), range(3), "clips")
    for path in Path("clips").iterdir():
        if path.suffix != ".mp4":
            path.unlink()
    steps = ("--set", "recipe.steps=2", "--lora", 2)
    answer = kinema("train", "svd@svd.safetensors", "--data", "clips", *steps, "-o", "run")
    assert answer.status == 0, answer.err
    assert "data: 3 clips" in answer.err
    animate = ("run", "svd@svd.safetensors", "clips/000000.mp4", "-o", "a.mp4", "--overwrite")
    assert kinema(*animate, "--lora", "run/lora.safetensors:0.5").status == 0
    record = json.loads(Path("a.run.json").read_text())
    assert [lora["scale"] for lora in record["lora"]] == [0.5]
    assert record["lora_files"] == ["run/lora.safetensors"]


def test_a_system_without_adapters_says_so(kinema):
    Path("a.safetensors").write_bytes(b"")
    arguments = ("run", "survey_video_diffusion", "attention", "-o", "a.json")
    error = kinema(*arguments, "--lora", "a.safetensors").error
    assert error == "survey_video_diffusion takes no low-rank adapters"
