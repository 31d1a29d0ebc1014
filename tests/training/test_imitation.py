"""Imitation: which step is compared with which, what counts, and that a small policy learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinema.networks.patch_decoder import normalized, to_patches
from kinema.noise import Noise
from kinema.prediction import Prediction
from kinema.training.imitation import (
    FramePrediction,
    Imitation,
    ImitationWeights,
    frames_ahead,
    over_steps,
)

NOISE = Noise(0, (0, 1))
STEPS, SIZE = 5, 4
BATCH: dict[str, Any] = {
    "image": NOISE.normal((2, STEPS, 3, 8, 8), "image"),
    "wrist": NOISE.normal((2, STEPS, 3, 8, 8), "wrist"),
    "motion": NOISE.normal((2, STEPS, 2), "motion"),
    "opens": (NOISE.normal((2, STEPS), "opens") > 0).float(),
    "real": torch.tensor([[True] * 5, [True] * 3 + [False] * 2]),
}
WEIGHTS = ImitationWeights(arm=2.0, gripper=0.5, frames=0.25)


def true(camera: str) -> Tensor:
    return normalized(to_patches(BATCH[camera], SIZE)).x


def perfect(ahead: int) -> Prediction:
    """What an oracle says: frames `ahead` of each step, where the window holds them."""
    frames = {camera: true(camera).roll(-ahead, 1) for camera in ("image", "wrist")}
    logit = 100 * (2 * BATCH["opens"] - 1)
    return Prediction(torch.cat([BATCH["motion"], logit[..., None]], -1), frames)


def imitation(prediction: Prediction, ahead: int = 2) -> Imitation:
    return Imitation(
        {"policy": nn.Linear(1, 1)},
        trained=["policy"],
        predict=lambda batch: prediction,
        weights=WEIGHTS,
        ahead=ahead,
        patch_size=SIZE,
    )


def loss_of(prediction: Prediction, **batch: Tensor) -> tuple[float, dict[str, float]]:
    loss, logs = imitation(prediction).loss("policy", {**BATCH, **batch}, 0, NOISE)
    return float(loss), {name: float(value) for name, value in logs.items()}


@pytest.mark.parametrize("ahead", [1, 2, 4])
def test_frames_are_compared_with_those_ahead(ahead: int) -> None:
    images, real = BATCH["image"], torch.ones(2, STEPS, dtype=torch.bool)
    said = true("image").roll(-ahead, 1)
    assert frames_ahead(said, images, real, ahead=ahead, size=SIZE) == 0
    # The last ones have no target: what is said there does not count.
    said[:, -ahead:] += 9
    assert frames_ahead(said, images, real, ahead=ahead, size=SIZE) == 0
    said[:, 0] += 1
    error = frames_ahead(said, images, real, ahead=ahead, size=SIZE)
    torch.testing.assert_close(error, torch.tensor(1 / (STEPS - ahead)))


def test_a_frame_beyond_the_window_is_asked_for_by_nobody() -> None:
    with pytest.raises(AssertionError, match="beyond"):
        frames_ahead(true("image"), BATCH["image"], BATCH["real"], ahead=STEPS, size=SIZE)


def test_rows_count_alike_however_many_steps_they_have() -> None:
    error = torch.ones(2, STEPS, 3)
    error[1] = 3
    torch.testing.assert_close(over_steps(error, BATCH["real"]), torch.tensor(2.0))
    error[1, 3:] = 100
    torch.testing.assert_close(over_steps(error, BATCH["real"]), torch.tensor(2.0))
    nothing = torch.zeros(2, STEPS, dtype=torch.bool)
    assert over_steps(error, nothing) == 0


def test_an_oracle_has_no_loss() -> None:
    loss, logs = loss_of(perfect(2))
    assert loss == pytest.approx(0, abs=1e-9)
    assert logs.keys() == {"loss", "arm", "gripper", "frames"}
    assert loss_of(perfect(1))[1]["frames"] > 0.5


def test_the_terms_are_those_of_the_paper() -> None:
    drawn = NOISE.normal((2, STEPS, 3), "action")
    said = Prediction(drawn, perfect(2).aux)
    loss, logs = loss_of(said, real=torch.ones(2, STEPS, dtype=torch.bool))
    arm = F.smooth_l1_loss(drawn[..., :2], BATCH["motion"])
    gripper = F.binary_cross_entropy(drawn[..., 2].sigmoid(), BATCH["opens"])
    assert logs["arm"] == pytest.approx(float(arm), rel=1e-5)
    assert logs["gripper"] == pytest.approx(float(gripper), rel=1e-5)
    assert logs["frames"] == 0
    assert loss == pytest.approx(2 * float(arm) + 0.5 * float(gripper), rel=1e-5)


def test_both_cameras_count_half() -> None:
    aux = perfect(2).aux
    said = Prediction(perfect(2).value, {"image": aux["image"] + 1, "wrist": aux["wrist"]})
    assert loss_of(said)[1]["frames"] == pytest.approx(0.5, rel=1e-5)


def test_steps_that_are_not_there_do_not_count() -> None:
    said = perfect(2)
    said.value[1, 3:] += 5
    said.aux["image"][1, 1:] += 5  # their targets are steps 3 and on
    assert loss_of(said)[0] == pytest.approx(0, abs=1e-6)
    said.value[1, 2] += 5
    assert loss_of(said)[0] > 1


def test_held_out_numbers_know_who_says_nothing() -> None:
    logs = imitation(perfect(2)).held_out(BATCH, NOISE)
    assert float(logs["loss"]) == pytest.approx(0, abs=1e-6)
    arm = over_steps(
        F.smooth_l1_loss(0 * BATCH["motion"], BATCH["motion"], reduction="none"), BATCH["real"]
    )
    frames = torch.stack(
        [over_steps(true(c)[:, 2:].square(), BATCH["real"][:, 2:]) for c in ("image", "wrist")]
    ).mean()
    expected = 2 * arm + 0.5 * torch.tensor(2.0).log() + 0.25 * frames
    torch.testing.assert_close(logs["trivial"], expected)


def test_films_have_frames_alone() -> None:
    def objective(patches: Tensor) -> FramePrediction:
        return FramePrediction(
            {"policy": nn.Linear(1, 1), "image": nn.Linear(1, 1)},
            trained=["policy"],
            predict=lambda batch: Prediction(patches, {}),
            ahead=1,
            patch_size=SIZE,
        )

    film = {name: BATCH[name] for name in ("image", "real")}
    oracle = objective(true("image").roll(-1, 1))
    assert list(oracle.trained("video")) == ["networks.policy.weight", "networks.policy.bias"]
    loss, logs = oracle.loss("video", film, 0, NOISE)
    assert loss == logs["loss"] == 0
    logs = objective(true("image")).held_out(film, NOISE)
    torch.testing.assert_close(logs["loss"], logs["still"])
    assert 0.8 < float(logs["trivial"]) < 1.1
    assert float(logs["still"]) > 1


def test_a_linear_policy_learns_what_it_is_shown() -> None:
    network = nn.Linear(3 * 8 * 8, 3)

    def predict(batch: Any) -> Prediction:
        frames = {camera: true(camera) for camera in ("image", "wrist")}
        return Prediction(network(batch["image"].flatten(2)), frames)

    objective = Imitation(
        {"policy": network},
        trained=["policy"],
        predict=predict,
        weights=WEIGHTS,
        ahead=1,
        patch_size=SIZE,
    )
    optimizer = torch.optim.Adam(objective.trained("policy").values(), lr=1e-2)
    first = None
    for _ in range(60):
        loss, logs = objective.loss("policy", BATCH, 0, NOISE)
        first = first or {name: float(value) for name, value in logs.items()}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name in ("arm", "gripper"):
        assert float(logs[name]) < 0.1 * first[name]
