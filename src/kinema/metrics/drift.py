"""What changes in a long clip: color, contrast, sharpness, identity, repetition, seams.

Instruments, not published scores (our own design): each is a curve over the frames of one clip,
and `summary` makes one number of each. A clip that keeps its look has level curves; what moves in
it may move them too, so they are read beside those of real clips.

Letters: T frames, H height, W width, D features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.metrics.fidelity import luma

INSTRUMENTS = ("color", "contrast", "sharpness", "identity", "repetition", "seam")
FEWEST_FRAMES = 10  # so that a tenth is a frame
APART = 8  # frames: nearer ones look alike in any clip
AROUND = 4  # frames to either side, to which a step is compared
CELLS = 2**20  # pairs of frames that are compared at once, for memory
STILL = 1e-4  # mean change of levels in [0, 1] that counts as none


def curves(frames: Tensor, features: Tensor) -> Tensor:
    """All instruments in the order of `INSTRUMENTS`, (6, T) float64.

    Args:
        frames: (T, 3, H, W) in [0, 1].
        features: of the frames, (T, D); what identity and repetition rest on.
    """
    x = frames.double()
    return torch.stack(
        [
            color(x),
            contrast(x),
            sharpness(x),
            identity(features),
            repetition(features),
            seams(x),
        ]
    )


def color(frames: Tensor) -> Tensor:
    """How far the mean color is from that of the first frame: (T,) in [0, sqrt 3]."""
    means = frames.mean((2, 3))
    return (means - means[0]).norm(dim=1)


def contrast(frames: Tensor) -> Tensor:
    """Deviation of the luma (BT.601) over the pixels of each frame: (T,), at most 0.5."""
    return luma(255 * frames).flatten(1).std(1, unbiased=False) / 255


def sharpness(frames: Tensor) -> Tensor:
    """Mean absolute Laplacian of the luma of each frame: (T,)."""
    gray = luma(255 * frames) / 255
    laplacian = gray.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return F.conv2d(gray, laplacian).abs().mean((1, 2, 3))


def identity(features: Tensor) -> Tensor:
    """Cosine of each frame's features (T, D) and the first frame's: (T,)."""
    x = _unit(features)
    return x @ x[0]


def repetition(features: Tensor) -> Tensor:
    """Largest cosine of each frame and one at least 8 frames before it: (T,).

    It is 0 where there is none, and goes up where a clip shows again what it has shown.
    """
    x = _unit(features)
    number = torch.arange(len(x), device=x.device)
    found = torch.zeros_like(x[:, 0])  # whole: small tensors between large ones would keep those
    for rows in number.split(max(1, CELLS // len(x))):
        far = rows[:, None] - number >= APART
        similar = (x[rows] @ x.T).masked_fill_(~far, -1).amax(1)
        found[rows] = torch.where(far.any(1), similar, found[rows])
    return found


def seams(frames: Tensor) -> Tensor:
    """Each step's mean change over the median change of the steps around it: (T,), the first 1.

    About 1 in one piece; a peak where windows of a rollout, or shots, were joined.
    """
    steps = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3)) + STILL
    ratios = [steps.new_ones(())]
    for t in range(len(steps)):
        around = torch.cat([steps[max(0, t - AROUND) : t], steps[t + 1 : t + 1 + AROUND]])
        ratios.append(steps[t] / around.median())
    return torch.stack(ratios)


def summary(curves: Tensor) -> Tensor:
    """One number of each curve (..., 6, T) -> (..., 6): the last tenth less the first.

    Of the seams it is the highest peak, of repetition the mean of the last tenth.
    """
    tenth = curves.shape[-1] // 10
    first, last = curves[..., :tenth].mean(-1), curves[..., -tenth:].mean(-1)
    found = last - first
    found[..., INSTRUMENTS.index("repetition")] = last[..., INSTRUMENTS.index("repetition")]
    found[..., INSTRUMENTS.index("seam")] = curves.amax(-1)[..., INSTRUMENTS.index("seam")]
    return found


def _unit(x: Tensor) -> Tensor:
    x = x.double()
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)
