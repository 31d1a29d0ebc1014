"""`kinema weights`: what a checkpoint holds, and the same in another layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kinema.systems.ltx_video import LTXVideo
from kinema.systems.ltx_video_presets import nano
from kinema.weights.files import open_checkpoint

PARTS = LTXVideo(nano(), device="meta").parts


def test_a_model_of_ours_is_told_and_written_again(kinema, model):
    answer = kinema("weights", model, "--json")
    assert answer.status == 0, answer.err
    told = answer.json
    assert (told["system"], told["dtype"], told["published as"]) == ("ltx_video", "float32", [])
    assert told["parameters"] == {
        role: sum(value.numel() for value in PARTS[role].state_dict().values()) for role in PARTS
    }
    assert told["config"]["sampling"]["num_frames"] == 9
    lines = kinema("weights", model).out.splitlines()
    assert lines[1].split() == ["system", "ltx_video"]
    assert not any(line.startswith(("config", "text encoder", "published")) for line in lines)
    again = kinema("weights", model, "-o", "half.safetensors", "--dtype", "bfloat16")
    assert again.status == 0, again.err
    half, whole = open_checkpoint("half.safetensors"), open_checkpoint(model)
    for name, value in whole.tensors.items():
        assert torch.equal(half.tensors[name].read(), value.read().bfloat16()), name
    assert kinema("weights", "half.safetensors", "--json").json["dtype"] == "bfloat16"
    assert "exists" in kinema("weights", model, "-o", "half.safetensors").error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stream",), "stream has no weights"),
        (("nowhere.safetensors",), "no such file or folder: nowhere.safetensors"),
        (
            ("ltx_video:0.9.5-2b",),
            "no weights of ltx_video:0.9.5-2b ship; name a file: ltx_video:0",
        ),
        (
            ("ltx_video@.",),
            "holds no ltx_video model: a folder of diffusers has a model_index.json",
        ),
        (("MODEL", "--text-encoder", "x"), "reads no text encoder from a folder; name none"),
        (("cvt@nowhere.safetensors", "-o", "new"), "diffusers has no cvt; write a file of ours"),
        (("MODEL", "-o", "full"), "full exists and is not empty; choose another name"),
        (("MODEL", "-o", "new"), "diffusers knows the published rotary table and scale of times"),
    ],
)
def test_what_cannot_be_told_or_written(kinema, model, words, said):
    Path("full").mkdir()
    Path("full/file").write_text(json.dumps({}))
    answer = kinema("weights", *(model if word == "MODEL" else word for word in words))
    assert said in answer.error


def test_a_folder_named_as_a_system_is_not_taken_for_a_model(kinema, model):
    Path("ltx_video").mkdir()
    assert "names an architecture" in kinema("weights", "ltx_video").error
    assert kinema("weights", f"ltx_video@{model}").status == 0
