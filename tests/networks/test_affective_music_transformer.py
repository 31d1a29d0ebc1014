"""Video2Music's networks: published sizes, relative positions, what may be seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kinema.condition import Conditions, Tokens, Vector
from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.networks import affective_music_transformer, bigru_regressor
from kinema.networks.affective_music_transformer import (
    UNUSED,
    AffectiveMusicTransformer,
    AffectiveMusicTransformerConfig,
    amt,
    relative_logits,
)
from kinema.networks.bigru_regressor import BiGRURegressor, BiGRURegressorConfig, bigru
from kinema.noise import Noise
from kinema.weights import manifests
from kinema.weights.maps import affective_music_transformer as transformer_map
from kinema.weights.maps import bigru_regressor as regressor_map

SMALL = AffectiveMusicTransformerConfig(
    num_layers=2, num_heads=2, width=16, hidden=24, num_features=5, max_seconds=9, max_chords=8
)
NOISE = Noise(0, (0, 1))
VIDEO = NOISE.normal((2, 9, 5), "video")
KEY = torch.tensor([[0.0], [1.0]])
IDS = torch.tensor([[[1, 3, 5, 7, 9, 11], [1, 2, 3, 4, 5, 6]], [[2, 2, 4, 4, 6, 6], [7] * 6]])


def small() -> AffectiveMusicTransformer:
    """A small network with the same random weights each time."""
    network = AffectiveMusicTransformer(SMALL)
    for index, parameter in enumerate(network.parameters()):
        drawn = Noise(0, (index,)).normal((1, *parameter.shape), "weights")[0]
        parameter.data = 0.3 * drawn + (1 if parameter.ndim == 1 else 0)
    return network


NETWORK = small().requires_grad_(False)


def given(video: Tensor = VIDEO, key: Tensor = KEY) -> Conditions:
    """Video and key of the batch."""
    return Conditions({"video": Tokens(x=video), "key": Vector(x=key)})


def test_the_transformer_is_the_published_one() -> None:
    network = AffectiveMusicTransformer(amt(), device="meta")
    assert sum(p.numel() for p in network.parameters()) == 32_517_310
    manifest = manifests.read("07-video2music-amt")
    manifests.check(network, manifest, transformer_map.OFFICIAL, beside={})
    assert from_dict(AffectiveMusicTransformerConfig, to_dict(amt())) == amt()


def test_the_regressor_is_the_part_of_the_published_one_that_runs() -> None:
    network = BiGRURegressor(bigru(), device="meta")
    assert sum(p.numel() for p in network.parameters()) == 398_082
    manifest = manifests.read("07-video2music-regression")
    assert regressor_map.OFFICIAL.to_ours(manifest.shapes) == manifests.shapes_of(network)
    kept = {k: v for k, v in manifest.shapes.items() if k.split(".")[0] in ("bigru", "bifc")}
    manifests.check(network, replace(manifest, shapes=kept), regressor_map.OFFICIAL, beside={})
    assert from_dict(BiGRURegressorConfig, to_dict(bigru())) == bigru()


@pytest.mark.parametrize("length", [1, 4, 7])
def test_skewing_is_a_loop_over_distances(length: int) -> None:
    q, table = NOISE.normal((2, 3, length, 4), "q"), NOISE.normal((2, 7, 4), "table")[0]
    found = relative_logits(q, table)
    assert found.shape == (2, 3, length, length)
    for i in range(length):
        for j in range(i + 1):
            direct = q[:, :, i] @ table[len(table) - 1 - (i - j)]
            torch.testing.assert_close(found[:, :, i, j], direct)


def test_rows_do_not_see_one_another() -> None:
    out = NETWORK(IDS, given())
    assert out.shape == (2, 6, 159)
    for i in range(2):
        row = slice(i, i + 1)
        torch.testing.assert_close(NETWORK(IDS[row], given(VIDEO[row], KEY[row])), out[row])


def test_a_chord_sees_only_what_came_before_it() -> None:
    out = NETWORK(IDS, given())
    changed = IDS.clone()
    changed[:, :, 4:] = 1
    again = NETWORK(changed, given())
    torch.testing.assert_close(again[:, :4], out[:, :4])
    assert not torch.allclose(again[:, 4:], out[:, 4:], atol=1e-3)
    torch.testing.assert_close(NETWORK(IDS[..., :3], given()), out[:, :3])


def test_root_quality_key_and_every_second_of_the_video_count() -> None:
    out = NETWORK(IDS, given())
    for level in range(2):
        ids = IDS.clone()
        ids[:, level, 0] += 1
        assert not torch.allclose(NETWORK(ids, given()), out, atol=1e-3)
    assert not torch.allclose(NETWORK(IDS, given(key=1 - KEY)), out, atol=1e-3)
    for second in range(VIDEO.shape[1]):
        video = VIDEO.clone()
        video[:, second] += 3
        assert not torch.allclose(NETWORK(IDS, given(video)), out, atol=1e-4), second


def test_encoding_once_is_the_same() -> None:
    video = NETWORK.encode(given())
    torch.testing.assert_close(NETWORK.decode(IDS, KEY, video), NETWORK(IDS, given()))


def test_only_the_named_tensors_are_unused() -> None:
    network = small()
    network(IDS, given()).square().sum().backward()
    silent = {name for name, p in network.named_parameters() if p.grad is None}
    assert {name.split(".")[0] for name in silent} == set(UNUSED)


def test_the_regressor_looks_both_ways() -> None:
    network = BiGRURegressor(BiGRURegressorConfig(num_layers=2, width=4, num_features=5))
    out = network(given())
    assert out.shape == (2, 9, 2)
    video = VIDEO.clone()
    video[:, 4] += 3
    changed = (network(given(video)) - out).abs().amax((0, 2))
    assert (changed > 1e-6).all()


AMT = {
    "n_layers": 2,
    "num_heads": 2,
    "d_model": 16,
    "dim_feedforward": 24,
    "total_vf_dim": 5,
    "max_sequence_video": 9,
    "max_sequence_chord": 8,
    "rpr": True,
}
REGRESSION = {"n_layers": 2, "d_model": 4, "total_vf_dim": 5, "regModel": "bigru"}


def test_official_arguments_are_read() -> None:
    assert affective_music_transformer.from_official(AMT) == SMALL
    assert affective_music_transformer.from_official({**AMT, "dropout": 0.1}) == SMALL
    assert bigru_regressor.from_official(REGRESSION).width == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [({"rpr": False}, "rpr=True"), ({"d_mode": 16}, "d_mode"), ({"d_model": "16"}, "width")],
)
def test_other_arguments_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        affective_music_transformer.from_official({**AMT, **change})
    with pytest.raises(InputError):
        bigru_regressor.from_official({**REGRESSION, **change})


def test_other_regressors_are_refused() -> None:
    with pytest.raises(InputError, match="'lstm'"):
        bigru_regressor.from_official({**REGRESSION, "regModel": "lstm"})


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="3 heads"):
        replace(SMALL, num_heads=3)
