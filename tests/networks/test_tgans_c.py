"""TGANs-C's networks: published names and counts, scores of clips, sentences of captions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from kinema.errors import InputError
from kinema.networks.lstm_text import (
    MARKS,
    CaptionDecoder,
    LSTMText,
    LSTMTextConfig,
    lstm_256,
)
from kinema.networks.tgans_c import (
    Critics,
    CriticsConfig,
    Generator,
    GeneratorConfig,
    critics_48,
    generator_48,
    inputs_per_value,
)
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.keymap import KeyMap
from kinema.weights.maps.tgans_c import CRITICS

REFERENCE = replace(critics_48(), frame_kernel=2)
PARTS = {"video": "video", "framemap": "frame_map", "frame": "frame", "motion": "motion"}
SMALL = CriticsConfig(
    num_frames=8, side=16, channels=(4, 6, 8), sentence=6, width=8, frame_kernel=2
)
WORDS = LSTMTextConfig(
    vocabulary=("a", "red", "blue", "circle", "2"),
    max_words=5,
    embedding=6,
    sentence=8,
    num_layers=2,
)


def clips(count: int, frames: int = 8, side: int = 16) -> Tensor:
    return Noise(1, tuple(range(count))).uniform((count, 3, frames, side, side), "x") * 2 - 1


@pytest.fixture(scope="module")
def critics() -> Critics:
    """Random weights; norms have seen data."""
    torch.manual_seed(0)
    critics = Critics(SMALL)
    critics(clips(4), torch.zeros(4, 6))
    return critics.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def text() -> LSTMText:
    torch.manual_seed(0)
    return LSTMText(WORDS).requires_grad_(False)


# -- published names and counts -------------------------------------------------------------


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_generator_is_the_published_one() -> None:
    network = Generator(generator_48(), device="meta")
    assert count(network) == 24_263_548
    manifests.check(network, manifests.read("37-tgans-c-generator"), KeyMap(), beside={})
    made = network(torch.empty(2, 100, device="meta"), torch.empty(2, 256, device="meta"))
    assert made.shape == (2, 3, 16, 48, 48)


def test_the_critics_are_the_published_ones() -> None:
    network = Critics(REFERENCE, device="meta")
    named = {part: manifests.read(f"37-tgans-c-{part}") for part in PARTS}
    joined = {f"{p}.{key}": shape for p, m in named.items() for key, shape in m.shapes.items()}
    manifests.check(network, replace(named["video"], shapes=joined), CRITICS, beside={})
    counts = {"video": 11_489_280, "framemap": 2_756_480, "frame": 725_760, "motion": 725_760}
    for part, ours in PARTS.items():
        assert count(getattr(network, ours)) == counts[part]


def test_our_critics_differ_in_two_kernels() -> None:
    theirs, ours = (
        manifests.shapes_of(Critics(config, device="meta")) for config in (REFERENCE, critics_48())
    )
    assert theirs.keys() == ours.keys()
    different = {key: ours[key] for key in ours if ours[key] != theirs[key]}
    kernel = (1, 512, 3, 3)
    assert different == {f"{c}.judge.scores.3.weight": kernel for c in ("frame", "motion")}


def test_the_caption_encoder_is_the_published_one() -> None:
    network = LSTMText(lstm_256(tuple(f"word{i}" for i in range(30 - MARKS))), device="meta")
    manifests.check(network, manifests.read("37-tgans-c-text"), KeyMap(), beside={})


# -- generator ------------------------------------------------------------------------------


def test_noise_and_sentence_both_change_the_clip() -> None:
    torch.manual_seed(0)
    config = GeneratorConfig(noise=3, sentence=4, channels=(8, 6, 4), start=(2, 3))
    network = Generator(config).eval()
    z, s = Noise(0, (0, 1)).normal((2, 3), "z"), Noise(0, (0, 1)).normal((2, 4), "s")
    made = network(z, s)
    assert config.clip_size == (8, 12)
    assert made.shape == (2, 3, 8, 12, 12)
    assert made.abs().max() < 1
    assert (made - network(z.flip(0), s)).abs().max() > 1e-3
    assert (made - network(z, s.flip(0))).abs().max() > 1e-3
    assert torch.equal(network.make(s, Noise(0, (0, 1))), made)


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (nn.Linear(5, 2), ()),
        (nn.Conv2d(3, 2, 4, 2, 1), (6, 6)),
        (nn.Conv3d(3, 2, 4, 2, 1), (6, 6, 6)),
        (nn.ConvTranspose3d(3, 2, (2, 6, 6)), (1, 1, 1)),
        (nn.ConvTranspose3d(3, 2, 4, 2, 1), (6, 6, 6)),
        (nn.ConvTranspose3d(3, 2, 1), (2, 2, 2)),
    ],
)
def test_a_layer_sums_so_many_inputs(layer: nn.Module, size: tuple[int, ...]) -> None:
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    summed = layer(torch.ones(1, layer.weight.shape[1] if not size else 3, *size))
    assert summed.max() == inputs_per_value(layer)


# -- critics --------------------------------------------------------------------------------


def test_each_clip_frame_and_change_has_a_score_of_its_own(critics: Critics) -> None:
    x, s = clips(3), Noise(0, (0, 1, 2)).normal((3, 6), "s")
    together = critics(x, s)
    assert {k: v.shape for k, v in together.items()} == {
        "video": (3,),
        "frame": (3, 8),
        "motion": (3, 7),
    }
    for row in range(3):
        alone = critics(x[row : row + 1], s[row : row + 1])
        for name in together:
            torch.testing.assert_close(alone[name][0], together[name][row], rtol=1e-4, atol=1e-5)


def test_a_sentence_goes_to_all_frames_of_its_clip(critics: Critics) -> None:
    x, s = clips(1).expand(2, -1, -1, -1, -1), Noise(0, (0, 1)).normal((2, 6), "s")
    for scores in critics(x, s).values():
        changed = (scores[0] - scores[1]).abs()
        assert (changed > 1e-5).all()


def test_a_still_clip_does_not_move_and_a_cut_moves_once(critics: Critics) -> None:
    still = clips(1, frames=1).expand(-1, -1, 8, -1, -1)
    assert not critics.maps(still).frames.diff(dim=1).any()
    cut = torch.cat([still[:, :, :5], still[:, :, 5:].flip(3)], 2)
    moved = critics.maps(cut).frames.diff(dim=1).abs().sum((0, 2, 3, 4))
    assert moved.nonzero().flatten().tolist() == [4]


def test_maps_of_chosen_clips(critics: Critics) -> None:
    x, rows = clips(3), torch.tensor([2, 0])
    chosen, fresh = critics.maps(x).rows(rows), critics.maps(x[rows])
    for a, b in zip(chosen, fresh):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("num_frames", 16, "clips of 8 frames"),
        ("side", 20, "divisible by 8"),
        ("frame_kernel", 1, "more than half"),
        ("frame_kernel", 3, "no more than that"),
    ],
)
def test_critics_that_cannot_be_are_refused(field: str, value: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(SMALL, **{field: value})


# -- text -----------------------------------------------------------------------------------


def test_words_are_found_and_unknown_ones_named_once(text: LSTMText) -> None:
    known, unknown = text.split("A tiny RED, tiny circle!")
    assert (known, unknown) == (["a", "red", "circle"], ["tiny"])
    ids = text.ids(["a RED circle", ""])
    assert ids.dtype == torch.int64
    assert ids.tolist() == [[1, 3, 4, 6, 2, 0, 0], [1, 2, 0, 0, 0, 0, 0]]
    with pytest.raises(InputError, match="6 words that this model knows; it reads 5"):
        text.ids(["a a a a a a"])


def test_a_sentence_is_that_of_its_words_alone(text: LSTMText) -> None:
    alone, other = text.encode(["red circle"]), text.encode(["circle red"])
    together = text.encode(["a 2 blue circle", "red circle", "a"])
    assert alone.shape == (1, 8)
    torch.testing.assert_close(together[1:2], alone)
    assert (alone - other).abs().max() > 1e-3


def test_both_ends_of_a_caption_reach_both_directions(text: LSTMText) -> None:
    said = text.encode(["red a circle", "blue a circle", "red a 2"])
    for changed in (said[1] - said[0], said[2] - said[0]):
        assert (changed.abs() > 1e-6).all()


def test_a_sentence_of_odd_width_is_refused() -> None:
    with pytest.raises(InputError, match="width 7"):
        replace(WORDS, sentence=7)


def test_the_decoder_sees_the_sentence_and_the_words_before(text: LSTMText) -> None:
    decoder = CaptionDecoder(WORDS)
    ids, sentence = text.ids(["a red circle"])[:, :-1], text.encode(["a red circle"])
    logits = decoder(sentence, ids)
    assert logits.shape == (1, 6, len(WORDS.vocabulary) + MARKS)
    later = ids.clone()
    later[:, 3] = 5
    changed = (decoder(sentence, later) - logits).abs().amax((0, 2))
    assert not changed[:3].any()
    assert (changed[3:] > 0).all()
    assert ((decoder(-sentence, ids) - logits).abs().amax((0, 2)) > 0).all()
