from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.metrics import prdc as module
from kinema.metrics.prdc import prdc, radii
from kinema.noise import Noise


def normal(count: int, width: int, stream: str) -> Tensor:
    return Noise(0, tuple(range(count))).normal((count, width), stream)


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, ...]:
    """Precision, recall, density and coverage, ball by ball."""

    def radius(own: np.ndarray, i: int) -> float:
        return sorted(float(np.linalg.norm(own[i] - x)) for j, x in enumerate(own) if j != i)[k - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(fake, j) for j in range(len(fake))]
    apart = np.linalg.norm(real[:, None] - fake[None], axis=2)
    in_real = [[apart[i, j] < real_radii[i] for i in range(len(real))] for j in range(len(fake))]
    in_fake = [[apart[i, j] < fake_radii[j] for j in range(len(fake))] for i in range(len(real))]
    return (
        float(np.mean([any(balls) for balls in in_real])),
        float(np.mean([any(balls) for balls in in_fake])),
        float(np.mean([sum(balls) / k for balls in in_real])),
        float(np.mean([min(apart[i]) < real_radii[i] for i in range(len(real))])),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_it_is_the_definition(dtype, k):
    real = normal(40, 4, "real").to(dtype)
    fake = 1.3 * normal(31, 4, "fake").to(dtype) + 0.5
    found = prdc(real, fake, k=k)
    expected = by_definition(real.double().numpy(), fake.double().numpy(), k)
    got = (found.precision, found.recall, found.density, found.coverage)
    assert got == pytest.approx(expected)
    assert 0 < found.precision < 1
    assert 0 < found.coverage < 1


def test_blocks_change_nothing(monkeypatch):
    real, fake = normal(50, 8, "real"), normal(37, 8, "fake") + 0.4
    whole = prdc(real, fake, k=5)
    for block in (1, 100, 999):
        monkeypatch.setattr(module, "BLOCK", block)
        assert prdc(real, fake, k=5) == whole


def test_a_set_against_itself_and_against_a_far_one():
    x = normal(60, 6, "x")
    same = prdc(x, x.clone(), k=4)
    assert (same.precision, same.recall, same.coverage) == (1, 1, 1)
    assert same.density == pytest.approx(1)  # in every ball: its center and k - 1 others
    far = prdc(x, x + 100, k=4)
    assert (far.precision, far.recall, far.density, far.coverage) == (0, 0, 0, 0)


def test_sets_of_one_distribution_cover_each_other():
    found = prdc(normal(400, 3, "real"), normal(400, 3, "fake"), k=5)
    assert found.coverage > 0.9
    assert found.density == pytest.approx(1, abs=0.1)


def test_swapping_the_sets_swaps_precision_and_recall():
    a, b = normal(40, 5, "a"), 0.5 * normal(33, 5, "b")
    there, back = prdc(a, b, k=5), prdc(b, a, k=5)
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert there.precision != there.recall


def test_copies_have_balls_of_radius_zero_that_hold_nothing():
    few = (1000 * normal(3, 64, "few")).repeat(6, 1)
    assert (radii(few, k=5) == 0).all()
    assert (radii(few, k=6) > 0).all()
    found = prdc(few, few, k=5)
    assert (found.precision, found.recall, found.coverage) == (0, 0, 0)


def test_the_radius_is_the_distance_to_the_kth_other_row():
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert radii(x, k=1).tolist() == [1, 1, 2, 4]
    assert radii(x, k=3).tolist() == [7, 6, 4, 7]


def test_too_few_samples_are_refused():
    enough, few = normal(6, 2, "enough"), normal(5, 2, "few")
    assert prdc(enough, enough, k=5).recall == 1
    with pytest.raises(InputError, match="at least 6 samples, not 5"):
        prdc(enough, few, k=5)
