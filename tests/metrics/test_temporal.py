"""Scores of motion on movements that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kinema.metrics import temporal
from kinema.metrics.optical_flow import farneback
from kinema.noise import Noise

T, H, W = 6, 64, 72
MOVE = torch.tensor([2.0, 1.0])  # pixels a frame: to the right, down


@pytest.fixture(scope="module")
def moving() -> torch.Tensor:
    """(T, 3, H, W) uint8: a smooth pattern that moves by MOVE every frame."""
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    frames = []
    for t in range(T):
        u, v = x - MOVE[0] * t, y - MOVE[1] * t
        waves = [
            torch.sin(u / 4 + i) + torch.sin(v / 5 - i) + torch.sin((u + v) / 7) for i in range(3)
        ]
        frames.append(torch.stack(waves))
    return ((torch.stack(frames) + 3) / 6 * 255).round().to(torch.uint8)


def test_flow_finds_a_movement(moving):
    flow = farneback(*temporal.pairs(moving))
    assert flow.shape == (T - 1, 2, H, W)
    inner = flow[:, :, 16:-16, 16:-16].mean((0, 2, 3))
    torch.testing.assert_close(inner, MOVE, atol=0.1, rtol=0)
    degree = temporal.dynamic_degree(flow)
    assert degree.mean().item() == pytest.approx(MOVE.norm().item(), rel=0.2)


def test_tof_is_none_of_equal_clips_and_the_length_of_what_differs(moving):
    flow = farneback(*temporal.pairs(moving))
    assert temporal.tof(flow, flow).abs().max() == 0
    other = flow + torch.tensor([3.0, 4.0])[:, None, None]
    assert torch.allclose(temporal.tof(other, flow), torch.full((T - 1,), 5.0).double())
    slower = farneback(*temporal.pairs(moving.repeat_interleave(2, 0)[:T]))
    assert temporal.tof(slower, flow).mean() > 0.5


def test_warping_a_movement_back_leaves_next_to_nothing(moving):
    frames = moving.float() / 255
    flow = MOVE[None, :, None, None].expand(T - 1, 2, H, W)
    exact = temporal.warping_error(frames, flow, -flow)
    still = temporal.warping_error(frames, 0 * flow, 0 * flow)
    # At the border, where the pattern moves out, the nearest pixel is looked up.
    assert exact.max() < 0.1 * still.min()
    inner = temporal.warping_error(frames[:1].repeat(2, 1, 1, 1), 0 * flow[:1], 0 * flow[:1])
    assert inner.item() == pytest.approx(0, abs=1e-12)


def test_where_nothing_is_seen_the_error_is_none():
    frames = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    flow = torch.full((1, 2, 8, 8), 5.0)
    assert temporal.occluded(flow, flow).all()
    assert temporal.warping_error(frames, flow, flow).item() == 0


def test_a_border_of_motion_is_occluded():
    flow = torch.zeros(1, 2, 10, 10)
    flow[:, 0, :, 5:] = 1.0
    hidden = temporal.occluded(flow, -flow)[0]
    assert hidden[:, 4].all()
    assert not hidden[:, :4].any()


def test_tlp_is_a_difference_of_changes_times_100():
    output, target = torch.tensor([0.10, 0.3]), torch.tensor([0.15, 0.1])
    np.testing.assert_allclose(temporal.tlp(output, target), [5, 20], rtol=1e-5)


@pytest.mark.parametrize(("size", "inner"), [((96, 128), (64, 96)), ((80, 144), (64, 128))])
def test_tecogan_looks_at_the_middle(size, inner):
    x = torch.zeros(1, 1, *size)
    x[..., size[0] // 2, size[1] // 2] = 1
    cropped = temporal.tecogan_crop(x)
    assert cropped.shape[-2:] == inner
    assert cropped[..., inner[0] // 2, inner[1] // 2].item() == 1


def test_noise_raises_the_warping_error_of_a_clip_with_its_own_flow(moving):
    before, after = temporal.pairs(moving)
    flow, back = farneback(before, after), farneback(after, before)
    noise = Noise(0, (0,)).normal((1, *moving.shape), "flicker")[0]
    levels = [
        temporal.warping_error(moving.float() / 255 + s * noise, flow, back).mean().item()
        for s in (0.0, 0.05, 0.1)
    ]
    assert levels[0] < levels[1] < levels[2]
