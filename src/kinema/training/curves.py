"""The objective of curves that follow a video: the mean squared error of every second.

Source: Video2Music (arXiv 2311.00968), note density and loudness; verified against the authors'
training script. They drop features by torch's dropout, here the mask is keyed noise.

Letters: B batch, T seconds of video, F features, C curves.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kinema.condition import Conditions, Tokens
from kinema.networks.bigru_regressor import BiGRURegressor
from kinema.noise import Noise
from kinema.training.objective import Batch, Logs, Objective


class CurveObjective(Objective):
    """One player, ``curves``.

    A batch holds ``features`` (B, T, F) and ``curves`` (B, T, C).

    Args:
        network: the regressor.
        names: of the curves.
        feature_drop: share of the features that are set to 0 in training.
    """

    equal_calls = True

    def __init__(
        self, network: BiGRURegressor, *, names: tuple[str, ...], feature_drop: float
    ) -> None:
        super().__init__()
        self.network, self.names, self.feature_drop = network, names, feature_drop
        self.players = {"curves": ("network.*",)}

    def loss(self, player: str, batch: Batch, step: int, noise: Noise) -> tuple[Tensor, Logs]:
        """The error, with some of the features dropped."""
        features = batch["features"].to(self.network.bifc.weight)
        kept = noise.uniform(features.shape, "dropped features").to(features) >= self.feature_drop
        predicted = self._predict(features * kept / (1 - self.feature_drop))
        loss = F.mse_loss(predicted, batch["curves"].to(predicted))
        return loss, {"loss": loss.detach()}

    def held_out(self, batch: Batch, noise: Noise) -> Logs:
        """The error and that of the mean of each curve; their roots for each curve."""
        predicted = self._predict(batch["features"].to(self.network.bifc.weight))
        truth = batch["curves"].to(predicted)
        error = (predicted - truth).square().mean((0, 1))
        spread = truth.var((0, 1), correction=0)
        logs = {"loss": error.mean(), "trivial": spread.mean()}
        for number, name in enumerate(self.names):
            logs[f"rmse/{name}"] = error[number].sqrt()
            logs[f"rmse/{name} by its mean"] = spread[number].sqrt()
        return logs

    def _predict(self, features: Tensor) -> Tensor:
        return self.network(Conditions({"video": Tokens(x=features)})).float()
