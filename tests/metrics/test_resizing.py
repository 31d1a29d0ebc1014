from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from kinema.metrics.resizing import RESIZERS, antialiased_bicubic, bilinear
from kinema.noise import Noise

X = Noise(0, (0, 1)).uniform((2, 3, 12, 17), "pictures")
SIZES = [(12, 17), (5, 6), (24, 34), (30, 7), (1, 40)]


def by_pillow(x: torch.Tensor, height: int, width: int, how: Image.Resampling) -> np.ndarray:
    pictures = [Image.fromarray(plane.numpy(), mode="F") for plane in x.flatten(0, 1)]
    planes = [np.asarray(picture.resize((width, height), how)) for picture in pictures]
    return np.stack(planes).reshape(*x.shape[:2], height, width)


def by_numpy(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    old = x.shape[axis]
    places = (np.arange(size) + 0.5) * old / size - 0.5
    return np.apply_along_axis(lambda row: np.interp(places, np.arange(old), row), axis, x)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bicubic_is_pillows(height, width):
    found = antialiased_bicubic(X, height, width)
    expected = by_pillow(X, height, width, Image.Resampling.BICUBIC)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bilinear_has_half_pixel_centers_and_averages_nothing(height, width):
    expected = by_numpy(by_numpy(X.double().numpy(), height, 2), width, 3)
    np.testing.assert_allclose(bilinear(X, height, width).numpy(), expected, atol=2e-6)


def test_the_names_are_three_ways():
    results = [resize(X, 6, 9) for resize in RESIZERS.values()]
    assert list(RESIZERS) == ["tf1-bilinear", "bilinear", "antialiased-bicubic"]
    for i, a in enumerate(results):
        assert a.shape == (2, 3, 6, 9)
        assert all((a - b).abs().max() > 0.02 for b in results[:i])
