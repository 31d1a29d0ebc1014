"""Norms over the channels of a video."""

from __future__ import annotations

import pytest
import torch

from kinema.nn.norms import ChannelNorm, PixelNorm, RMSNorm


def test_pixel_norm_gives_every_pixel_mean_square_one() -> None:
    x = 7 * torch.randn(2, 16, 3, 4, 5)
    y = PixelNorm()(x, out=None)
    torch.testing.assert_close(y.square().mean(dim=1), torch.ones(2, 3, 4, 5))
    torch.testing.assert_close(y * x.square().mean(dim=1, keepdim=True).sqrt(), x)
    assert torch.equal(
        PixelNorm()(torch.zeros(1, 4, 1, 1, 1), out=None), torch.zeros(1, 4, 1, 1, 1)
    )


def test_pixel_norm_is_the_same_without_gradients() -> None:
    x = torch.randn(2, 16, 3, 4, 5)
    with torch.no_grad():
        y = PixelNorm()(x, out=None)
        assert PixelNorm()(x.clone(), out=y) is y
    torch.testing.assert_close(y, PixelNorm()(x, out=None))


def test_pixel_norm_takes_its_mean_in_float32() -> None:
    x = torch.full((1, 4, 1, 1, 1), 1000.0, dtype=torch.float16)  # its square is no float16
    assert torch.equal(PixelNorm()(x, out=None), torch.ones_like(x))


@torch.no_grad()
def test_channel_norm_centers_each_pixel_then_scales() -> None:
    norm = ChannelNorm(8, eps=1e-6)
    norm.norm.weight.copy_(torch.arange(1.0, 9.0))
    norm.norm.bias.fill_(0.5)
    x = 3 + 2 * torch.randn(2, 8, 2, 3, 4)
    centered = x - x.mean(dim=1, keepdim=True)
    scale = (x.var(dim=1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    expected = centered / scale * torch.arange(1.0, 9.0).view(8, 1, 1, 1) + 0.5
    torch.testing.assert_close(norm(x), expected)


def test_rms_norm_of_bfloat16_takes_a_float32_weight_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    norm = RMSNorm(8, eps=1e-5)
    torch.nn.init.constant_(norm.weight, 1.5)
    x = torch.linspace(-2, 2, 32).reshape(4, 8)
    y = norm(x.bfloat16())
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), norm(x), rtol=0.02, atol=0.02)
    assert not recwarn.list
