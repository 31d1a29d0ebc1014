"""Block matching: whole movements of what has texture are found, what is flat stays."""

from __future__ import annotations

import pytest
import torch

from kinema.conditions.block_flow import BlockFlowConfig, block_flow
from kinema.errors import InputError
from kinema.nn.flow import inside, visible
from kinema.noise import Noise

CONFIG = BlockFlowConfig(radius=3, block=5)
X = Noise(0, (0, 1)).uniform((2, 3, 20, 24), "x")


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (0, -2), (-1, 3), (-3, -3)])
def test_a_whole_translation_is_found_exactly(dx: int, dy: int) -> None:
    flow = block_flow(X, X.roll((dy, dx), (2, 3)), CONFIG)
    middle = (..., slice(5, -5), slice(5, -5))
    assert (flow[:, 0][middle] == dx).all()
    assert (flow[:, 1][middle] == dy).all()


def test_a_flat_picture_stays() -> None:
    flat = torch.full((1, 3, 16, 16), 0.3)
    assert not block_flow(flat, flat, CONFIG).any()


def test_rows_do_not_see_each_other_and_no_pixel_looks_outside() -> None:
    others = X.roll((1, 2), (2, 3))
    flow = block_flow(X, others, CONFIG)
    torch.testing.assert_close(block_flow(X[1:], others[1:], CONFIG), flow[1:])
    assert inside(flow).all()


def test_a_moving_square_covers_and_uncovers() -> None:
    ground = X[:1].clone()
    before, after = ground.clone(), ground.clone()
    square = Noise(0, (0,)).uniform((1, 3, 7, 7), "square") + 1
    before[..., 6:13, 6:13] = square
    after[..., 6:13, 9:16] = square
    flow = block_flow(after, before, CONFIG)
    assert (flow[0, 0, 7:12, 10:15] == -3).all()
    seen = visible(flow, block_flow(before, after, CONFIG))[0, 0]
    assert seen[7:12, 10:15].all()
    assert not seen[7:12, 6:8].any(), "what was hidden by the square cannot be seen before"


@pytest.mark.parametrize(("radius", "block"), [(-1, 3), (2, 4), (2, 0)])
def test_blocks_have_a_middle(radius: int, block: int) -> None:
    with pytest.raises(InputError, match="odd block"):
        BlockFlowConfig(radius=radius, block=block)
