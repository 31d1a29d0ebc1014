"""Optical flow for scores: Farneback's polynomial expansion (SCIA 2003), as OpenCV computes it.

Published scores name it (tOF) or a trained network (warping error: FlowNet2, dynamic degree: RAFT).
Where it stands for a network, the passport says so.

Letters: T frames, H height, W width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kinema.errors import InputError

NAME = "Farneback flow (OpenCV)"


def farneback(frames: Tensor, others: Tensor) -> Tensor:
    """The flow from each frame to the other of its number, (T, 2, H, W) float32, x first.

    With the settings of TecoGAN's evaluation.

    Args:
        frames: (T, 3, H, W) uint8 RGB.
        others: the same shape.

    Raises:
        InputError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise InputError(
            "optical flow needs OpenCV, which is missing; pip install 'kinema[score]'"
        ) from error

    def gray(x: Tensor) -> np.ndarray:
        pixels = np.ascontiguousarray(x.cpu().numpy().transpose(1, 2, 0))
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))

    flows = [
        cv2.calcOpticalFlowFarneback(
            gray(a),
            gray(b),
            np.zeros((*a.shape[1:], 2), np.float32),  # the result; no flow to start from
            pyr_scale=0.5,
            levels=3,
            winsize=15,
            iterations=3,
            poly_n=5,
            poly_sigma=1.2,
            flags=0,
        )
        for a, b in zip(frames, others)
    ]
    return torch.from_numpy(np.stack([np.asarray(flow) for flow in flows])).movedim(-1, 1)
