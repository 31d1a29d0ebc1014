"""Convolutions of video: what a frame sees, and where pixels go."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
import torch.nn.functional as F

from kinema.nn.conv import CausalConv3d, depth_to_space, space_to_depth


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (2, 1, 1)])
@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect"])
def test_padding(
    causal: bool,
    stride: tuple[int, int, int],
    mode: Literal["zeros", "replicate", "reflect"],
) -> None:
    layer = CausalConv3d(3, 4, stride=stride, causal=causal, padding_mode=mode)
    x = torch.randn(2, 3, 5, 6, 8)
    frames = [0, 0, 0, 1, 2, 3, 4] if causal else [0, 0, 1, 2, 3, 4, 4]
    padded = F.pad(x[:, :, frames], (1, 1, 1, 1, 0, 0), "constant" if mode == "zeros" else mode)
    expected = F.conv3d(padded, layer.conv.weight, layer.conv.bias, stride=stride)
    torch.testing.assert_close(layer(x), expected)


def test_pixels_become_channels_time_first_and_back() -> None:
    x = torch.arange(8.0).view(1, 1, 2, 2, 2)
    assert space_to_depth(x, (2, 2, 2)).flatten().tolist() == list(range(8))
    x = torch.randn(2, 3, 4, 6, 8)
    y = space_to_depth(x, (2, 3, 4))
    assert y.shape == (2, 72, 2, 2, 2)
    assert torch.equal(y[:, 24 + 12 + 4 * 2 + 1, 1, 0, 1], x[:, 1, 3, 2, 5])
    assert torch.equal(depth_to_space(y, (2, 3, 4)), x)
