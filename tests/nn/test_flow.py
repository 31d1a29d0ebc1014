"""Flow: lookups where it says, values that follow the grid, masks that promise too little."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kinema.nn.flow import inside, resize_flow, resize_mask, sources, visible, warp, warp_error
from kinema.noise import Noise

NOISE = Noise(0, (0, 1))
X = NOISE.normal((2, 3, 8, 12), "x")
MODES = ("nearest", "bilinear")


def constant(dx: float, dy: float, height: int = 8, width: int = 12) -> Tensor:
    """The same flow everywhere, for two rows."""
    return torch.tensor([float(dx), float(dy)])[:, None, None].expand(2, 2, height, width).clone()


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (0, -2), (-4, 1), (11, 7)])
def test_a_whole_translation_is_an_exact_lookup(dx: int, dy: int) -> None:
    flow = constant(dx, dy)
    found = warp(X, flow, "nearest")
    shifted = X.roll((-dy, -dx), (2, 3))
    within = inside(flow)
    assert within.sum() == 2 * (12 - abs(dx)) * (8 - abs(dy))
    assert torch.equal(found[within.expand_as(X)], shifted[within.expand_as(X)])
    between = warp(X, flow, "bilinear")[within.expand_as(X)]
    torch.testing.assert_close(between, found[within.expand_as(X)], rtol=1e-4, atol=1e-5)


def test_every_row_has_its_own_flow_and_every_pixel_too() -> None:
    flow = constant(0, 0)
    flow[1, 0, 2, 5], flow[1, 1, 2, 5] = -3, 4
    found = warp(X, flow, "nearest")
    assert torch.equal(found[0], X[0])
    assert torch.equal(found[1, :, 2, 5], X[1, :, 6, 2])
    found[1, :, 2, 5] = X[1, :, 2, 5]
    assert torch.equal(found[1], X[1])


@pytest.mark.parametrize("mode", MODES)
def test_beyond_the_border_is_the_border(mode) -> None:
    found = warp(X, constant(-100, 0), mode)
    torch.testing.assert_close(found, X[..., :1].expand_as(X), rtol=1e-4, atol=1e-5)
    assert not inside(constant(-100, 0)).any()


def test_half_a_pixel_is_a_mean_that_loses_variance() -> None:
    noise = NOISE.normal((2, 1, 64, 64), "noise")
    flow = constant(0.5, 0, 64, 64)
    mean = warp(noise, flow, "bilinear")[..., :-1]
    torch.testing.assert_close(mean, (noise[..., :-1] + noise[..., 1:]) / 2, rtol=1e-4, atol=1e-4)
    assert mean.var() < 0.6 * noise.var()
    assert warp(noise, flow, "nearest").var() > 0.9 * noise.var()


def test_a_grid_of_one_row_or_column_is_looked_up() -> None:
    x = X[:, :, :1, :1]
    for mode in MODES:
        assert torch.equal(warp(x, constant(0, 0, 1, 1), mode), x)


def test_sources_are_x_and_y() -> None:
    places = sources(constant(0.5, -1))
    assert places[0, :, 3, 7].tolist() == [7.5, 2.0]


def test_resizing_a_flow_scales_its_values_along_each_axis() -> None:
    small = resize_flow(constant(8, 6, 16, 32), 8, 4)
    assert small.shape == (2, 2, 8, 4)
    torch.testing.assert_close(small, constant(1, 3, 8, 4))
    x = NOISE.normal((2, 3, 4, 8), "coarse")
    fine = x.repeat_interleave(4, 2).repeat_interleave(4, 3)
    moved = warp(fine, constant(8, -4, 16, 32), "nearest")
    within = inside(constant(2, -1, 4, 8)).expand_as(x)
    coarse = warp(x, resize_flow(constant(8, -4, 16, 32), 4, 8), "nearest")
    assert torch.equal(coarse[within], moved[..., ::4, ::4][within])


def test_a_coarse_cell_is_valid_only_with_all_of_its_pixels() -> None:
    mask = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    mask[0, 0, 3, 6] = False
    assert resize_mask(mask, 2, 2).tolist() == [[[[True, False], [True, True]]]]
    assert torch.equal(resize_mask(mask, 8, 8), mask)


def test_what_comes_back_is_visible() -> None:
    flow = constant(3, -1)
    assert torch.equal(visible(flow, -flow), inside(flow))
    assert not visible(flow, flow).any(), "a flow in the wrong direction does not come back"
    back = -flow
    back[:, :, 2, 6] = 0  # what stands there belongs to something else
    lost = inside(flow) & ~visible(flow, back)
    assert lost.nonzero().tolist() == [[row, 0, 3, 3] for row in (0, 1)]


def test_a_small_disagreement_is_no_occlusion() -> None:
    flow = constant(2, 0)
    middle = (..., slice(1, -1), slice(3, -3))
    assert visible(flow, constant(-1.5, 0))[middle].all()
    assert not visible(flow, constant(-1, 0))[middle].any()


def test_the_warp_error_counts_what_is_seen() -> None:
    flow = constant(2, 1)
    previous = X.roll((1, 2), (2, 3))  # so X is what the flow finds in it
    within = inside(flow)
    torch.testing.assert_close(warp_error(X, previous, flow, within), torch.zeros(2))
    assert (warp_error(X, previous, -flow, inside(-flow)) > 0.5).all()
    changed = X.clone()
    changed[1, 0, 2, 3] += 3
    error = warp_error(changed, previous, flow, within)
    torch.testing.assert_close(error, torch.tensor([0.0, 3.0 / within[1].sum()]))
    assert warp_error(X, -X, flow, torch.zeros_like(within)).tolist() == [0, 0]
