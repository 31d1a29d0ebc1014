"""Which caption is learned: drawn for each sample, and left out in its share."""

from __future__ import annotations

import pytest

from kinema.noise import Noise
from kinema.training.captions import draw_captions, drop_texts

SAMPLES = tuple(range(1000))
NOISE = Noise(0, SAMPLES)
BATCH = {"captions": [(f"one {i}", f"two {i}", f"three {i}") for i in SAMPLES]}


def test_every_caption_of_a_clip_can_be_drawn_and_none_of_another() -> None:
    drawn = draw_captions(BATCH, NOISE, drop=0.0)
    assert all(said in own for said, own in zip(drawn, BATCH["captions"]))
    assert {said.split()[0] for said in drawn} == {"one", "two", "three"}
    assert (
        draw_captions({"captions": BATCH["captions"][7:9]}, Noise(0, (7, 8)), drop=0.0)
        == (drawn[7:9])
    )


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_texts_are_left_out_in_their_share(share: float) -> None:
    whole = draw_captions(BATCH, NOISE, drop=0.0)
    for texts in (draw_captions(BATCH, NOISE, drop=share), drop_texts(whole, NOISE, drop=share)):
        assert texts.count("") / len(SAMPLES) == pytest.approx(share, abs=0.05)
        assert all(text in ("", kept) for text, kept in zip(texts, whole))
