"""What GR-1 is told of images and of its arm, and what it remembers of them; see `gr1.py`.

Letters: L steps, S side of an image, A numbers of the arm, P patches of an image, E and F widths of
the features of language and images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from kinema.media.pixels import resize
from kinema.networks.gr1 import Felt, GR1TransformerConfig, Seen, Target
from kinema.networks.vit import ImageFeatures

CAMERAS: tuple[Target, ...] = ("image", "wrist")


def images(frames: np.ndarray, side: int) -> Tensor:
    """Frames (..., H, W, 3) uint8 -> (..., 3, S, S), resized and normalized as MAE's."""
    if frames.shape[-3:-1] != (side, side):
        flat = [resize(frame, side, side) for frame in frames.reshape(-1, *frames.shape[-3:])]
        frames = np.stack(flat).reshape(*frames.shape[:-3], side, side, 3)
    x = torch.from_numpy(np.ascontiguousarray(frames)).float() / 255
    return ((x - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)).movedim(-1, -3)


def pixels(images: Tensor) -> Tensor:
    """Normalized images (..., L, 3, S, S) as clips (..., 3, L, S, S) in [-1, 1]."""
    x = images.movedim(-3, -1) * torch.tensor(IMAGENET_STD) + torch.tensor(IMAGENET_MEAN)
    return (2 * x - 1).movedim(-1, -4)


def wide(arm: Tensor, width: int) -> Tensor:
    """The robot's numbers of the arm (..., 2) -> (..., A), behind them zeros."""
    return F.pad(arm, (0, width - arm.shape[-1]))


def felt(arm: Tensor, is_open: Tensor, width: int) -> dict[str, Tensor]:
    """States: arm (..., 2) -> (..., A), whether it is open (...) -> one-hot (..., 2)."""
    return {"arm": wide(arm, width), "gripper": F.one_hot(is_open.long(), 2).float()}


def observed(
    observation: Mapping[str, Any], sizes: GR1TransformerConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """What `TabletopEnv` lets see: images (2, 3, S, S) of both cameras, the state as of `felt`."""
    cameras = torch.stack([images(observation[name], sizes.image_size) for name in CAMERAS])
    arm = torch.as_tensor(observation["arm"], dtype=torch.float32)
    return cameras, felt(arm, torch.tensor(int(observation["gripper"])), sizes.arm_width)


class Memory:
    """The latest steps of an episode, as the policy reads them.

    Args:
        language: features of the instruction (1, E).
        max_steps: how many steps are kept.
    """

    def __init__(self, language: Tensor, max_steps: int) -> None:
        self.language = language
        self._looks: deque[ImageFeatures] = deque(maxlen=max_steps)
        self._states: deque[Mapping[str, Tensor]] = deque(maxlen=max_steps)

    def add(self, look: ImageFeatures, state: Mapping[str, Tensor]) -> None:
        """Keeps features of both cameras, (2, F) and (2, P, F), and a state as of `felt`."""
        self._looks.append(look)
        self._states.append(state)

    def seen(self) -> Seen:
        """The window, a batch of one, that ends in the latest step."""
        summary = torch.stack([look.summary for look in self._looks], 1)  # (2, L, F)
        patches = torch.stack([look.patches for look in self._looks], 1)
        image, wrist = (ImageFeatures(summary[i : i + 1], patches[i : i + 1]) for i in range(2))
        arm, gripper = (
            torch.stack([state[name] for state in self._states])[None].to(self.language.device)
            for name in ("arm", "gripper")
        )
        real = torch.ones(arm.shape[:2], dtype=torch.bool, device=arm.device)
        felt = Felt(arm=arm, gripper=gripper)
        return Seen(language=self.language, image=image, wrist=wrist, felt=felt, real=real)
