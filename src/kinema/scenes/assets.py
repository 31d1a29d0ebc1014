"""Procedural assets: scenes of floors, walls and boxes, and a stick figure that moves.

They stand in the places of C3V's experts (arXiv 2409.00558): scenes of LucidDreamer, humanoids of
HumanGaussian, motions of Motion-X. A figure is one meter tall until it is scaled, stands on the
origin and looks along +z.

Letters: N Gaussians, J joints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.scenes.cameras import Point
from kinema.scenes.gaussians import Gaussians, about, product, rotation_matrix

HEIGHTS = {"person": 1.7, "child": 1.1}  # meters
COLORS: dict[str, Point] = {
    "red": (0.85, 0.15, 0.15),
    "green": (0.15, 0.65, 0.25),
    "blue": (0.15, 0.3, 0.9),
    "yellow": (0.95, 0.85, 0.2),
}
SKIN, HAIR = (0.95, 0.75, 0.6), (0.2, 0.12, 0.08)
OPAQUE = 5.0  # logit of an opacity of 0.993
OVERLAP = 0.55  # standard deviations in spacings, so that a surface has no holes
THICKNESS = 0.02  # meters, of surfaces


class Scene(NamedTuple):
    """What stands still, and the color (3,) of what lies behind it."""

    gaussians: Gaussians
    sky: Tensor


# -- surfaces --------------------------------------------------------------------------------


def rectangle(corner: Point, u: Point, v: Point, spacing: float, *colors: Point) -> Gaussians:
    """A surface along the axes of the world.

    Args:
        corner, u, v: its first corner, and its two sides as vectors, each along one axis.
        spacing: of the Gaussians, about, in meters.
        colors: one, or two in a chessboard.
    """
    counts = [max(round(math.dist(side, (0, 0, 0)) / spacing), 1) for side in (u, v)]
    i, j = torch.meshgrid(*(torch.arange(n) for n in counts), indexing="ij")
    (i, j), sides = (i.flatten(), j.flatten()), torch.tensor((u, v))
    along = torch.stack([(i + 0.5) / counts[0], (j + 0.5) / counts[1]], 1)
    deviation = OVERLAP * (sides.abs() / torch.tensor(counts)[:, None]).sum(0) + THICKNESS
    return solid(
        torch.tensor(corner) + along @ sides,
        deviation.expand(len(i), 3),
        torch.tensor(colors)[(i + j) % len(colors)],
    )


def solid(means: Tensor, deviations: Tensor, colors: Tensor) -> Gaussians:
    """Opaque Gaussians along the axes of the world."""
    upright = torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(len(means), 1)
    return Gaussians(means, deviations.log(), upright, torch.full((len(means),), OPAQUE), colors)


def box(center: Point, side: float, color: Point) -> Gaussians:
    """A cube on the floor: the five faces that can be seen; `center` is that of its base."""
    x, y, z = center
    left, right, back, front = x - side / 2, x + side / 2, z - side / 2, z + side / 2
    across, up, deep = (side, 0.0, 0.0), (0.0, side, 0.0), (0.0, 0.0, side)
    dark: Point = (0.7 * color[0], 0.7 * color[1], 0.7 * color[2])
    faces = [
        rectangle((left, y, front), across, up, side / 3, color),
        rectangle((left, y, back), across, up, side / 3, color),
        rectangle((left, y, back), deep, up, side / 3, dark),
        rectangle((right, y, back), deep, up, side / 3, dark),
        rectangle((left, y + side, back), across, deep, side / 3, color),
    ]
    return Gaussians.union(faces)


GROUND: tuple[Point, Point, Point] = ((-4.0, 0.0, -3.0), (8.0, 0.0, 0.0), (0.0, 0.0, 6.0))


def room() -> Scene:
    """A chequered floor, a wall behind it, and two boxes."""
    parts = [
        rectangle(*GROUND, 0.5, (0.55, 0.5, 0.45), (0.45, 0.4, 0.36)),
        rectangle((-4.0, 0.0, -3.0), (8.0, 0.0, 0.0), (0.0, 3.0, 0.0), 0.6, (0.8, 0.75, 0.65)),
        box((1.9, 0.0, -2.0), 0.7, (0.55, 0.35, 0.2)),
        box((-2.1, 0.0, -1.8), 0.5, (0.4, 0.4, 0.5)),
    ]
    return Scene(Gaussians.union(parts), torch.tensor([0.3, 0.3, 0.35]))


def hall() -> Scene:
    """A light floor between three walls."""
    wall = (0.62, 0.66, 0.72)
    parts = [
        rectangle(*GROUND, 0.5, (0.85, 0.85, 0.82), (0.75, 0.75, 0.74)),
        rectangle((-4.0, 0.0, -3.0), (8.0, 0.0, 0.0), (0.0, 3.0, 0.0), 0.6, wall),
        rectangle((-4.0, 0.0, -3.0), (0.0, 0.0, 5.0), (0.0, 3.0, 0.0), 0.7, (0.5, 0.54, 0.6)),
        rectangle((4.0, 0.0, -3.0), (0.0, 0.0, 5.0), (0.0, 3.0, 0.0), 0.7, (0.5, 0.54, 0.6)),
    ]
    return Scene(Gaussians.union(parts), torch.tensor([0.9, 0.9, 0.9]))


def yard() -> Scene:
    """A lawn under the sky, with three boxes."""
    parts = [
        rectangle(*GROUND, 0.5, (0.3, 0.5, 0.2), (0.35, 0.55, 0.24)),
        box((-2.4, 0.0, -2.2), 0.9, (0.6, 0.3, 0.2)),
        box((2.2, 0.0, -2.3), 0.6, (0.65, 0.6, 0.5)),
        box((2.6, 0.0, -1.4), 0.4, (0.5, 0.45, 0.4)),
    ]
    return Scene(Gaussians.union(parts), torch.tensor([0.6, 0.8, 0.95]))


SCENES: Mapping[str, Callable[[], Scene]] = {"room": room, "hall": hall, "yard": yard}

# -- the figure ------------------------------------------------------------------------------

# Where each joint rests, and which one carries it: a carrier comes before what it carries.
JOINTS: dict[str, tuple[Point, str]] = {
    "pelvis": ((0.0, 0.52, 0.0), ""),
    "head": ((0.0, 0.84, 0.0), "pelvis"),
    "left shoulder": ((0.12, 0.78, 0.0), "pelvis"),
    "left elbow": ((0.15, 0.62, 0.0), "left shoulder"),
    "left hand": ((0.16, 0.46, 0.0), "left elbow"),
    "right shoulder": ((-0.12, 0.78, 0.0), "pelvis"),
    "right elbow": ((-0.15, 0.62, 0.0), "right shoulder"),
    "right hand": ((-0.16, 0.46, 0.0), "right elbow"),
    "left hip": ((0.06, 0.5, 0.0), "pelvis"),
    "left knee": ((0.06, 0.27, 0.0), "left hip"),
    "left foot": ((0.06, 0.04, 0.0), "left knee"),
    "right hip": ((-0.06, 0.5, 0.0), "pelvis"),
    "right knee": ((-0.06, 0.27, 0.0), "right hip"),
    "right foot": ((-0.06, 0.04, 0.0), "right knee"),
}
NAMES = tuple(JOINTS)
Limb = tuple[str, Point, int, float]
# From a joint to a place: Gaussians in between, their deviation across.
LIMBS: tuple[Limb, ...] = (
    ("pelvis", (0.0, 0.78, 0.0), 6, 0.055),
    *((f"{side} shoulder", JOINTS[f"{side} elbow"][0], 4, 0.026) for side in ("left", "right")),
    *((f"{side} elbow", JOINTS[f"{side} hand"][0], 4, 0.022) for side in ("left", "right")),
    *((f"{side} hip", JOINTS[f"{side} knee"][0], 5, 0.034) for side in ("left", "right")),
    *((f"{side} knee", JOINTS[f"{side} foot"][0], 5, 0.028) for side in ("left", "right")),
)
BLEND = 0.25  # share of a limb that bends with the joint before it

Pose = dict[str, Tensor]  # quaternions of joints, relative to those that carry them


class Skin(NamedTuple):
    """A figure at rest, and how much of each joint (N, J) its Gaussians follow."""

    rest: Gaussians
    weights: Tensor


def figure(color: Point) -> Skin:
    """A stick figure one meter tall; its face looks along +z."""
    parts, weights = [], []
    for joint, end, count, radius in LIMBS:
        start, carrier = JOINTS[joint]
        along = ((torch.arange(count) + 0.5) / count)[:, None]
        means = torch.lerp(torch.tensor(start), torch.tensor(end), along)
        length = math.dist(start, end)
        deviations = torch.tensor([radius, OVERLAP * length / count, radius])
        paint = SKIN if "elbow" in joint else color if "knee" not in joint else HAIR
        parts.append(solid(means, deviations.repeat(count, 1), torch.tensor([paint] * count)))
        own = (0.5 + 0.5 * along / BLEND).clamp(max=1) if carrier else torch.ones(count, 1)
        follow = own * one_hot(joint) + (1 - own) * one_hot(carrier or joint)
        weights.append(follow)
    head = torch.tensor([(0.0, 0.92, -0.01), (0.0, 0.91, 0.03), (0.0, 0.9, 0.06)])
    widths = torch.tensor([(0.05, 0.055, 0.05), (0.04, 0.045, 0.03), (0.012, 0.015, 0.02)])
    parts.append(solid(head, widths, torch.tensor([HAIR, SKIN, SKIN])))
    weights.append(one_hot("head").expand(3, -1))
    return Skin(Gaussians.union(parts), torch.cat(weights))


def one_hot(joint: str) -> Tensor:
    """(J,)."""
    return F.one_hot(torch.tensor(NAMES.index(joint)), len(NAMES)).float()


def posed(skin: Skin, pose: Pose, lift: float) -> Gaussians:
    """Linear blend skinning: each Gaussian goes with the weighted mean of its joints.

    Args:
        skin: the figure at rest.
        pose: turns of joints; those that it does not name rest.
        lift: how far the whole figure is above the floor.
    """
    turns: dict[str, Tensor] = {}
    places: dict[str, Tensor] = {}
    for joint, (place, carrier) in JOINTS.items():
        own, here = pose.get(joint, torch.tensor([1.0, 0.0, 0.0, 0.0])), torch.tensor(place)
        if not carrier:
            turns[joint], places[joint] = own, here + torch.tensor([0.0, lift, 0.0])
            continue
        offset = here - torch.tensor(JOINTS[carrier][0])
        turns[joint] = product(turns[carrier], own)
        places[joint] = places[carrier] + rotation_matrix(turns[carrier]) @ offset
    quaternions = torch.stack([turns[name] for name in NAMES])  # (J, 4)
    rest = torch.tensor([JOINTS[name][0] for name in NAMES])
    moved = torch.stack([places[name] for name in NAMES])
    means = torch.einsum(
        "jab,njb->nja", rotation_matrix(quaternions), skin.rest.means[:, None] - rest
    )
    blended = F.normalize(skin.weights @ quaternions, dim=1)
    return Gaussians(
        ((means + moved) * skin.weights[..., None]).sum(1),
        skin.rest.log_scales,
        product(blended, skin.rest.quaternions),
        skin.rest.logits,
        skin.rest.colors,
    )


# -- motions: a pose, and the lift, at a phase in [0, 1) of their cycle ------------------------


def striding(phase: float, *, legs: float, arms: float, knees: float, elbows: float) -> Pose:
    """Legs and arms that swing against one another; angles in radians."""
    pose: Pose = {}
    for side, ahead in (("left", 0.0), ("right", 0.5)):
        swing = math.sin(2 * math.pi * (phase + ahead))
        bend = max(math.sin(2 * math.pi * (phase + ahead + 0.25)), 0.0)
        pose[f"{side} hip"] = swung(legs * swing)
        pose[f"{side} knee"] = swung(-knees * bend)
        pose[f"{side} shoulder"] = swung(-arms * swing)
        pose[f"{side} elbow"] = swung(elbows)
    return pose


def swung(angle: float) -> Tensor:
    """A limb that hangs down, swung forwards."""
    return about(0, torch.tensor(-angle))


def walk(phase: float) -> tuple[Pose, float]:
    """A stride."""
    return striding(phase, legs=0.5, arms=0.45, knees=0.6, elbows=0.2), 0.0


def run(phase: float) -> tuple[Pose, float]:
    """A long stride that leaves the floor."""
    lift = 0.05 * abs(math.sin(2 * math.pi * phase))
    return striding(phase, legs=0.85, arms=0.9, knees=1.3, elbows=1.4), lift


def jump(phase: float) -> tuple[Pose, float]:
    """Up and down with arms raised and legs drawn up."""
    height = math.sin(math.pi * phase) ** 2
    pose: Pose = {}
    for side in ("left", "right"):
        pose[f"{side} shoulder"] = swung(2.6 * height)
        pose[f"{side} hip"] = swung(0.9 * height)
        pose[f"{side} knee"] = swung(-1.5 * height)
    return pose, 0.22 * height


def wave(phase: float) -> tuple[Pose, float]:
    """The right arm up, its lower part to and fro."""
    beat = 0.5 * math.sin(2 * math.pi * phase)
    return {
        "right shoulder": about(2, torch.tensor(-2.4)),
        "right elbow": about(2, torch.tensor(beat - 0.5)),
    }, 0.0


def stand(phase: float) -> tuple[Pose, float]:
    """Arms that move a little."""
    return striding(phase, legs=0.0, arms=0.06, knees=0.0, elbows=0.1), 0.0


MOTIONS: Mapping[str, Callable[[float], tuple[Pose, float]]] = {
    "walks": walk,
    "runs": run,
    "jumps": jump,
    "waves": wave,
    "stands": stand,
}
