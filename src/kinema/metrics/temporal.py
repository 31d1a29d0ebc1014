"""How clips move: tOF, tLP, warping error, dynamic degree.

tOF and tLP: TecoGAN (arXiv 1811.09393, sec. 4.3); code github.com/thunil/TecoGAN (Apache-2.0).
Warping error: Lai et al. (arXiv 1808.00449, sec. 4.2); code
github.com/phoenix104104/fast_blind_video_consistency (MIT). Verified by recorded cases: flow, tOF,
occlusion, warping and its error.

Letters: T frames, C channels, H height, W width. A flow (T - 1, 2, H, W) leads from each frame to
the next, x first, in pixels.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kinema.nn.flow import ABSOLUTE, RELATIVE, warp

BOUNDARY_RELATIVE, BOUNDARY_ABSOLUTE = 0.01, 0.002  # of squared lengths, for borders of motion
CUT, CELL, MARGIN = 2, 32, 16  # what TecoGAN leaves out: frames at either end and a border


def tof(flow: Tensor, target_flow: Tensor) -> Tensor:
    """tOF of each pair of frames (T - 1,): the mean length of what the flows differ by."""
    return (flow.double() - target_flow.double()).norm(dim=1).mean((1, 2))


def dynamic_degree(flow: Tensor) -> Tensor:
    """The mean length of the flow of each pair of frames (T - 1,), in pixels."""
    return flow.double().norm(dim=1).mean((1, 2))


def tlp(distance: Tensor, target_distance: Tensor) -> Tensor:
    """tLP of each pair of frames (T - 1,), times 100 as in the published tables.

    Args:
        distance: LPIPS (AlexNet) of each frame of the output to the next, (T - 1,).
        target_distance: the same of the target.
    """
    return 100 * (distance.double() - target_distance.double()).abs()


def warping_error(frames: Tensor, flow: Tensor, back: Tensor) -> Tensor:
    """Mean squared difference of each frame and the next warped to it, (T - 1,), where it is seen.

    A pair of which nothing is seen gives 0.

    Args:
        frames: (T, C, H, W), those of tables in [0, 1].
        flow: from each frame to the next, of the source clip where there is one.
        back: from each next frame back, the same shape.
    """
    seen = ~occluded(flow, back)[:, None]
    squared = (warp(frames[1:], flow, "bilinear").double() - frames[:-1].double()).square()
    pixels = seen.sum((1, 2, 3)).clamp(min=1) * frames.shape[1]
    return (squared * seen).sum((1, 2, 3)) / pixels


def occluded(flow: Tensor, back: Tensor) -> Tensor:
    """Which pixels of each frame are hidden in the next or on a border of motion; (T - 1, H, W).

    Hidden is what the flow back does not bring home, a border where the flow changes abruptly
    (Sundaram, Brox and Keutzer, ECCV 2010, eqs. 5 and 6).
    """
    returned = warp(back, flow, "bilinear")
    length = flow.square().sum(1)
    hidden = (flow + returned).square().sum(1) > (
        RELATIVE * (length + returned.square().sum(1)) + ABSOLUTE
    )
    down = F.pad(flow.diff(dim=2), (0, 0, 0, 1)).square().sum(1)
    right = F.pad(flow.diff(dim=3), (0, 1)).square().sum(1)
    return hidden | (down + right > BOUNDARY_RELATIVE * length + BOUNDARY_ABSOLUTE)


def tecogan_crop(x: Tensor) -> Tensor:
    """The middle (..., H', W') that TecoGAN's evaluation looks at, of frames and of their flow.

    Its sides are multiples of 32 and leave a margin of 16 pixels in all at least.
    """
    height, width = (CELL * ((side - MARGIN) // CELL) for side in x.shape[-2:])
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


def pairs(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Each frame and the next."""
    assert len(frames) > 1, "a single frame has no next"
    return frames[:-1], frames[1:]
