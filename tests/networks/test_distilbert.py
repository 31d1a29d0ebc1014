"""DistilBERT against the authors' class in transformers, and against the published names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_weights import stir
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedModel,
)

from kinema.errors import InputError
from kinema.networks.distilbert import DistilBERT, DistilBERTConfig, base, bert_base
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.files import load_into, open_checkpoint
from kinema.weights.fill import fill
from kinema.weights.maps import bert
from kinema.weights.maps.frozen_in_time import TEXT, find_text

IDS = torch.tensor([[2, 5, 9, 3, 0, 0], [2, 7, 8, 11, 6, 3]])
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "circle", "mov", "##es", "left")


def small(folder: str = "") -> DistilBERTConfig:
    return DistilBERTConfig(
        folder=folder, vocabulary=12, max_tokens=7, width=8, hidden=20, num_layers=2, num_heads=2
    )


@pytest.fixture(scope="module")
def peer() -> DistilBertModel:
    """Theirs, with weights of the rule that recorded cases use."""
    model = DistilBertModel(
        DistilBertConfig(
            vocab_size=12, max_position_embeddings=7, dim=8, hidden_dim=20, n_layers=2, n_heads=2
        )
    )
    values = fill({k: tuple(v.shape) for k, v in model.state_dict().items()}, seed=51)
    model.load_state_dict({k: torch.from_numpy(v) for k, v in values.items()})
    return model.eval()


def test_the_base_model_has_the_authors_tensors() -> None:
    network = DistilBERT(base("words"), device="meta")
    manifests.check(network, manifests.read("51-frozenintime-text"), TEXT, beside={})


def test_states_are_those_of_the_authors_class(peer: DistilBertModel) -> None:
    network = DistilBERT(small())
    network.load_state_dict(TEXT.to_ours(dict(peer.state_dict())))
    with torch.no_grad():
        states = network(IDS)
        expected = peer(input_ids=IDS, attention_mask=(IDS != 0).long()).last_hidden_state
    assert torch.equal(states.mask, IDS != 0)
    torch.testing.assert_close(states.x[states.mask], expected[states.mask], rtol=0, atol=2e-6)


def test_berts_base_model_has_the_authors_tensors() -> None:
    network = DistilBERT(bert_base("words"), device="meta")
    manifest = manifests.read("00-bert-base-uncased")
    manifests.check(network, manifest, bert.find(manifest.shapes), beside={})
    assert f"{manifest.total_parameters:,} parameters" in str(bert_base.__doc__)


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
@pytest.mark.parametrize("old", [False, True], ids=["weight", "gamma"])
def test_states_are_those_of_bert(kind: type[PreTrainedModel], old: bool, tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 20, "num_hidden_layers": 2}
    torch.manual_seed(0)
    peer = kind(
        BertConfig(vocab_size=12, max_position_embeddings=7, num_attention_heads=2, **sizes)
    ).eval()
    stir(peer)
    peer.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    if old:
        names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        tensors = load_file(path)
        for new, before in names.items():
            tensors = {k.replace(new, before): v for k, v in tensors.items()}
        save_file(tensors, path)
    network = DistilBERT(replace(small(), token_types=2))
    load_into(network, path, find_text(open_checkpoint(path).tensors))
    with torch.no_grad():
        states = network(IDS)
        inner = getattr(peer, "bert", peer)
        expected = inner(input_ids=IDS, attention_mask=(IDS != 0).long()).last_hidden_state
    torch.testing.assert_close(states.x[states.mask], expected[states.mask], rtol=0, atol=5e-6)


def test_gradient_checkpointing_changes_nothing() -> None:
    network = DistilBERT(small())
    for index, parameter in enumerate(network.parameters()):
        parameter.data = 0.3 * Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
    gradients = []
    for saving in (False, True):
        network.gradient_checkpointing = saving
        network.zero_grad()
        network.train()(IDS).x.square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for plain, again in zip(*gradients):
        assert torch.equal(plain, again)


def test_texts_are_cut_in_pieces_padded_and_cut_off(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (tmp_path / "config.json").write_text('{"model_type": "distilbert"}')
    network = DistilBERT(small(str(tmp_path)))
    ids = network.ids(["Red circle moves", "left", "red red red red red red red"])
    assert ids.tolist() == [
        [2, 5, 6, 7, 8, 3, 0],
        [2, 9, 3, 0, 0, 0, 0],
        [2, 5, 5, 5, 5, 5, 3],
    ]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    network = DistilBERT(small(str(tmp_path / "none")))
    with pytest.raises(InputError, match="no tokenizer of DistilBERT in the folder"):
        network.ids(["red"])
