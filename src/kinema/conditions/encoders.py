"""Text encoders by their configurations: published ones, and our own that is trained here."""

from __future__ import annotations

from typing import Unpack

from kinema.conditions.clip_text import CLIPText, CLIPTextConfig
from kinema.conditions.text import T5, T5Config
from kinema.networks.distilbert import DistilBERT, DistilBERTConfig
from kinema.networks.word_encoder import WordEncoder, WordEncoderConfig
from kinema.nn.factory import Factory

TextConfig = WordEncoderConfig | DistilBERTConfig | T5Config | CLIPTextConfig
TextEncoder = WordEncoder | DistilBERT | T5 | CLIPText


def build_text(text: TextConfig, **factory: Unpack[Factory]) -> TextEncoder:
    """The text encoder that a configuration asks for.

    Those of T5 and CLIP are read at first use, to where the ids are that they are given.
    """
    if isinstance(text, T5Config):
        return T5(text, dtype=factory.get("dtype"))
    if isinstance(text, CLIPTextConfig):
        return CLIPText(text, dtype=factory.get("dtype"))
    if isinstance(text, DistilBERTConfig):
        return DistilBERT(text, **factory)
    return WordEncoder(text, **factory)
