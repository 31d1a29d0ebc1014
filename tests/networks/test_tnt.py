"""TNT: published tensors, what words and sentences see, what the class token gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from random_weights import stir
from torch import Tensor

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks.tnt import TNT, TNTConfig, from_official, tnt_b, tnt_s, tnt_ti
from kinema.nn.dropping import drawn_from
from kinema.nn.sites import Site, hooked
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.maps.tnt import OFFICIAL

SMALL = TNTConfig(
    image_size=16,
    patch_size=8,
    width=12,
    num_layers=2,
    num_heads=3,
    eps=1e-5,
    word_width=4,
    word_heads=2,
    word_stride=4,
    num_classes=5,
    drop_path=0.0,
)
OFFICIAL_ARGUMENTS = {
    "img_size": 16,
    "patch_size": 8,
    "outer_dim": 12,
    "depth": 2,
    "outer_num_heads": 3,
    "inner_dim": 4,
    "inner_num_heads": 2,
    "inner_stride": 4,
    "num_classes": 5,
}
PICTURES = Noise(0, (0, 1)).normal((2, 3, 16, 16), "pictures")


def stirred(config: TNTConfig = SMALL) -> TNT:
    """A network in eval mode with random weights, none of them zero."""
    network = TNT(config).eval()
    stir(network)
    return network


@pytest.mark.parametrize(("size", "name"), [(tnt_s, "tnt-s"), (tnt_b, "tnt-b")])
def test_published_sizes_have_the_authors_tensors(
    size: Callable[[int], TNTConfig], name: str
) -> None:
    config = size(1000)
    network = TNT(config, device="meta", dtype=torch.bfloat16)
    manifest = manifests.read(f"56-{name}")
    manifests.check(network, manifest, OFFICIAL, beside={})
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("meta", torch.bfloat16)}
    assert from_dict(TNTConfig, to_dict(config)) == config
    zeros = network.outer_tokens.numel()
    assert f"{manifest.total_parameters - zeros:,} parameters" in str(size.__doc__)
    assert f"{zeros:,} zeros" in str(size.__doc__)


@pytest.mark.parametrize("size", [tnt_ti, tnt_s, tnt_b])
def test_sizes_have_the_parameters_that_they_say(size: Callable[[int], TNTConfig]) -> None:
    network = TNT(size(1000), device="meta")
    count = sum(parameter.numel() for parameter in network.parameters())
    assert f"{count:,} parameters for 1000 classes" in str(size.__doc__)


def test_the_authors_arguments_are_read_or_refused() -> None:
    assert from_official(OFFICIAL_ARGUMENTS) == SMALL
    dropping = from_official({**OFFICIAL_ARGUMENTS, "drop_path_rate": 0.1, "mlp_ratio": 4.0})
    assert dropping == replace(SMALL, drop_path=0.1)
    with pytest.raises(InputError, match="TNT has se=0, not 1"):
        from_official({**OFFICIAL_ARGUMENTS, "se": 1})
    with pytest.raises(InputError, match="lack depth"):
        from_official({k: v for k, v in OFFICIAL_ARGUMENTS.items() if k != "depth"})
    with pytest.raises(InputError, match="unknown argument of TNT 'legacy'"):
        from_official({**OFFICIAL_ARGUMENTS, "legacy": True})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("patch_size", 5, "not divisible by patch_size"),
        ("num_heads", 5, "width 12 is not divisible by 5 heads"),
        ("word_heads", 3, "width 4 is not divisible by 3 heads"),
        ("word_stride", 0, "word_stride must be at least 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(field: str, value: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(SMALL, **{field: value})


@pytest.mark.parametrize("shape", [(1, 3, 16, 24), (1, 1, 16, 16), (3, 16, 16)])
def test_pictures_of_other_sizes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"TNT reads pictures \(B, 3, 16, 16\), not"):
        TNT(SMALL, device="meta")(torch.zeros(shape))


@pytest.mark.parametrize(("patch", "stride", "words"), [(8, 4, 4), (8, 3, 9), (16, 4, 16)])
def test_words_are_as_many_as_the_convolution_makes(patch: int, stride: int, words: int) -> None:
    config = replace(SMALL, patch_size=patch, word_stride=stride)
    assert config.num_words == words
    assert TNT(config).patch_embed(PICTURES).shape == (2 * config.num_patches, words, 4)


def test_a_word_sees_nothing_beyond_its_patch() -> None:
    embed = stirred().patch_embed
    other = PICTURES.clone()
    other[0, :, 7, 8] += 1  # at the border of the second patch, in the reach of the first's kernels
    changed = (embed(other) != embed(PICTURES)).flatten(1).any(1)
    assert changed.nonzero().flatten().tolist() == [1]


def test_words_attend_within_their_patch_and_sentences_to_all() -> None:
    seen: dict[str, list[int]] = {}

    def look(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
        seen[site.name] = [len(q), q.shape[1], k.shape[2]]

    with hooked(look):
        stirred()(PICTURES)
    assert seen["blocks.0.inner.attn"] == [2 * 4, 2, 4]  # pictures times patches, heads, words
    assert seen["blocks.1.outer.attn"] == [2, 3, 1 + 4]


def test_words_are_added_to_their_own_sentence_and_not_to_the_class_token() -> None:
    block = stirred().blocks[0]
    words = Noise(0, (0, 1, 2, 3)).normal((4, 4, 4), "words")
    sentences = Noise(0, (0,)).normal((1, 5, 12), "sentences")
    other = words.clone()
    other[2, 1] += 1  # a word of the third patch
    given: list[Tensor] = []
    block.outer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    for some in (words, other):
        block(some, sentences)
    assert torch.equal(given[0][:, 0], sentences[:, 0])
    changed = (given[0] != given[1])[0].any(1).nonzero().flatten().tolist()
    assert changed == [1 + 2]


def test_rows_of_a_batch_do_not_see_one_another() -> None:
    network = stirred()
    torch.testing.assert_close(network(PICTURES)[1:], network(PICTURES[1:]))


def test_paths_are_dropped_in_training_only() -> None:
    network = stirred(replace(SMALL, drop_path=0.9))
    plain = stirred()
    plain.load_state_dict(network.state_dict())
    with drawn_from(Noise(0, (0, 1))):
        assert torch.equal(network(PICTURES), plain(PICTURES))
        assert not torch.allclose(network.train()(PICTURES), plain(PICTURES))


def test_gradient_checkpointing_changes_nothing() -> None:
    network = stirred()
    gradients = []
    for saving in (False, True):
        network.gradient_checkpointing = saving
        assert network.blocks[0].gradient_checkpointing == saving
        network.zero_grad()
        network.train()(PICTURES).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for plain, again in zip(*gradients):
        assert torch.equal(plain, again)
        assert plain.any()
