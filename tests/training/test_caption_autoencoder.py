"""The objective of caption encoders: what counts, and what cannot be known without the sentence."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from kinema.networks.lstm_text import MARKS, LSTMText, LSTMTextConfig
from kinema.noise import Noise
from kinema.training.caption_autoencoder import CaptionAutoencoder
from kinema.training.captions import draw_captions

WORDS = LSTMTextConfig(
    vocabulary=("a", "red", "blue", "circle", "star"),
    max_words=5,
    embedding=12,
    sentence=16,
    num_layers=1,
)
BATCH = {"captions": [("a red circle",), ("a blue star",), ("blue",)]}
NOISE = Noise(0, (0, 1, 2))


def objective() -> CaptionAutoencoder:
    torch.manual_seed(0)
    return CaptionAutoencoder(LSTMText(WORDS))


def test_a_decoder_that_knows_nothing_loses_the_log_of_all_words() -> None:
    game = objective()
    nn.init.zeros_(game.decoder.to_words.weight)
    nn.init.zeros_(game.decoder.to_words.bias)
    loss, _ = game.loss("text", BATCH, 0, NOISE)
    assert float(loss.detach()) == pytest.approx(math.log(len(WORDS.vocabulary) + MARKS))


def test_captions_count_alike_whatever_their_length_and_neighbors() -> None:
    game = objective().eval()
    together, _ = game.loss("text", BATCH, 0, NOISE)
    alone = [
        game.loss("text", {"captions": [said]}, 0, Noise(0, (row,)))[0]
        for row, said in enumerate(BATCH["captions"])
    ]
    torch.testing.assert_close(together, torch.stack(alone).mean())


def test_all_captions_of_a_clip_are_drawn() -> None:
    batch = {"captions": [("one", "two", "three")]}
    drawn = {draw_captions(batch, Noise(seed, (0,)), drop=0.0)[0] for seed in range(30)}
    assert drawn == {"one", "two", "three"}


def test_the_sentence_is_learned() -> None:
    game = objective()
    adam = torch.optim.Adam(game.parameters(), lr=1e-2)
    for _ in range(150):
        loss, _ = game.loss("text", BATCH, 0, NOISE)
        adam.zero_grad()
        loss.backward()
        adam.step()
    logs = game.held_out(BATCH, NOISE)
    assert logs["words"] == 1
    # Without the sentence nobody could tell the first words apart: 1 of 4 words on average.
    assert logs["loss"] < 0.1 < logs["trivial"]


def test_the_trivial_decoder_knows_how_often_words_occur() -> None:
    logs = objective().held_out({"captions": [("a red circle",), ("a a a",)]}, Noise(0, (0, 1)))
    counts = {"a": 4, "red": 1, "circle": 1, "end": 2}
    nats = -sum(n / 8 * math.log(n / 8) for n in counts.values())
    assert float(logs["trivial"]) == pytest.approx(nats, rel=1e-5)
