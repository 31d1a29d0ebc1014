"""Compositions: lifting, bounds, headings, and what an edit leaves as it was."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.scenes.composition import LOOK, Composition, Layout, look_around, planned_poses
from kinema.scenes.director import RuleDirector, direct
from kinema.scenes.plan import Placed, Plan, PlannedCamera, PlannedObject, box_on
from kinema.scenes.splatting import splat

TWO = "a red person walks from left to right and a blue child waves on the right in a room"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return direct(RuleDirector(4), TWO)


def layout(*path: tuple[float, float, float], height: float = 1.7) -> Layout:
    return Layout(torch.tensor([height]), torch.tensor([path]).float())


# -- headings --------------------------------------------------------------------------------


def test_headings_follow_the_path_and_the_last_is_kept() -> None:
    path = layout((0, 0, 0), (1, 0, 0), (1, 0, -1), (1, 0, -1), (1, 0, -1.005), (0, 0, -1.005))
    degrees = path.headings().rad2deg()[0]
    expected = torch.tensor([90.0, 180.0, 180.0, 180.0, -90.0, -90.0])
    assert torch.allclose(degrees, expected, atol=0.5)


def test_who_never_moves_looks_at_the_viewer() -> None:
    assert not layout((1, 0, 0), (1, 0.5, 0), (1, 0, 0)).headings().any()  # up is no direction
    assert not layout((1, 0, 0)).headings().any()


def test_the_forward_axis_is_turned_into_the_direction(plan: Plan) -> None:
    composition = Composition(plan, device="cpu")
    where = composition.layout(plan)
    world = composition.world(where, 0)
    person = world.means[len(composition.scene) :][: len(composition.actors[0][0])]
    # The face, drawn last, is ahead of the back of the head in the direction of the way.
    ahead = person[-1] - person[-3]
    assert ahead[0] > 0
    assert abs(ahead[2]) < 0.1 * ahead[0]


# -- bounds ----------------------------------------------------------------------------------


def test_variables_of_zero_change_nothing_and_large_ones_reach_the_bounds() -> None:
    coarse = layout((0, 0, 0), (1, 0, 0), (2, 0, 0), height=2.0)
    bounds = {"height_bound": 0.5, "location_bound": 0.8}
    none = coarse.moved(torch.zeros(1), torch.zeros(1, 3, 3), **bounds)
    assert torch.equal(none.heights, coarse.heights)
    assert torch.equal(none.locations, coarse.locations)
    most = coarse.moved(torch.full((1,), 99.0), torch.full((1, 3, 3), -99.0), **bounds)
    assert most.heights.item() == pytest.approx(2.0 * 1.25)
    assert torch.allclose(most.locations, coarse.locations - 0.4)


def test_who_stands_still_moves_as_one() -> None:
    variables = torch.arange(9.0).reshape(1, 3, 3)
    bounds = {"height_bound": 0.5, "location_bound": 0.8}
    still = layout(*[(1.0, 0.0, 0.5)] * 3).moved(torch.zeros(1), variables, **bounds)
    assert (still.locations == still.locations[:, :1]).all()
    assert not still.headings().any()
    walking = layout((0, 0, 0), (1, 0, 0), (2, 0, 0)).moved(torch.zeros(1), variables, **bounds)
    assert walking.locations.diff(dim=1).unique().numel() > 3


def test_errors_are_ratios_meters_and_degrees() -> None:
    truth = layout((0, 0, 0), (1, 0, 0), (2, 0, 0))
    assert truth.errors(truth) == {"height ratio": 1.0, "meters": 0.0, "degrees": 0.0}
    for factor in (2.0, 0.5):
        turned = layout((0, 0, 3), (0, 0, 4), (0, 0, 5), height=1.7 * factor)
        errors = turned.errors(truth)
        assert errors["height ratio"] == pytest.approx(2.0)
        assert errors["degrees"] == pytest.approx(90.0)
        expected = (3 + math.sqrt(17) + math.sqrt(29)) / 3
        assert errors["meters"] == pytest.approx(expected)


# -- lifting ---------------------------------------------------------------------------------


def test_boxes_are_lifted_to_the_floor_under_them() -> None:
    """A box drawn around a known place comes back to it."""
    camera = PlannedCamera(path="orbit", degrees=40.0, frames=5)
    first = planned_poses(camera)[0]
    spots = torch.tensor([[-1.0, 0.0, 0.5], [1.0, 0.0, -0.5]])
    pixels, depth = first.project(spots, LOOK, LOOK)
    boxes = [box_on((x / LOOK, y / LOOK), 0.3) for x, y in pixels.tolist()]
    item = PlannedObject(
        name="person",
        appearance="red",
        motion="walks",
        scale_hint=float(1.7 * first.focal / depth[0]),
        start_box=boxes[0],
        end_box=boxes[1],
    )
    plan = Plan(scene="room", objects=(item,), camera=camera)
    found = Composition(plan, device="cpu").layout(plan)
    assert found.heights.item() == pytest.approx(1.7, rel=0.1)  # depths are smeared
    assert torch.allclose(found.locations[0, [0, -1]], spots, atol=0.35)
    assert torch.allclose(found.locations[0, 2], found.locations[0, [1, 3]].mean(0), atol=1e-5)


def test_depth_is_read_without_the_objects(plan: Plan) -> None:
    """Somebody right in front of the camera does not move the others."""
    near = Placed(height=1.7, locations=((0.0, 0.0, 3.5),) * 4)
    other = plan.with_places({1: near})
    before, after = (Composition(p, device="cpu").layout(p) for p in (plan, other))
    assert torch.equal(before.locations[0], after.locations[0])


def test_nobody_stands_in_the_sky() -> None:
    sky = replace(direct(RuleDirector(2), "a red person stands in a yard").objects[0])
    sky = replace(sky, start_box=(0.4, 0.01, 0.6, 0.1), end_box=(0.4, 0.01, 0.6, 0.1))
    camera = PlannedCamera(path="static", degrees=0.0, frames=2)
    plan = Plan(scene="yard", objects=(sky,), camera=camera)
    with pytest.raises(InputError, match="the person stands on nothing"):
        Composition(plan, device="cpu").layout(plan)


def test_places_that_were_found_are_taken(plan: Plan) -> None:
    composition = Composition(plan, device="cpu")
    where = composition.layout(plan)
    shifted = Layout(where.heights * 1.1, where.locations + 0.3)
    again = composition.layout(plan.with_places(shifted.placed()))
    assert torch.equal(again.heights, shifted.heights)
    assert torch.equal(again.locations, shifted.locations)


# -- editing ---------------------------------------------------------------------------------


def film(plan: Plan) -> Tensor:
    composition = Composition(plan, device="cpu")
    where = composition.layout(plan)
    frames = range(plan.camera.frames)
    return torch.stack([composition.picture(where, f, height=40, width=40) for f in frames])


def covered(plan: Plan, number: int) -> Tensor:
    """The pixels (T, H, W) that an object touches, by drawing it alone."""
    alone = replace(plan, objects=(plan.objects[number],))
    composition = Composition(alone, device="cpu")
    where, scene = composition.layout(alone), len(composition.scene)
    pictures = []
    for frame, camera in enumerate(composition.cameras):
        everything = composition.world(where, frame)
        only = everything[torch.arange(len(everything)) >= scene]
        pictures.append(splat(only, camera, height=40, width=40).opacity > 0)
    return torch.stack(pictures)


@pytest.mark.parametrize(
    "change", [{"appearance": "green"}, {"motion": "jumps"}, {"name": "person"}], ids=str
)
def test_an_edit_stays_inside_its_mask_to_the_last_bit(plan: Plan, change: dict[str, str]) -> None:
    edited = replace(plan, objects=(plan.objects[0], replace(plan.objects[1], **change)))
    mask = covered(plan, 1) | covered(edited, 1)
    before, after = film(plan), film(edited)
    different = (before != after).any(1)
    assert 0.01 < mask.float().mean() < 0.3
    assert different[mask].float().mean() > 0.05 or change == {"name": "person"}
    assert not different[~mask].any()


def test_an_object_that_leaves_changes_only_where_it_was(plan: Plan) -> None:
    left = replace(plan, objects=plan.objects[:1])
    different = (film(plan) != film(left)).any(1)
    assert different.any()
    assert not different[~covered(plan, 1)].any()


def test_every_scene_has_a_floor_to_stand_on() -> None:
    camera = PlannedCamera(path="static", degrees=0.0, frames=1)
    for scene in ("room", "hall", "yard"):
        look = look_around(scene, camera)
        assert (look.opacity[int(0.65 * LOOK) :] > 0.9).all(), scene
