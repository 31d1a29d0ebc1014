"""Adapters for the recorded cases of STREAM: from features to scores."""

from __future__ import annotations

from torch import Tensor

from kinema.errors import InputError
from kinema.metrics.stream import signals, stream
from kinema.parity.case import Case
from kinema.parity.runner import Adapter

K = 5  # fixed in the authors' code


def scores(case: Case) -> dict[str, Tensor]:
    """Skewness and mean signal of both sets, and T, F and D."""
    case.check_inputs("real", "fake", optional=())
    case.check_config("num_frame", "num_embed", optional=())
    expected = (case.config["num_frame"], case.config["num_embed"])
    for name, features in case.inputs.items():
        if features.shape[1:] != expected:
            raise InputError(f"the input {name} must be (N, {expected[0]}, {expected[1]})")
    real, fake = (signals(case.inputs[name], variant="code") for name in ("real", "fake"))
    found = stream(real, fake, k=K)
    return {
        "out.skew_real": real.skew,
        "out.mean_real": real.mean,
        "out.skew_fake": fake.skew,
        "out.mean_fake": fake.mean,
        "out.stream_T": real.skew.new_tensor(found.temporal),
        "out.stream_F": real.skew.new_tensor(found.fidelity),
        "out.stream_D": real.skew.new_tensor(found.diversity),
    }


ADAPTERS: dict[str, Adapter] = {"scores": scores}
