"""T5 through transformers, on a tiny encoder made on the spot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from kinema.conditions.text import T5, T5Config
from kinema.errors import InputError

WORDS = ["<pad>", "</s>", "<unk>", "a", "red", "circle", "moves"]
PAD, END = 0, 1
TEXTS = ["a red circle moves", "red", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny T5 with random weights and a tokenizer of whole words."""
    folder = tmp_path_factory.mktemp("t5")
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", END)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    config = transformers.T5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu", dropout_rate=0.5,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.T5EncoderModel(config).save_pretrained(folder)
    return folder


def t5(folder: Path, *, dtype: torch.dtype | None = None, width: int = 16) -> T5:
    """The encoder in a folder, for prompts of up to 6 tokens."""
    return T5(T5Config(folder=str(folder), width=width, max_tokens=6), dtype=dtype)


def test_ids_are_padded_to_one_length(folder: Path) -> None:
    ids = t5(folder).ids([*TEXTS, "a blue circle"])
    assert ids.tolist() == [
        [3, 4, 5, 6, END, PAD],
        [4, END, PAD, PAD, PAD, PAD],
        [END, PAD, PAD, PAD, PAD, PAD],
        [3, 2, 5, END, PAD, PAD],
    ]


def test_states_are_those_of_transformers(folder: Path) -> None:
    encoder = t5(folder)
    tokens = encoder(encoder.ids(TEXTS))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.T5EncoderModel.from_pretrained(folder).eval()
    batch = tokenizer(TEXTS, padding="max_length", max_length=6, return_tensors="pt")
    with torch.no_grad():
        expected = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
    assert tokens.mask is not None
    assert torch.equal(tokens.mask, batch["attention_mask"].bool())
    torch.testing.assert_close(tokens.x, expected)
    assert tokens.x.shape == (3, 6, 16)
    assert not tokens.x.requires_grad


def test_the_null_is_the_encoded_empty_text(folder: Path) -> None:
    encoder = t5(folder)
    tokens = encoder(encoder.ids(TEXTS))
    null = tokens.null
    assert null is not None
    assert null.mask is not None
    assert null.x.shape == tokens.x.shape
    assert null.mask.sum(1).tolist() == [1, 1, 1]
    for row in null.x:
        torch.testing.assert_close(row[0], tokens.x[2, 0])
    assert not torch.allclose(null.x[0, 0], tokens.x[0, 0], atol=1e-3)


def test_padding_does_not_matter(folder: Path) -> None:
    encoder = t5(folder)
    ids = encoder.ids(["a red circle moves", "red"])
    together = encoder(ids)
    torch.testing.assert_close(encoder(ids[1:, :2]).x[0], together.x[1, :2])


def test_the_weights_stay_in_their_folder(folder: Path) -> None:
    encoder = t5(folder, dtype=torch.bfloat16)
    assert encoder(encoder.ids(["red"])).x.dtype == torch.bfloat16
    assert not list(encoder.parameters())
    assert not encoder.state_dict()
    encoder.train()
    ids = encoder.ids(TEXTS)
    assert torch.equal(encoder(ids).x, encoder(ids).x)  # no dropout: it is not trained here


def test_states_have_the_type_of_the_model_not_of_the_file(folder: Path, tmp_path: Path) -> None:
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    transformers.T5EncoderModel.from_pretrained(folder).bfloat16().save_pretrained(tmp_path)
    encoder, stored = t5(tmp_path), t5(tmp_path, dtype=torch.bfloat16)
    ids = encoder.ids(TEXTS)
    assert encoder(ids).x.dtype == torch.float32
    assert torch.equal(encoder(ids).x, stored(ids).x.float())


def test_a_model_may_be_built_on_meta_before_the_folder_is_there(folder: Path) -> None:
    with torch.device("meta"):
        encoder = T5(T5Config(folder=str(folder), width=16, max_tokens=6))
    assert encoder(encoder.ids(TEXTS)).x.isfinite().all()


def test_a_prompt_that_is_too_long_is_refused(folder: Path) -> None:
    encoder = t5(folder)
    assert encoder.ids(["a a a a a"]).shape == (1, 6)
    with pytest.raises(InputError, match=r"^the prompt has 7 tokens; this model reads 6: shorten"):
        encoder.ids(["a", "a a a a a a"])


def test_a_tokenizer_of_pieces_tells_what_it_needs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)  # as where it is not installed
    encoder = t5(folder)
    encoder.save(tmp_path)
    (tmp_path / "tokenizer" / "tokenizer.json").rename(tmp_path / "tokenizer" / "spiece.model")
    with pytest.raises(InputError, match="tokenizer' needs the package sentencepiece"):
        t5(tmp_path).ids(["a"])


def test_folders_without_such_an_encoder_are_named(folder: Path, tmp_path: Path) -> None:
    missing = t5(tmp_path / "nowhere")
    with pytest.raises(
        InputError, match=r"no folder .*nowhere.* with a T5 encoder; name one with --t"
    ):
        missing.ids(["a"])
    with pytest.raises(InputError, match=r"^the folder .* holds no T5 encoder: [^\n]+$"):
        t5(tmp_path).ids(["a"])
    with pytest.raises(InputError, match="has the width 16; this model reads 4096"):
        t5(folder, width=4096).ids(["a"])


def test_it_is_saved_where_diffusers_looks_for_it(folder: Path, tmp_path: Path) -> None:
    encoder = t5(folder)
    assert encoder.save(tmp_path) == type(encoder._loaded[0]).__name__
    assert {path.name for path in tmp_path.iterdir()} == {"text_encoder", "tokenizer"}
    again = t5(tmp_path)
    ids = again.ids(TEXTS)
    assert torch.equal(ids, encoder.ids(TEXTS))
    assert torch.equal(again(ids).x, encoder(ids).x)
