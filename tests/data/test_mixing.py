"""Mixup and CutMix: rows depend on their samples alone, and classes are mixed as pixels are."""

from __future__ import annotations

import pytest
import torch

from kinema.data.mixing import MixedClips, beta, pasted
from kinema.errors import InputError
from kinema.noise import Noise


def plain(samples: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Clip i is of the value i, its class is i."""
    numbers = torch.tensor(samples)
    clips = numbers.float().view(-1, 1, 1, 1, 1).expand(-1, 3, 2, 16, 16)
    return {"clips": clips, "classes": numbers}


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "both"])
def test_the_mean_of_a_clip_is_mixed_as_its_class(kind):
    alphas = {"mixup": 0.8 * (kind != "cutmix"), "cutmix": 1.0 * (kind != "mixup")}
    samples = tuple(range(10, 30))
    batch = MixedClips(plain, **alphas, seed=0)(samples)
    share = batch["shares"]
    expected = share * batch["classes"] + (1 - share) * batch["others"]
    torch.testing.assert_close(batch["clips"].mean((1, 2, 3, 4)), expected)
    assert batch["others"].tolist() == [sample ^ 1 for sample in samples]
    assert 0 <= share.min() < 0.3 < 0.7 < share.max() <= 1
    whole = batch["clips"].flatten(1)
    levels = [len(row.unique()) for row in whole]
    assert (max(levels) > 1) == (kind != "mixup")


def test_rows_depend_on_their_samples_alone():
    mixed = MixedClips(plain, mixup=0.8, cutmix=1.0, seed=0)
    together = mixed((4, 5, 6, 7))
    for row, sample in enumerate((4, 5, 6, 7)):
        alone = mixed((sample,))
        for name, value in alone.items():
            assert torch.equal(value[0], together[name][row]), name


@pytest.mark.parametrize("alpha", [0.3, 0.8, 1.0])
def test_shares_have_the_moments_of_the_beta_distribution(alpha):
    tried = Noise(0, tuple(range(4000))).uniform((4000, 64, 2), "x").double()
    found = torch.tensor([beta(row, alpha) for row in tried])
    assert abs(float(found.mean()) - 0.5) < 0.02
    assert abs(float(found.var()) - 1 / (4 * (2 * alpha + 1))) < 0.01


def test_a_box_that_leaves_the_frame_covers_less():
    a, b = torch.zeros(3, 2, 16, 16), torch.ones(3, 2, 16, 16)
    x, share = pasted(a, b, 0.75, torch.tensor([0.5, 0.5]))
    assert share == 0.75
    assert float(x.mean()) == 0.25
    assert torch.equal(x[:, 0], x[:, 1])
    _, cut = pasted(a, b, 0.75, torch.tensor([0.0, 0.0]))
    assert cut == 1 - 1 / 16


def test_an_alpha_out_of_range_is_named():
    with pytest.raises(InputError, match="cutmix"):
        MixedClips(plain, mixup=0.0, cutmix=1.5, seed=0)
