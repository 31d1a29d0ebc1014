"""Pinhole cameras and their paths.

In the world y is up; things that look at the viewer look along +z. In the view of a camera x is to
the right, y down, and z the distance along the line of sight. Pixels are (x, y), the middle of the
first one at (0.5, 0.5). A focal length is in heights of the picture, so that a camera serves
pictures of any size.

Letters: N points, T poses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

CameraPath = Literal["static", "orbit", "dolly", "pan"]
PATHS: tuple[CameraPath, ...] = get_args(CameraPath)
Point = tuple[float, float, float]
UP: Point = (0.0, 1.0, 0.0)


@dataclass(frozen=True, eq=False)
class Camera:
    """One pose.

    Args:
        rotation: (3, 3), from the world to the view; its rows are right, down and forward.
        eye: (3,), where the camera stands, in meters.
        focal: in heights of the picture.
    """

    rotation: Tensor
    eye: Tensor
    focal: float

    def to(self, device: torch.device | str) -> Camera:
        """The camera on a device."""
        return Camera(self.rotation.to(device), self.eye.to(device), self.focal)

    def view(self, points: Tensor) -> Tensor:
        """World (..., 3) -> view (..., 3)."""
        return (points - self.eye) @ self.rotation.mT

    def project(self, points: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """World (..., 3) -> pixels (..., 2) and depths (...), negative behind the camera."""
        seen = self.view(points)
        depth = seen[..., 2]
        center = torch.tensor([width / 2, height / 2], device=points.device)
        return self.focal * height * seen[..., :2] / depth[..., None] + center, depth

    def lift(self, pixels: Tensor, depth: Tensor, height: int, width: int) -> Tensor:
        """Pixels (..., 2) at depths (...) -> world (..., 3): R^-1 K^-1 [p D(p)] (section 3.2)."""
        center = torch.tensor([width / 2, height / 2], device=pixels.device)
        rays = F.pad((pixels - center) / (self.focal * height), (0, 1), value=1.0)
        return (rays * depth[..., None]) @ self.rotation + self.eye


def look_at(eye: Sequence[float], target: Sequence[float], focal: float) -> Camera:
    """The upright camera at `eye` that sees `target` in the middle of its picture.

    It must not look straight up or down.
    """
    place = torch.tensor(tuple(eye))
    forward = F.normalize(torch.tensor(tuple(target)) - place, dim=0)
    right = torch.linalg.cross(forward, torch.tensor(UP))
    assert right.norm() > 1e-6, "no camera looks straight up or down"
    right = F.normalize(right, dim=0)
    return Camera(torch.stack([right, torch.linalg.cross(forward, right), forward]), place, focal)


def poses(
    path: CameraPath, *, num_frames: int, degrees: float, eye: Point, target: Point, focal: float
) -> list[Camera]:
    """A way of the camera from `eye`, where it looks at `target`: T poses.

    Args:
        path: static stays; orbit goes around the target by `degrees`; pan turns to the right on the
            spot by as much; dolly goes towards the target for the share degrees / 90 of the way.
        num_frames: T; the first pose is always the one at `eye`.
        degrees: of the whole way; a dolly takes less than 90.
        eye, target, focal: of the first pose.
    """
    way = [degrees * frame / max(num_frames - 1, 1) for frame in range(num_frames)]
    start, middle = torch.tensor(eye), torch.tensor(target)
    if path == "static":
        return [look_at(eye, target, focal)] * num_frames
    if path == "orbit":
        places = [middle + turned(start - middle, angle) for angle in way]
        return [look_at(place.tolist(), target, focal) for place in places]
    if path == "pan":
        goals = [start + turned(middle - start, -angle) for angle in way]
        return [look_at(eye, goal.tolist(), focal) for goal in goals]
    assert degrees < 90, "a dolly stops before its target"
    return [look_at(torch.lerp(start, middle, a / 90).tolist(), target, focal) for a in way]


def turned(vector: Tensor, degrees: float) -> Tensor:
    """A vector (3,) turned around the vertical, from +z towards +x."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y, z = vector.unbind()
    return torch.stack([c * x + s * z, y, c * z - s * x])
