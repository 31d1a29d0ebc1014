"""The regressor of Video2Music (arXiv 2311.00968): note density and loudness.

Authors' code: github.com/AMAAI-Lab/Video2Music (MIT), ``VideoRegression`` with ``bigru``. Verified
against it: architecture, names of parameters. Different: the LSTMs and the one-way GRU that their
class builds beside it, and never runs, are left out; the dropout on its input in training is the
objective's.

Letters: B batch, T seconds of video, F features, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from torch import Tensor, nn

from kinema.condition import Conditions, Tokens
from kinema.config import config, from_dict
from kinema.networks.official import check_arguments
from kinema.nn.factory import Factory


@config
class BiGRURegressorConfig:
    """Layers, D (of each direction) and F."""

    num_layers: int
    width: int
    num_features: int


def bigru() -> BiGRURegressorConfig:
    """The published model: 398,082 parameters."""
    return BiGRURegressorConfig(num_layers=2, width=64, num_features=776)


SIZES = {"n_layers": "num_layers", "d_model": "width", "total_vf_dim": "num_features"}
FIXED = {"regModel": ("bigru",)}
IDLE = ("dropout", "max_sequence_video")  # of training alone; read by nothing


def from_official(official: Mapping[str, Any]) -> BiGRURegressorConfig:
    """Reads the constructor arguments of the authors' ``VideoRegression``.

    Raises:
        InputError: an argument is unknown or missing, or it asks for another kind of network.
    """
    needed = (*SIZES, "regModel")
    check_arguments("the regressor", official, needed=needed, optional=IDLE, fixed=FIXED)
    named = {ours: official[theirs] for theirs, ours in SIZES.items()}
    return from_dict(BiGRURegressorConfig, named, where="the regressor")


class BiGRURegressor(nn.Module):
    """Predicts two curves from the features of a video.

    Conditions: ``video``, Tokens (B, T, F).
    """

    def __init__(self, config: BiGRURegressorConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        self.bigru = nn.GRU(
            config.num_features,
            config.width,
            config.num_layers,
            batch_first=True,
            bidirectional=True,
            **factory,
        )
        self.bifc = nn.Linear(2 * config.width, 2, **factory)

    def forward(self, conditions: Conditions) -> Tensor:
        """Note density (notes a second, 0 to 40) and loudness (0 to 1): (B, T, 2)."""
        states, _ = self.bigru(conditions.of(Tokens, "video").x)
        return self.bifc(states)
