"""What GR-1 is told of images and of its arm; see `gr1.py`.

Letters: L steps, S side of an image, A numbers of the arm.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.media.pixels import resize

# Of the images that MAE and the published policy were trained on.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(frames: np.ndarray, side: int) -> Tensor:
    """Frames (..., H, W, 3) uint8 -> (..., 3, S, S), resized and normalized as MAE's."""
    if frames.shape[-3:-1] != (side, side):
        flat = [resize(frame, side, side) for frame in frames.reshape(-1, *frames.shape[-3:])]
        frames = np.stack(flat).reshape(*frames.shape[:-3], side, side, 3)
    x = torch.from_numpy(np.ascontiguousarray(frames)).float() / 255
    return ((x - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).movedim(-1, -3)


def pixels(images: Tensor) -> Tensor:
    """Normalized images (..., L, 3, S, S) as clips (..., 3, L, S, S) in [-1, 1]."""
    x = images.movedim(-3, -1) * torch.tensor(DEVIATION) + torch.tensor(MEAN)
    return (2 * x - 1).movedim(-1, -4)


def wide(arm: Tensor, width: int) -> Tensor:
    """The robot's numbers of the arm (..., 2) -> (..., A), behind them zeros."""
    return F.pad(arm, (0, width - arm.shape[-1]))


def felt(arm: Tensor, is_open: Tensor, width: int) -> dict[str, Tensor]:
    """States: arm (..., 2) -> (..., A), whether it is open (...) -> one-hot (..., 2)."""
    return {"arm": wide(arm, width), "gripper": F.one_hot(is_open.long(), 2).float()}
