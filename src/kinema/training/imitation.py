"""Objectives of policies that also predict what they will see.

Source: GR-1 (arXiv 2312.13139), section 3.3: smooth L1 of the motion of the arm, binary
cross-entropy of the gripper, mean squared error of the normalized patches of frames some steps
ahead. That the targets are shifted, and not the inputs, is the authors' code's.

Letters: B batch, L steps, A numbers of the arm, P patches, C values of a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.config import config
from kinema.networks.patch_decoder import normalized, to_patches
from kinema.noise import Noise
from kinema.prediction import Prediction
from kinema.training.objective import Batch, Logs, Objective

Predict = Callable[[Batch], Prediction]
"""Every step of a batch: of a film ``image`` patches (B, L, P, C); of a demonstration the action
(B, L, A + 1), the gripper's logit last, and as `aux` the patches of ``image`` and ``wrist``."""


@config
class ImitationWeights:
    """How much each term counts: motion of the arm, gripper, frames."""

    arm: float
    gripper: float
    frames: float


def over_steps(error: Tensor, real: Tensor) -> Tensor:
    """The mean of errors (B, L, ...) over the real steps (B, L) of each row, then over rows."""
    weight = real.to(error.dtype)
    each = (error.flatten(2).mean(2) * weight).sum(1) / weight.sum(1).clamp(min=1)
    return each.mean()


def frames_ahead(patches: Tensor, images: Tensor, real: Tensor, *, ahead: int, size: int) -> Tensor:
    """Mean squared error of patches (B, L, P, C) predicted at each step for `ahead` steps later.

    Args:
        patches: normalized, as predicted.
        images: (B, L, 3, H, W), what was seen; the last `ahead` predictions have no target here.
        real: (B, L) bool, the steps that are there.
        ahead: steps between a frame and the one that is predicted from it, less than L.
        size: of a patch in pixels.
    """
    assert 0 < ahead < images.shape[1], "a window must reach beyond the frames that are predicted"
    target = normalized(to_patches(images[:, ahead:], size)).x
    return over_steps((patches[:, :-ahead] - target).square(), real[:, ahead:])


class FramePrediction(Objective):
    """One player, ``video``, that learns from films without actions.

    A batch holds ``image`` (B, L, 3, H, W) and ``real`` (B, L).

    Args:
        networks: {role: network}.
        trained: the roles that change.
        predict: the network's frames.
        ahead, patch_size: see `frames_ahead`.
    """

    equal_calls = True

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        *,
        trained: Sequence[str],
        predict: Predict,
        ahead: int,
        patch_size: int,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))
        self.predict, self.ahead, self.patch_size = predict, ahead, patch_size
        self.players = {"video": tuple(f"networks.{role}.*" for role in trained)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The error of the frames to come."""
        loss = self._error(self.predict(batch).value, batch)
        return loss, {"loss": loss.detach()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """The loss, that of gray patches, and that of a film that stands still."""
        patches = self.predict(batch).value
        still = normalized(to_patches(batch["image"].to(patches.device), self.patch_size)).x
        return {
            "loss": self._error(patches, batch),
            "trivial": self._error(torch.zeros_like(patches), batch),
            "still": self._error(still, batch),
        }

    def _error(self, patches: Tensor, batch: Batch) -> Tensor:
        images, real = (batch[name].to(patches.device) for name in ("image", "real"))
        return frames_ahead(patches, images, real, ahead=self.ahead, size=self.patch_size)


class Imitation(Objective):
    """One player, ``policy``, that learns from demonstrations.

    A batch holds ``image`` and ``wrist`` (B, L, 3, H, W), ``motion`` (B, L, A), ``opens`` (B, L)
    in {0, 1} and ``real`` (B, L).

    Args:
        networks: {role: network}.
        trained: the roles that change.
        predict: the network's actions and frames.
        weights: of the terms.
        ahead, patch_size: see `frames_ahead`.
    """

    equal_calls = True

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        *,
        trained: Sequence[str],
        predict: Predict,
        weights: ImitationWeights,
        ahead: int,
        patch_size: int,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))
        self.predict, self.weights = predict, weights
        self.ahead, self.patch_size = ahead, patch_size
        self.players = {"policy": tuple(f"networks.{role}.*" for role in trained)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The weighted sum of the terms."""
        loss, logs = self._terms(self.predict(batch), batch)
        return loss, {name: value.detach() for name, value in logs.items()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """The terms, and the loss of a policy that always says 0."""
        prediction = self.predict(batch)
        zeros = {name: torch.zeros_like(value) for name, value in prediction.aux.items()}
        zero = Prediction(torch.zeros_like(prediction.value), zeros)
        return {**self._terms(prediction, batch)[1], "trivial": self._terms(zero, batch)[0]}

    def _terms(self, prediction: Prediction, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        given = {name: batch[name].to(prediction.value.device) for name in ("motion", "opens")}
        real = batch["real"].to(prediction.value.device)
        motion, logit = prediction.value[..., :-1], prediction.value[..., -1]
        arm = F.smooth_l1_loss(motion, given["motion"], reduction="none")
        gripper = F.binary_cross_entropy_with_logits(logit, given["opens"], reduction="none")
        logs = {"arm": over_steps(arm, real), "gripper": over_steps(gripper[..., None], real)}
        shown = {"ahead": self.ahead, "size": self.patch_size}
        logs["frames"] = torch.stack(
            [
                frames_ahead(patches, batch[camera].to(real.device), real, **shown)
                for camera, patches in prediction.aux.items()
            ]
        ).mean()
        w = self.weights
        loss = w.arm * logs["arm"] + w.gripper * logs["gripper"] + w.frames * logs["frames"]
        return loss, {"loss": loss, **logs}
