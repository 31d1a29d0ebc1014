"""Convolutions by frames give what torch's give, with half of the products where frames suffice."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from kinema.nn import winograd
from kinema.nn.winograd import convolved
from kinema.planning.meters import flops


def layer(mode: Literal["zeros", "replicate", "reflect"] = "zeros", filters: int = 40) -> nn.Conv3d:
    """32 channels to `filters`."""
    torch.manual_seed(0)
    return nn.Conv3d(32, filters, 3, padding=(0, 1, 1), padding_mode=mode).requires_grad_(False)


def clip(frames: int, side: int = 16) -> Tensor:
    """Two clips of 32 channels."""
    return torch.randn(2, 32, frames, side, side, generator=torch.Generator().manual_seed(1))


def expected(conv: nn.Conv3d, x: Tensor, repeated: tuple[int, int]) -> Tensor:
    """By torch, in float64."""
    frames = (*[x[:, :, :1]] * repeated[0], x, *[x[:, :, -1:]] * repeated[1])
    double = nn.Conv3d(32, conv.out_channels, 3, padding=(0, 1, 1), padding_mode=conv.padding_mode)
    double.load_state_dict(conv.state_dict())
    return double.double()(torch.cat(frames, dim=2).double()).float()


def close(conv: nn.Conv3d, x: Tensor, repeated: tuple[int, int]) -> None:
    """Ours is the convolution, of values of about 1."""
    known = expected(conv, x, repeated)
    torch.testing.assert_close(convolved(conv, x, repeated), known, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("repeated", [(0, 0), (1, 1), (2, 0)])
@pytest.mark.parametrize("frames", [3, 4, 5, 8, 11])
def test_it_is_the_convolution(frames: int, repeated: tuple[int, int]) -> None:
    conv, x = layer(), clip(frames)
    before = x.clone()
    close(conv, x, repeated)
    assert torch.equal(x, before)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["zeros", "replicate", "reflect"])
def test_frames_filters_and_edges_may_be_taken_apart(
    monkeypatch: pytest.MonkeyPatch, mode: Literal["zeros", "replicate", "reflect"]
) -> None:
    monkeypatch.setattr(winograd, "FRAMES", 1)  # a tile at a time
    monkeypatch.setattr(winograd, "WEIGHTS", 32 * 32)  # 32 filters, then the other 8
    conv, x = layer(mode), clip(9)
    close(conv, x, (1, 1))


@torch.no_grad()
def test_small_frames_are_not_summed() -> None:
    conv, x = layer(), clip(9, side=4)
    close(conv, x, (1, 1))
    assert flops(convolved, conv, x, (1, 1)) == flops(conv, clip(11, side=4))


@torch.no_grad()
def test_four_frames_take_six_products() -> None:
    conv = layer()
    whole = flops(conv, clip(10))
    assert flops(convolved, conv, clip(8), (1, 1)) == whole / 2
    assert flops(convolved, conv, clip(9), (1, 1)) == whole / 2 + whole / 8


def test_what_it_does_not_serve_is_left_to_torch() -> None:
    conv, x = layer(), clip(8)
    assert torch.equal(convolved(conv, x, (0, 0)), conv(x))  # gradients may be taken
    with torch.no_grad():
        few = layer(filters=31)
        assert torch.equal(convolved(few, x, (0, 0)), few(x))
        half, narrow = layer().bfloat16(), x.bfloat16()
        assert torch.equal(convolved(half, narrow, (0, 0)), half(narrow))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(convolved(conv, x, (0, 0)), conv(x))
        strided = nn.Conv3d(32, 40, 3, stride=(2, 1, 1), padding=(0, 1, 1))
        assert torch.equal(convolved(strided, x, (0, 0)), strided(x))
    conv.requires_grad_(True)
    convolved(conv, x, (1, 1)).sum().backward()
    assert conv.weight.grad is not None
