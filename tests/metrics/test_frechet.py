"""The Frechet distance, and the statistics that it is computed from."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import _compute_fid

from kinema.errors import InputError
from kinema.metrics.feature_stats import BLOCK, FeatureStats
from kinema.metrics.frechet import frechet_distance
from kinema.noise import Noise


def normal(count: int, width: int, stream: str) -> torch.Tensor:
    return Noise(0, (0,)).normal((1, count, width), stream)[0]


def mixed(count: int, width: int, stream: str) -> torch.Tensor:
    return normal(count, width, stream) @ normal(width, width, f"{stream} mix") + 3


def distance(x: torch.Tensor, y: torch.Tensor, *, unbiased: bool = True) -> float:
    return frechet_distance(FeatureStats.of(x), FeatureStats.of(y), unbiased=unbiased)


def test_diagonal_gaussians_have_the_closed_form():
    # Samples whose mean and covariance are exact: (N - 1) / N of the variance of +-a is a^2.
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    x = signs * torch.tensor([1.0, 2.0]) + torch.tensor([0.5, 0.0])
    y = signs * torch.tensor([3.0, 0.5]) + torch.tensor([-1.5, 1.0])
    expected = 2.0**2 + 1.0**2 + (1 - 3) ** 2 + (2 - 0.5) ** 2
    assert distance(x, y, unbiased=False) == pytest.approx(expected, rel=1e-12)
    scaled = 2.0**2 + 1.0**2 + 4 / 3 * ((1 - 3) ** 2 + (2 - 0.5) ** 2)
    assert distance(x, y) == pytest.approx(scaled, rel=1e-12)


@pytest.mark.parametrize("count", [300, 20])
def test_it_is_that_of_scipy_and_of_torchmetrics(count):
    x, y = mixed(count, 24, "x"), mixed(count + 7, 24, "y")
    a, b = (np.cov(z.double().numpy(), rowvar=False) for z in (x, y))
    root = scipy.linalg.sqrtm(a @ b)
    gap = (x.double().mean(0) - y.double().mean(0)).square().sum().item()
    expected = gap + np.trace(a + b - 2 * root.real)
    # Fewer samples than features: roots of eigenvalues that are 0 up to rounding.
    tolerance = 1e-11 if count > 24 else 1e-6
    assert distance(x, y) == pytest.approx(expected, rel=tolerance)
    moments = [m for z in (x, y) for m in (z.double().mean(0), torch.cov(z.double().T))]
    theirs = _compute_fid(*moments).item()
    assert distance(x, y) == pytest.approx(theirs, rel=tolerance)


def test_equal_sets_have_none_and_the_order_of_the_sets_does_not_matter():
    x, y = mixed(50, 8, "x"), mixed(60, 8, "y")
    assert abs(distance(x, x)) < 1e-8 * distance(x, y)
    assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-10)


def test_it_falls_to_none_with_the_number_of_samples_and_grows_with_noise():
    same = [distance(mixed(n, 6, "mix"), mixed(n, 6, "mix") + 0 * n) for n in (50,)]
    assert abs(same[0]) < 1e-7
    parts = [distance(normal(n, 6, "a"), normal(n, 6, "b")) for n in (50, 500, 5000)]
    assert parts[0] > 3 * parts[1] > 9 * parts[2] > 0
    x = normal(500, 6, "a")
    noisy = [distance(x, x + s * normal(500, 6, "noise")) for s in (0.1, 0.3, 1.0)]
    assert 0 < noisy[0] < noisy[1] < noisy[2]


def test_one_sample_is_refused():
    with pytest.raises(InputError, match="2 samples or more, not 1"):
        distance(normal(1, 3, "x"), normal(5, 3, "y"))
    with pytest.raises(InputError, match="NaN"):
        FeatureStats.of(torch.full((3, 2), torch.nan))


def test_mean_and_covariance_are_those_of_numpy():
    x = mixed(777, 9, "x")
    stats = FeatureStats.of(x)
    exact = x.double().numpy()
    np.testing.assert_allclose(stats.mean(), exact.mean(0), rtol=1e-13)
    for unbiased in (True, False):
        expected = np.cov(exact, rowvar=False, bias=not unbiased)
        np.testing.assert_allclose(stats.covariance(unbiased=unbiased), expected, rtol=1e-10)


@pytest.mark.parametrize(
    "sizes",
    [(1, 1032), (256, 256, 521), (100, 100, 100, 733), (255, 2, 776), (700, 1, 332), (1033,)],
)
def test_batches_and_parts_of_any_size_give_every_digit(sizes):
    x = mixed(1033, 5, "x")
    whole = FeatureStats.of(x)
    batched = FeatureStats(5, first=0)
    parts = []
    for start, rows in zip(np.cumsum((0, *sizes)), x.split(sizes)):
        batched.update(rows)
        part = FeatureStats(5, first=int(start))
        for row in rows.split(7):
            part.update(row)
        parts.append(part)
    merged, *others = parts
    for part in others:
        merged.merge(part)
    for stats in (batched, merged):
        assert len(stats) == 1033
        assert torch.equal(stats.mean(), whole.mean())
        assert torch.equal(stats.covariance(unbiased=True), whole.covariance(unbiased=True))


PART = """
import sys
from pathlib import Path
import numpy as np
import torch
from kinema.metrics.feature_stats import FeatureStats
folder, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for name in "xy":
    part = FeatureStats(24, first=first)
    for rows in torch.from_numpy(np.load(folder / f"{name}.npy"))[first:last].split(17):
        part.update(rows)
    part.save(folder / f"{name}-{first}.safetensors", overwrite=False)
"""


def test_what_two_processes_summed_gives_the_digits_of_one(tmp_path):
    sets = [mixed(600, 24, name) for name in "xy"]
    for name, features in zip("xy", sets):
        np.save(tmp_path / f"{name}.npy", features)
    started = [
        subprocess.Popen([sys.executable, "-c", PART, tmp_path, str(first), str(last)])
        for first, last in ((0, 351), (351, 600))
    ]
    assert [process.wait() for process in started] == [0, 0]
    merged = [FeatureStats.load(tmp_path / f"{name}-0.safetensors") for name in "xy"]
    for name, stats in zip("xy", merged):
        assert len(stats) == 351
        stats.merge(FeatureStats.load(tmp_path / f"{name}-351.safetensors"))
        assert len(stats) == 600
    for unbiased in (True, False):
        assert frechet_distance(*merged, unbiased=unbiased) == distance(*sets, unbiased=unbiased)


def test_parts_that_do_not_follow_one_another_are_refused():
    part = FeatureStats(2, first=BLOCK)
    part.update(torch.zeros(3, 2))
    with pytest.raises(AssertionError, match="rows 256 to 259"):
        part.merge(FeatureStats(2, first=0))


def test_a_part_goes_through_a_file(tmp_path):
    x = mixed(600, 4, "x")
    first, second = FeatureStats(4, first=0), FeatureStats(4, first=300)
    first.update(x[:300])
    second.update(x[300:])
    second.save(tmp_path / "part.safetensors", overwrite=False)
    first.merge(FeatureStats.load(tmp_path / "part.safetensors"))
    assert torch.equal(
        first.covariance(unbiased=True), FeatureStats.of(x).covariance(unbiased=True)
    )
    with pytest.raises(InputError, match="exists"):
        second.save(tmp_path / "part.safetensors", overwrite=False)
    (tmp_path / "other.safetensors").write_bytes(b"none")
    with pytest.raises(InputError, match=r"other\.safetensors"):
        FeatureStats.load(tmp_path / "other.safetensors")
