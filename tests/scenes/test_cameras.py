"""Cameras: what they see where, and that lifting undoes projecting."""

from __future__ import annotations

import math

import pytest
import torch

from kinema.noise import Noise
from kinema.scenes.cameras import PATHS, look_at, poses, turned

EYE, TARGET = (0.0, 1.6, 5.0), (0.0, 0.8, 0.0)


def test_a_camera_sees_right_and_up_as_a_person_does() -> None:
    camera = look_at((0.0, 0.0, 4.0), (0.0, 0.0, 0.0), 1.5)
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    pixels, depth = camera.project(points, 40, 60)
    assert torch.allclose(pixels[0], torch.tensor([30.0, 20.0]))
    assert torch.allclose(pixels[1], torch.tensor([30 + 1.5 * 40 / 4, 20.0]))
    assert torch.allclose(pixels[2], torch.tensor([30.0, 20 - 1.5 * 40 / 4]))
    assert torch.allclose(depth, torch.tensor([4.0, 4.0, 4.0, 2.0]))


def test_a_rotation_is_one() -> None:
    rotation = look_at((1.0, 2.0, 3.0), (-1.0, 0.5, 0.0), 1.0).rotation
    assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-6)
    assert torch.det(rotation) == pytest.approx(1.0, abs=1e-6)


def test_lifting_undoes_projecting() -> None:
    camera = look_at((1.0, 2.0, 4.0), (0.2, 0.5, -1.0), 1.3)
    points = Noise(0, (0,)).normal((1, 20, 3), "points")[0]
    pixels, depth = camera.project(points, 48, 64)
    assert depth.min() > 0
    assert torch.allclose(camera.lift(pixels, depth, 48, 64), points, atol=1e-5)


def test_every_path_begins_at_the_same_pose() -> None:
    first = look_at(EYE, TARGET, 1.2)
    for path in PATHS:
        way = poses(path, num_frames=5, degrees=30, eye=EYE, target=TARGET, focal=1.2)
        assert len(way) == 5
        assert torch.allclose(way[0].rotation, first.rotation, atol=1e-6), path
        assert torch.allclose(way[0].eye, first.eye, atol=1e-6), path


def test_paths_move_as_they_are_called() -> None:
    ends = {
        path: poses(path, num_frames=3, degrees=30, eye=EYE, target=TARGET, focal=1.2)[-1]
        for path in PATHS
    }
    eye, target = torch.tensor(EYE), torch.tensor(TARGET)
    assert torch.equal(ends["static"].eye, eye)
    assert torch.equal(ends["pan"].eye, eye)
    assert torch.allclose(ends["dolly"].eye, torch.lerp(eye, target, 1 / 3))
    # An orbit keeps its height and distance and sees its target in the middle.
    orbit = ends["orbit"]
    assert orbit.eye[1] == pytest.approx(EYE[1])
    assert (orbit.eye - target).norm() == pytest.approx(float((eye - target).norm()), rel=1e-5)
    assert orbit.eye[0] == pytest.approx(5 * math.sin(math.radians(30)), rel=1e-5)
    assert torch.allclose(orbit.project(target, 10, 10)[0], torch.tensor([5.0, 5.0]), atol=1e-4)
    # What was in the middle is on the left after a pan to the right.
    assert ends["pan"].project(target, 10, 10)[0][0] < 4


def test_turning_goes_from_z_towards_x() -> None:
    assert torch.allclose(
        turned(torch.tensor([0.0, 2.0, 1.0]), 90), torch.tensor([1.0, 2.0, 0.0]), atol=1e-6
    )


def test_nobody_looks_straight_down() -> None:
    with pytest.raises(AssertionError, match="straight"):
        look_at((0.0, 3.0, 0.0), (0.0, 0.0, 0.0), 1.0)
