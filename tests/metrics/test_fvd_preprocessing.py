from __future__ import annotations

import numpy as np
import pytest
import torch

from kinema.metrics.fvd_preprocessing import VARIANTS, styleganv, tensorflow, videogpt
from kinema.metrics.resizing import bilinear
from kinema.noise import Noise


def clips(height: int, width: int) -> torch.Tensor:
    return Noise(0, (0, 1)).uniform((2, 3, 4, height, width), "clips")


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("height", "width"), [(20, 30), (30, 20), (24, 24), (49, 49), (33, 47)])
def test_every_variant_gives_squares_in_range(name, height, width):
    x = clips(height, width)
    y = VARIANTS[name](x, 28)
    assert y.shape == (2, 3, 4, 28, 28)
    assert y.min() >= -1
    assert y.max() <= 1
    assert torch.allclose(VARIANTS[name](x[1:, :, 2:3], 28), y[1:, :, 2:3])


def test_tensorflow_stretches_on_its_own_grid():
    x = clips(20, 30)
    rows = np.interp(np.arange(28) * 20 / 28, np.arange(20), x[1, 2, 3, :, 0].numpy())
    np.testing.assert_allclose(tensorflow(x, 28)[1, 2, 3, :, 0], 2 * rows - 1, atol=1e-5)
    columns = np.interp(np.arange(28) * 30 / 28, np.arange(30), x[0, 1, 0, 0].numpy())
    np.testing.assert_allclose(tensorflow(x, 28)[0, 1, 0, 0], 2 * columns - 1, atol=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
def test_styleganv_keeps_the_middle(transposed):
    x = clips(14, 28)
    x[..., :7] = x[..., 21:] = 0.25  # what is cut off
    y = styleganv(x.transpose(-1, -2) if transposed else x, 14)
    y = y.transpose(-1, -2) if transposed else y
    assert torch.allclose(y, 2 * x[..., 7:21] - 1, atol=1e-6)


def test_on_squares_styleganv_is_a_plain_resize():
    x = clips(16, 16)
    frames = bilinear(x.transpose(1, 2).flatten(0, 1), 28, 28)
    plain = frames.unflatten(0, (2, 4)).transpose(1, 2)
    assert torch.allclose(styleganv(x, 28), 2 * plain - 1, atol=1e-6)


def test_videogpt_is_styleganv_of_colors_cut_to_8_bits():
    x = clips(20, 30)
    levels = (255 * x).floor()
    assert torch.equal(videogpt(levels / 255, 28), styleganv(levels / 255, 28))
    drop = styleganv(x, 28) - videogpt(x, 28)
    assert 0.003 < drop.mean() < 0.005  # half a level of 2 / 255
    assert drop.min() > -1e-6
    assert drop.max() < 2 / 255 + 1e-6


def test_8_bit_colors_are_cut_to_themselves():
    levels = torch.arange(256.0)
    assert torch.equal((255 * (levels / 255)).floor(), levels)


def test_a_side_that_rounds_up_is_cut_and_not_stretched():
    # 224 / 41 * 41 is a little more than 224: the authors resize to 225 lines and drop one.
    assert 224 / 41 * 41 > 224
    x = clips(41, 41)
    frames = bilinear(x.transpose(1, 2).flatten(0, 1), 225, 224)[..., :224, :]
    expected = 2 * frames.unflatten(0, (2, 4)).transpose(1, 2) - 1
    assert torch.allclose(styleganv(x, 224), expected, atol=1e-6)
