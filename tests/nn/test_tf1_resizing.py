from __future__ import annotations

import numpy as np
import pytest
import torch

from kinema.nn.resizing import tf1_bilinear
from kinema.noise import Noise

X = Noise(0, (0, 1)).uniform((2, 3, 7, 10), "pictures")


def by_numpy(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear interpolation at i * old / new; `np.interp` repeats the last value beyond the end."""
    old = x.shape[axis]
    places = np.arange(size) * old / size
    return np.apply_along_axis(lambda row: np.interp(places, np.arange(old), row), axis, x)


@pytest.mark.parametrize(
    ("height", "width"), [(7, 10), (14, 20), (3, 5), (1, 1), (29, 8), (299, 4)]
)
def test_pixels_are_read_where_tensorflow_1_reads_them(height, width):
    found = tf1_bilinear(X, height, width)
    expected = by_numpy(by_numpy(X.double().numpy(), height, 2), width, 3)
    assert found.shape == (2, 3, height, width)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


def test_it_is_no_other_bilinear_grid():
    found = tf1_bilinear(X, 14, 20)
    assert torch.equal(found[..., ::2, ::2], X)
    for corners in (False, True):
        other = torch.nn.functional.interpolate(X, (14, 20), mode="bilinear", align_corners=corners)
        assert (found - other).abs().max() > 0.05


def test_the_type_is_kept_and_gradients_pass():
    x = X.double().requires_grad_()
    y = tf1_bilinear(x, 5, 5)
    assert y.dtype == torch.float64
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.sum().item() == pytest.approx(2 * 3 * 25)
