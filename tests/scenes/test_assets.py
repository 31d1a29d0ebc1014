"""Assets: surfaces without holes, a figure that bends at its joints and moves in cycles."""

from __future__ import annotations

import pytest
import torch

from kinema.scenes.assets import JOINTS, MOTIONS, NAMES, figure, posed, rectangle, swung
from kinema.scenes.cameras import look_at
from kinema.scenes.splatting import splat

SKIN = figure((1.0, 0.0, 0.0))


def limb(joint: str) -> torch.Tensor:
    """The Gaussians that follow a joint more than any other."""
    return SKIN.weights.argmax(1) == NAMES.index(joint)


def test_a_surface_has_no_holes() -> None:
    wall = rectangle((-2.0, -2.0, 0.0), (4.0, 0.0, 0.0), (0.0, 4.0, 0.0), 0.5, (1.0, 1.0, 1.0))
    drawn = splat(wall, look_at((0.0, 0.0, 3.0), (0.0, 0.0, 0.0), 1.2), height=32, width=32)
    assert len(wall) == 64
    assert drawn.opacity.min() > 0.93


def test_a_chessboard_has_two_colors_in_turn() -> None:
    black, white = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    board = rectangle((0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (0.0, 0.0, 2.0), 1.0, black, white)
    assert board.colors[:, 0].tolist() == [0.0, 1.0, 1.0, 0.0]


def test_the_figure_is_a_meter_tall_and_looks_along_z() -> None:
    heights = SKIN.rest.means[:, 1]
    deviations = SKIN.rest.log_scales[:, 1].exp()
    assert (heights + deviations).max() == pytest.approx(1.0, abs=0.05)
    assert 0 < (heights - deviations).min() < 0.1
    assert torch.allclose(SKIN.weights.sum(1), torch.ones(len(SKIN.rest)))
    face, back = SKIN.rest.means[-1], SKIN.rest.means[-3]
    assert face[2] > back[2]


def test_a_carrier_comes_before_what_it_carries() -> None:
    for i, (_, carrier) in enumerate(JOINTS.values()):
        assert not carrier or NAMES.index(carrier) < i


def test_without_turns_the_figure_rests() -> None:
    still = posed(SKIN, {}, 0.0)
    assert torch.allclose(still.means, SKIN.rest.means, atol=1e-6)
    assert torch.allclose(still.covariances(), SKIN.rest.covariances(), atol=1e-7)
    lifted = posed(SKIN, {}, 0.3)
    assert torch.allclose(lifted.means - still.means, torch.tensor([0.0, 0.3, 0.0]), atol=1e-6)


def test_a_knee_moves_what_is_below_it_and_nothing_else() -> None:
    bent = posed(SKIN, {"left knee": swung(-1.2)}, 0.0)
    moved = (bent.means - SKIN.rest.means).norm(dim=1) > 1e-6
    below = limb("left knee")
    assert moved.any()
    assert below[moved].all()
    # Backwards, and a Gaussian wholly below keeps its distance to the joint.
    assert (bent.means[below][:, 2] < SKIN.rest.means[below][:, 2]).all()
    joint = torch.tensor(JOINTS["left knee"][0])
    whole = SKIN.weights[:, NAMES.index("left knee")] == 1
    distances = [(means[whole] - joint).norm(dim=1) for means in (bent.means, SKIN.rest.means)]
    assert whole.sum() >= 3
    assert torch.allclose(*distances, atol=1e-6)


def test_a_hip_takes_the_knee_along() -> None:
    raised = posed(SKIN, {"right hip": swung(1.5)}, 0.0)
    shin = limb("right knee")
    assert (raised.means[shin][:, 2] > 0.15).all()


@pytest.mark.parametrize("name", MOTIONS)
def test_motions_are_cycles(name: str) -> None:
    first, middle, last = (posed(SKIN, *MOTIONS[name](p)).means for p in (0.0, 0.3, 1.0))
    assert torch.allclose(first, last, atol=1e-5)
    assert (middle - first).abs().max() > 0.005


def test_jumping_leaves_the_floor_and_waving_raises_the_right_hand() -> None:
    up = posed(SKIN, *MOTIONS["jumps"](0.5)).means
    assert up[:, 1].min() > 0.15
    wave = posed(SKIN, *MOTIONS["waves"](0.0)).means
    hand = limb("right elbow")
    assert wave[hand][:, 1].max() > 0.95
    assert (wave[hand][:, 0] < 0).all()
    assert wave[limb("left elbow")][:, 1].max() < 0.65
