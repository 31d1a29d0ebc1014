"""Filters between two passes."""

from __future__ import annotations

import pytest
import torch

from kinema.errors import InputError
from kinema.noise import Noise
from kinema.processes.latent_filters import match_statistics, tone_map

LATENTS = 2 * Noise(0, (0, 1)).normal((2, 3, 4, 5, 6), "x") + 1


def test_tone_map_pulls_large_values_in() -> None:
    assert torch.equal(tone_map(LATENTS, 0.0), LATENTS)
    x = torch.linspace(0, 6, 500)
    y = tone_map(x, 1.0)
    assert torch.equal(tone_map(-x, 1.0), -y)
    assert y[-1].item() == pytest.approx(6 * 0.4, rel=1e-4)  # 1 - 0.6 far out
    assert (y[1:] < x[1:]).all()
    assert (tone_map(x, 0.5)[x > 1] > y[x > 1]).all()


@pytest.mark.parametrize("compression", [-0.1, 1.1, float("nan")])
def test_a_compression_outside_its_range_is_refused(compression: float) -> None:
    with pytest.raises(InputError, match=r"lies in \[0, 1\], not"):
        tone_map(LATENTS, compression)


def test_statistics_of_each_sample_and_channel_are_matched() -> None:
    reference = 3 * Noise(1, (0, 1)).normal((2, 3, 2, 8, 8), "y") - 2
    places = (2, 3, 4)
    got = match_statistics(LATENTS, reference, 1.0)
    assert got.shape == LATENTS.shape
    torch.testing.assert_close(got.mean(places), reference.mean(places))
    torch.testing.assert_close(got.std(places), reference.std(places))
    assert torch.equal(match_statistics(LATENTS, reference, 0.0), LATENTS)
    half = match_statistics(LATENTS, reference, 0.5)
    torch.testing.assert_close(half, (LATENTS + got) / 2)
    torch.testing.assert_close(match_statistics(LATENTS, LATENTS, 1.0), LATENTS)
