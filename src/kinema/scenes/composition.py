"""Compositions: the assets of a plan in one scene, and the layout that says where they are.

After C3V (arXiv 2409.00558, section 3): boxes of the picture are lifted by the depth of the empty
scene; an object in the world is X_w = R s X + L; scale s and locations L may move within bounds,
and the heading R follows the locations. It is the paper's turn of the forward axis (0, 0, 1) into
the direction of the next step, for steps on the ground.

Letters: K objects, T frames, P boxes of a way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.errors import InputError
from kinema.scenes import assets
from kinema.scenes.cameras import Camera, Point, poses
from kinema.scenes.gaussians import Gaussians, about
from kinema.scenes.plan import Placed, Plan, PlannedCamera, PlannedObject
from kinema.scenes.splatting import Rendering, splat

EYE: Point = (0.0, 1.6, 5.0)
TARGET: Point = (0.0, 0.8, 0.0)
FOCAL = 1.2
LOOK = 96  # side of the picture that directors see and depths are read from
STILL = 0.01  # meters between two frames; who moves less keeps the heading
CYCLE = 8  # frames of one cycle of a motion


@dataclass(frozen=True, eq=False)
class Layout:
    """Where objects are.

    Args:
        heights: (K,), in meters; assets are one meter tall, so these are their scales.
        locations: (K, T, 3), where they stand in each frame.
    """

    heights: Tensor
    locations: Tensor

    def headings(self) -> Tensor:
        """Towards the next location, in radians from +z towards +x: (K, T).

        Who stands still keeps the last heading, at first that towards the viewer; the last frame
        has that of the one before. No gradient flows through them: they follow.
        """
        places = self.locations.detach()
        heading = places.new_zeros(len(places))
        found = []
        for step in places.diff(dim=1).unbind(1):
            towards = torch.atan2(step[:, 0], step[:, 2])
            heading = towards.where(step[:, ::2].norm(dim=1) > STILL, heading)
            found.append(heading)
        return torch.stack([*found, heading], 1)

    def moved(
        self, heights: Tensor, locations: Tensor, *, height_bound: float, location_bound: float
    ) -> Layout:
        """Changed by variables of any size, within bounds: S + sigmoid(S^) tau - tau / 2.

        Those that stand still all the time move as one.

        Args:
            heights: (K,), 0 changes nothing.
            locations: (K, T, 3), 0 changes nothing.
            height_bound: tau of the heights as a share of them, below 2.
            location_bound: tau of the locations in meters.
        """
        still = (self.locations == self.locations[:, :1]).all(1, keepdim=True).all(2, keepdim=True)
        locations = locations.mean(1, keepdim=True).expand_as(locations).where(still, locations)
        return Layout(
            self.heights * (1 + height_bound * (heights.sigmoid() - 0.5)),
            self.locations + location_bound * (locations.sigmoid() - 0.5),
        )

    @torch.no_grad()
    def errors(self, truth: Layout) -> dict[str, float]:
        """How far from the truth it is: mean ratio of heights (1 is right), meters, degrees."""
        ratio = (self.heights / truth.heights).log().abs().mean().exp()
        meters = (self.locations - truth.locations).norm(dim=-1).mean()
        turn = self.headings() - truth.headings()
        degrees = torch.atan2(turn.sin(), turn.cos()).abs().mean().rad2deg()
        return {"height ratio": float(ratio), "meters": float(meters), "degrees": float(degrees)}

    def placed(self) -> dict[int, Placed]:
        """The layout as a plan has it, by the number of the object."""
        return {
            k: Placed(height=float(height), locations=tuple((x, y, z) for x, y, z in places))
            for k, (height, places) in enumerate(zip(self.heights, self.locations.tolist()))
        }


class Composition:
    """What a plan needs, ready to be put together.

    Args:
        plan: what is in the scene.
        device: where to compose it.
    """

    def __init__(self, plan: Plan, *, device: torch.device | str) -> None:
        scene = assets.SCENES[plan.scene]()
        self.scene, self.sky = scene.gaussians.to(device), scene.sky.to(device)
        self.cameras = [camera.to(device) for camera in planned_poses(plan.camera)]
        self.actors = [
            [actor.to(device) for actor in acted(item, plan.camera.frames)] for item in plan.objects
        ]
        self.device = device

    def world(self, layout: Layout, frame: int) -> Gaussians:
        """The union of the scene and its objects in one frame."""
        turns = about(1, layout.headings()[:, frame])
        objects = [
            actor[frame].transformed(turns[k], layout.heights[k], layout.locations[k, frame])
            for k, actor in enumerate(self.actors)
        ]
        return Gaussians.union([self.scene, *objects])

    def picture(self, layout: Layout, frame: int, *, height: int, width: int) -> Tensor:
        """One frame of the film: (3, H, W) in [-1, 1]; differentiable in the layout."""
        world, camera = self.world(layout, frame), self.cameras[frame]
        return splat(world, camera, height=height, width=width).over(self.sky) * 2 - 1

    def layout(self, plan: Plan) -> Layout:
        """Where a plan says that its objects are: as placed, or else lifted from their boxes.

        Raises:
            InputError: an object stands on nothing.
        """
        look, camera = look_around(plan.scene, plan.camera), planned_poses(plan.camera)[0]
        found = [
            item.placed or lifted(item, look, camera, plan.camera.frames) for item in plan.objects
        ]
        heights = torch.tensor([place.height for place in found])
        locations = torch.tensor([place.locations for place in found])
        return Layout(heights.to(self.device), locations.to(self.device))


def planned_poses(camera: PlannedCamera) -> list[Camera]:
    """The poses of a planned camera."""
    return poses(
        camera.path,
        num_frames=camera.frames,
        degrees=camera.degrees,
        eye=EYE,
        target=TARGET,
        focal=FOCAL,
    )


def acted(item: PlannedObject, num_frames: int) -> list[Gaussians]:
    """An object in each frame, one meter tall, on the origin, looking along +z."""
    skin = assets.figure(assets.COLORS[item.appearance])
    motion = assets.MOTIONS[item.motion]
    return [assets.posed(skin, *motion(frame / CYCLE % 1)) for frame in range(num_frames)]


@cache
def look_around(scene: str, camera: PlannedCamera) -> Rendering:
    """The empty scene from the first pose of the camera, square."""
    return splat(
        assets.SCENES[scene]().gaussians, planned_poses(camera)[0], height=LOOK, width=LOOK
    )


def lifted(item: PlannedObject, look: Rendering, camera: Camera, num_frames: int) -> Placed:
    """Where an object stands in the world, by its boxes and the depths of the empty scene.

    Depth is read in the middle of the lower edge of each box, where the feet are.

    Raises:
        InputError: nothing is there that it could stand on.
    """
    feet = torch.tensor([((left + right) / 2, bottom) for left, _, right, bottom in item.way])
    pixels = feet * LOOK
    columns, rows = pixels.long().clamp(max=LOOK - 1).unbind(1)
    if (look.opacity[rows, columns] < 0.5).any():
        boxes = [list(box) for box in item.way]
        raise InputError(f"the {item.name} stands on nothing in one of its boxes {boxes}; lower it")
    depth = look.distance()[rows, columns]
    places = camera.lift(pixels, depth, LOOK, LOOK)
    height = item.scale_hint * float(depth[0]) / camera.focal
    path = F.interpolate(places.T[None], num_frames, mode="linear", align_corners=True)[0].T
    return Placed(height=height, locations=tuple((x, y, z) for x, y, z in path.tolist()))
