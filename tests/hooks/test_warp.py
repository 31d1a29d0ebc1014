"""Warped latents: carried from frame to frame, in early steps, where the mask says."""

from __future__ import annotations

import pytest
import torch

from kinema.hooks.warp import WarpLatents
from kinema.noise import Noise
from kinema.processes.steps import Step

X = Noise(0, (0, 1)).normal((2, 4, 3, 6, 8), "x")  # three frames
EARLY = Step(index=1, total=4, sigma=3.0, sigma_next=2.0)


def hook(dx: int, mask: bool, share: float = 0.5) -> WarpLatents:
    """The same movement between all frames."""
    flow = torch.tensor([dx, 0.0])[:, None, None].expand(2, 2, 6, 8)
    return WarpLatents(flow=flow, mask=torch.full((2, 1, 6, 8), mask), share=share)


def test_latents_of_the_first_frame_are_carried_to_the_last() -> None:
    out = hook(2, True).before(X, EARLY)
    assert torch.equal(out[:, :, 0], X[:, :, 0])
    assert torch.equal(out[:, :, 1, :, :6], X[:, :, 0, :, 2:])
    assert torch.equal(out[:, :, 2, :, :4], X[:, :, 0, :, 4:])


def test_a_frame_keeps_its_own_latents_where_the_mask_is_off() -> None:
    assert torch.equal(hook(2, False).before(X, EARLY), X)
    partly = hook(0, True)
    partly.mask[1, 0, 2, 3] = False
    out = partly.before(X, EARLY)
    assert torch.equal(out[:, :, 2, 2, 3], X[:, :, 2, 2, 3])
    out[:, :, 2, 2, 3] = X[:, :, 0, 2, 3]
    assert torch.equal(out, X[:, :, :1].expand_as(X))


@pytest.mark.parametrize(("share", "steps"), [(0.0, 0), (0.5, 2), (0.6, 3), (1.0, 4)])
def test_only_the_first_steps_are_warped(share: float, steps: int) -> None:
    warped = []
    for index in range(4):
        step = Step(index=index, total=4, sigma=4.0 - index, sigma_next=3.0 - index)
        warped.append(not torch.equal(hook(1, True, share).before(X, step), X))
    assert warped == [True] * steps + [False] * (4 - steps)


def test_time_and_step_are_untouched() -> None:
    time = torch.tensor([3.0, 3.0])
    assert hook(1, True).time(time, EARLY) is time
    assert hook(1, True).after(X, 2 * X, EARLY).equal(2 * X)


def test_flows_must_be_those_of_the_clip() -> None:
    long = torch.cat([X, X], 2)
    out = hook(0, True).before(X, EARLY)
    assert out.shape == X.shape
    with pytest.raises(AssertionError, match="flows of 3 frames"):
        hook(0, True).before(long, EARLY)
