"""PSNR and SSIM beside scikit-image and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from kinema.errors import InputError
from kinema.metrics.fidelity import luma, psnr, ssim
from kinema.noise import Noise

NOISE = Noise(0, (0, 1))


@pytest.fixture
def frames() -> tuple[torch.Tensor, torch.Tensor]:
    """(2, 3, 3, 30, 41) in [0, 1], and a noisy copy."""
    x = NOISE.uniform((2, 3, 3, 30, 41), "frames").double()
    return x, (x + 0.1 * NOISE.normal((2, 3, 3, 30, 41), "noise")).clamp(0, 1)


def test_psnr_is_that_of_scikit_image(frames):
    x, y = frames
    found = psnr(x, y)
    assert found.shape == (2, 3)
    theirs = peak_signal_noise_ratio(x[1, 2].numpy(), y[1, 2].numpy(), data_range=1)
    assert found[1, 2].item() == pytest.approx(theirs, rel=1e-12)


def test_equal_frames_have_100_decibels_and_a_known_error_its_own(frames):
    x, _ = frames
    assert torch.equal(psnr(x, x), torch.full((2, 3), 100.0, dtype=torch.float64))
    assert psnr(torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.1)).item() == pytest.approx(20)


def test_ssim_is_that_of_scikit_image_and_torchmetrics(frames):
    x, y = frames
    found = ssim(x, y)
    picture, other = (z[1, 2].numpy() for z in (x, y))
    _, places = structural_similarity(
        picture,
        other,
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    inner = np.asarray(places)[:, 5:-5, 5:-5].mean()
    assert found[1, 2].item() == pytest.approx(inner, rel=1e-9)
    _, full = structural_similarity_index_measure(
        x[1, 2][None], y[1, 2][None], sigma=1.5, data_range=1.0, return_full_image=True
    )
    theirs = full[..., 5:-5, 5:-5].mean()  # they reflect at the border and keep those places
    assert found[1, 2].item() == pytest.approx(theirs.item(), rel=1e-9)


def test_ssim_of_equal_frames_is_one_and_falls_with_noise(frames):
    x, _ = frames
    assert torch.allclose(ssim(x, x), torch.ones(2, 3, dtype=torch.float64), atol=1e-12)
    noise = NOISE.normal((2, 3, 3, 30, 41), "more noise")
    levels = torch.stack([ssim(x, x + s * noise).mean() for s in (0.05, 0.1, 0.2, 0.4)])
    assert (levels.diff() < 0).all()
    with pytest.raises(InputError, match="11x11 or more, not 10x20"):
        ssim(torch.zeros(3, 10, 20), torch.zeros(3, 10, 20))


def test_luma_is_that_of_scikit_image(frames):
    x, _ = frames
    theirs = rgb2ycbcr(x[0, 0].movedim(0, -1).numpy())[..., 0]
    np.testing.assert_allclose(luma(255 * x[0, 0])[0].numpy(), theirs, rtol=1e-4)
