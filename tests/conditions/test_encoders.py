"""The configuration says which text encoder is built, and all have one face."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kinema.conditions.clip_text import CLIPText, CLIPTextConfig
from kinema.conditions.encoders import TextConfig, build_text
from kinema.conditions.text import T5, T5Config
from kinema.networks import distilbert
from kinema.networks.distilbert import DistilBERT
from kinema.networks.word_encoder import WordEncoder, WordEncoderConfig

WORDS = WordEncoderConfig(
    vocabulary=("red", "circle"), max_words=4, width=8, num_layers=1, num_heads=2
)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (WORDS, WordEncoder),
        (distilbert.base("folder"), DistilBERT),
        (T5Config(folder="folder", width=8, max_tokens=4), T5),
        (CLIPTextConfig(folder="folder", width=8), CLIPText),
    ],
)
def test_a_configuration_makes_its_encoder(config: TextConfig, kind: type) -> None:
    made = build_text(config, device="meta", dtype=torch.float32)
    assert type(made) is kind
    assert made.config == config
    assert all(value.is_meta for value in made.state_dict().values())


def test_weights_are_made_where_and_as_they_are_asked_for(tmp_path: Path) -> None:
    made = build_text(WORDS, device="cpu", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in made.parameters()} == {torch.bfloat16}
