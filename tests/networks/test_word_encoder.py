"""The word encoder: any prompt is accepted, and what is not understood is reported."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kinema.errors import InputError
from kinema.networks.word_encoder import WordEncoder, WordEncoderConfig
from kinema.noise import Noise

VOCABULARY = ("a", "small", "red", "circle", "moves", "left", "2", ",")
CONFIG = WordEncoderConfig(vocabulary=VOCABULARY, max_words=6, width=12, num_layers=2, num_heads=3)


@pytest.fixture(scope="module")
def encoder() -> WordEncoder:
    """Random weights."""
    encoder = WordEncoder(CONFIG)
    for index, parameter in enumerate(encoder.parameters()):
        parameter.data = 0.3 * Noise(0, (index,)).normal((1, *parameter.shape), "w")[0]
    return encoder.requires_grad_(False)


def test_words_are_found_whatever_their_case(encoder: WordEncoder) -> None:
    ids = encoder.ids(["A small RED circle", "left, left", ""])
    assert ids.dtype == torch.int64
    assert ids.tolist() == [[1, 2, 3, 4, 5, 0, 0], [1, 7, 9, 7, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("text", "known", "unknown"),
    [
        ("a tiny Red, tiny circle!", ["a", "red", ",", "circle"], ["tiny"]),
        ("redcircle red_circle red-circle", ["red", "circle"] * 2, ["redcircle"]),
        ("a 22 2", ["a", "2"], ["22"]),
        ("une \N{LATIN SMALL LETTER E WITH ACUTE}toile", [], ["une", "\xe9toile"]),
        ("\u7ea2\u5706 a", ["a"], ["\u7ea2\u5706"]),
        ("?! ...", [], []),
        ("", [], []),
    ],
)
def test_unknown_words_are_reported_once(
    encoder: WordEncoder, text: str, known: list[str], unknown: list[str]
) -> None:
    assert encoder.split(text) == (known, unknown)


@given(st.text())
def test_any_short_text_is_accepted(encoder: WordEncoder, text: str) -> None:
    known, unknown = encoder.split(text)
    assert set(known) <= set(VOCABULARY)
    assert not set(unknown) & set(VOCABULARY)
    if len(known) <= 6:
        assert (encoder.ids([text]) != 0).sum() == 1 + len(known)


def test_the_longest_prompt_has_max_words(encoder: WordEncoder) -> None:
    assert encoder.ids(["a " * 6]).shape == (1, 7)
    assert encoder.ids(["unheard " * 10_000 + "a"]).sum() == 3
    with pytest.raises(
        InputError, match=r"^the prompt has 7 words; this model reads 6: shorten it"
    ):
        encoder.ids(["a", "a " * 7])


def test_the_null_is_the_empty_text(encoder: WordEncoder) -> None:
    tokens = encoder(encoder.ids(["a red circle", ""]))
    assert tokens.x.shape == (2, 7, 12)
    assert tokens.mask is not None
    assert tokens.mask.sum(1).tolist() == [4, 1]
    assert tokens.null is not None
    assert tokens.null.mask is not None
    assert torch.equal(tokens.null.x[0], tokens.null.x[1])
    torch.testing.assert_close(tokens.null.x[1], tokens.x[1])
    assert torch.equal(tokens.null.mask[1], tokens.mask[1])
    assert not torch.allclose(tokens.x[0, 0], tokens.x[1, 0], atol=1e-2)


def test_padding_and_the_batch_do_not_matter(encoder: WordEncoder) -> None:
    texts = ["a red circle", "a small red circle moves left", ""]
    for train in (False, True):
        encoder.train(train)
        together = encoder(encoder.ids(texts))
        for row, text in enumerate(texts):
            ids = encoder.ids([text])
            length = int((ids != 0).sum())
            alone = encoder(ids[:, :length])
            torch.testing.assert_close(alone.x[0], together.x[row, :length])
    encoder.eval()


def test_the_order_of_words_matters(encoder: WordEncoder) -> None:
    one, other = encoder(encoder.ids(["red small", "small red"])).x
    assert not torch.allclose(one[0], other[0], atol=1e-3)


def test_it_is_trained_with_what_it_serves() -> None:
    encoder = WordEncoder(CONFIG)
    tokens = encoder(encoder.ids(["a small red circle moves left", "2, 2, 2,"]))
    assert tokens.mask is not None
    target = Noise(0, (0, 1)).normal(tokens.x.shape, "target")
    ((tokens.x - target) * tokens.mask[..., None]).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_type_and_device_are_those_asked_for() -> None:
    encoder = WordEncoder(CONFIG, device="meta", dtype=torch.bfloat16)
    assert {(p.device.type, p.dtype) for p in encoder.parameters()} == {("meta", torch.bfloat16)}
    ids = encoder.ids(["a red circle"])
    assert ids.device.type == "cpu"
    tokens = encoder(ids.to("meta"))
    assert (tokens.x.device.type, tokens.x.dtype) == ("meta", torch.bfloat16)


def test_heads_divide_the_width() -> None:
    with pytest.raises(InputError, match="width 10 is not divisible by 3 heads"):
        WordEncoderConfig(vocabulary=("a",), max_words=4, width=10, num_layers=1, num_heads=3)


def test_new_words_are_read_and_old_ones_as_before(encoder: WordEncoder) -> None:
    old = ["a red circle", "small left", ""]
    before, count = encoder(encoder.ids(old)).x, encoder.words.num_embeddings
    taught = copy.deepcopy(encoder)
    rows = taught.embeddings_for(["teal", "zigzags"])
    taught.learn(rows)
    assert taught.config == replace(CONFIG, vocabulary=(*VOCABULARY, "teal", "zigzags"))
    assert taught.ids(["a teal circle zigzags"]).tolist() == [[1, 2, 10, 5, 11, 0, 0]]
    assert taught.split("teal zigzags zag") == (["teal", "zigzags"], ["zag"])
    assert torch.equal(taught(taught.ids(old)).x, before)
    assert torch.equal(taught.words.weight[count], rows["teal"])
    rows["teal"].zero_()
    assert taught.words.weight[count].any()
    built = WordEncoder(taught.config)
    built.load_state_dict(taught.state_dict())
    assert built.ids(["zigzags"]).tolist() == taught.ids(["zigzags"]).tolist()
    assert encoder.split("teal") == ([], ["teal"])


def test_a_word_that_is_known_gets_another_embedding(encoder: WordEncoder) -> None:
    taught = copy.deepcopy(encoder)
    row = Noise(3, (0,)).normal((1, CONFIG.width), "row")[0]
    taught.learn({"red": row})
    assert taught.config == CONFIG
    changed = (taught.words.weight != encoder.words.weight).any(1)
    assert changed.nonzero().tolist() == [[2 + VOCABULARY.index("red")]]
    assert torch.equal(taught.words.weight[4], row)


def test_new_embeddings_are_spread_as_the_old_ones(encoder: WordEncoder) -> None:
    words = [f"word{i}" for i in range(2000)]
    drawn, known = encoder.embeddings_for(words), encoder.words.weight[2:]
    assert list(drawn) == words
    rows = torch.stack(list(drawn.values()))
    torch.testing.assert_close(rows.mean(0), known.mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(rows.std(0), known.std(0), rtol=0.1, atol=0)
    assert torch.equal(encoder.embeddings_for(words[:3])["word2"], rows[2])
