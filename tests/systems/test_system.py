"""What all systems share: networks under their roles, and words that are left out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

import pytest
import torch

from kinema.errors import InputError
from kinema.sample import Table, Text
from kinema.systems.latentwarp import LatentWarp
from kinema.systems.model import Part
from kinema.systems.stream import Stream
from kinema.systems.svd import SVD
from kinema.systems.svd_config import nano
from kinema.systems.system import Job, System


def test_a_part_is_the_network_of_its_role() -> None:
    model = SVD(nano(), device="meta")
    assert list(SVD.PARTS) == ["image", "unet", "vae"] == list(model.parts)
    assert model.unet is model.parts["unet"]
    assert model.unet.config == model.config.unet
    assert isinstance(SVD.unet, Part)
    assert not hasattr(Stream, "PARTS")


def test_words_that_a_model_does_not_know_are_told_or_refused() -> None:
    torch.manual_seed(0)
    model = LatentWarp(LatentWarp.PRESETS["nano"]())
    inputs = {"prompt": Text("a sparkly red circle, sparkly")}
    assert model.ignored_words(inputs) == ["sparkly"]
    assert model.ignored_words({"prompt": Text("a red circle")}) == []
    with pytest.raises(InputError, match="knows no word of the prompt 'zzz'"):
        model.ignored_words({"prompt": Text("zzz")})


class Reader(System):
    """Reads every text itself."""

    JOBS: ClassVar = {"count": Job(takes={"text": Text}, gives={"count": Table})}

    def run_count(self, inputs: dict[str, Any], seed: int) -> dict[str, Table]:
        return {"count": Table(("words",), ((len(inputs["text"].text.split()),),))}


def test_a_system_without_a_text_encoder_leaves_no_word_out() -> None:
    inputs = {"text": Text("qwertz is no word")}
    assert Reader().ignored_words(inputs) == []
    assert Reader().run(inputs, 0)["count"] == Table(("words",), ((4,),))


def test_a_system_without_networks_is_imported_without_torch() -> None:
    statement = "import sys, kinema.systems.survey_video_diffusion; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", statement], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"
