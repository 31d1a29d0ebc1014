"""Masks, boxes, tracks, depth and flow of the world `shapes` are those of its pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kinema.worlds import drawing, load, palette
from kinema.worlds.backgrounds import Background, draw
from kinema.worlds.outlines import SHAPES
from kinema.worlds.views import View, view
from kinema.worlds.world import Draws, Frames

SIZE = {"seed": 5, "split": "all", "num_frames": 25, "height": 96, "width": 96, "fps": 12.0}
REFERENCES = {
    "static": "shapes:level=2",
    "occlusion": "shapes:level=2,occlusion=1",
    "pan": "shapes:level=2,camera=pan",
    "zoom": "shapes:level=2,camera=zoom",
    "zoom occlusion": "shapes:level=2,camera=zoom,occlusion=1",
}
SHARP = ("triangle", "star")


@pytest.fixture(scope="module")
def drawn():
    worlds = {name: load(reference, **SIZE) for name, reference in REFERENCES.items()}
    return {name: [world.sample(i) for i in range(40)] for name, world in worlds.items()}


def everyone(drawn):
    """(world, sample, number of an object) of all that is drawn."""
    for name, samples in drawn.items():
        for s in samples:
            for number in range(len(s.graph.objects)):
                yield name, s, number


def eroded(mask: np.ndarray, times: int) -> np.ndarray:
    """What is left of masks (..., H, W) without their rims; the frame's edges are rims too."""
    for _ in range(times):
        mask = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(1, 1), (1, 1)])
        inner = mask[..., 1:-1, 1:-1]
        mask = (
            inner
            & mask[..., :-2, 1:-1]
            & mask[..., 2:, 1:-1]
            & mask[..., 1:-1, :-2]
            & mask[..., 1:-1, 2:]
        )
    return mask


def test_colors_are_seen_where_masks_are(drawn):
    right = count = 0
    for _, s, number in everyone(drawn):
        for t in (0, 12, 24):
            inside = s.clip.frames[t][eroded(s.masks.x[t, number], 1)]
            if len(inside) > 20:
                color = s.graph.objects[number].color
                right += palette.nearest(np.median(inside, axis=0)) == color
                count += 1
    assert count > 600
    assert right >= 0.99 * count


def test_without_occlusion_nothing_hides_anything(drawn):
    for name in ("static", "pan", "zoom"):
        for s in drawn[name]:
            assert (s.masks.x.sum(axis=1) <= 1).all()
            center_in = ((s.tracks.xy >= 0) & (s.tracks.xy < 96)).all(axis=-1)
            assert (s.tracks.visible == (center_in | (name != "zoom"))).all()


def test_boxes_are_those_of_masks(drawn):
    """Where an object is whole in the frame and nothing is in front of it."""
    whole = turned = 0
    for name, s, number in everyone(drawn):
        thing = s.graph.objects[number]
        if "occlusion" in name and number != s.graph.depth_order[0]:
            continue
        for t in range(0, 25, 4):
            box = s.boxes.xyxy[t, number]
            if not ((box > 0) & (box < 96)).all():
                continue
            y, x = np.nonzero(s.masks.x[t, number])
            seen = x.min(), y.min(), x.max() + 1, y.max() + 1
            # Half a pixel of rounding; sharp tips are thinner than a pixel before they end.
            sharp = thing.shape in SHARP or thing.motions == ("spin",)
            np.testing.assert_allclose(box, seen, atol=2.2 if sharp else 0.9)
            whole += 1
            turned += "spin" in thing.motions
    assert whole > 500
    assert turned > 25


def test_boxes_of_what_is_out_of_the_frame_are_not_numbers(drawn):
    gone = 0
    for _, s, number in everyone(drawn):
        boxes, masks = s.boxes.xyxy[:, number], s.masks.x[:, number]
        out = np.isnan(boxes).any(axis=1)
        assert (np.isnan(boxes).all(axis=1) == out).all()
        assert not masks[out].any()
        assert (boxes[~out] >= 0).all()
        assert (boxes[~out] <= 96).all()
        gone += out.sum()
    assert gone > 20


def test_the_front_one_is_seen_where_two_overlap(drawn):
    overlaps = 0
    for s in drawn["occlusion"]:
        front, back = s.graph.depth_order
        (relation,) = s.graph.relations
        assert front == (1 if relation.name == "passes behind" else 0)
        scene = scene_of(s)
        whole = drawing.draw_masks(dataclasses.replace(scene, depth=(back, front)))[:, back]
        both = eroded(whole & s.masks.x[:, front], 1)
        hidden = s.clip.frames[both]
        assert len(hidden)
        assert palette.nearest(np.median(hidden, axis=0)) == s.graph.objects[front].color
        assert (s.masks.x[:, back] == (whole & ~s.masks.x[:, front])).all()
        overlaps += len(hidden)
    assert overlaps > 4000


def scene_of(s) -> drawing.Scene:
    """What a sample draws its masks from."""
    return s.draw_masks.args[0]


def test_tracks_say_whether_a_center_is_seen(drawn):
    hidden = wrong = count = 0
    for _, s, number in everyone(drawn):
        if s.graph.objects[number].shape == "ring":
            continue  # nothing is seen at its center
        wraps = scene_of(s).wraps
        for t in range(25):
            x, y = np.floor(s.tracks.xy[t, number]).astype(int)
            inside = wraps or (min(x, y) >= 0 and max(x, y) < 96)
            seen = inside and s.masks.x[t, number, y % 96, x % 96]
            wrong += seen != s.tracks.visible[t, number]
            hidden += not seen
            count += 1
    assert hidden > 300
    assert wrong < 0.005 * count  # the center of its pixel may lie beyond an edge that it does not


# -- flow -----------------------------------------------------------------------------------


def warped(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A picture (H, W, C) between its pixels, at places of the torus."""
    height, width = picture.shape[:2]
    column, row = np.floor(x - 0.5).astype(int), np.floor(y - 0.5).astype(int)
    u, v = (x - 0.5 - column)[..., None], (y - 0.5 - row)[..., None]

    def at(right: int, down: int) -> np.ndarray:
        return picture[(row + down) % height, (column + right) % width].astype(np.float32)

    upper = (1 - u) * at(0, 0) + u * at(1, 0)
    return (1 - v) * upper + v * ((1 - u) * at(0, 1) + u * at(1, 1))


def test_flow_is_how_far_centers_go(drawn):
    """Exact but for what turns or grows: the center of its pixel is not its center."""
    count = 0
    for _, s, number in everyone(drawn):
        step = np.diff(s.tracks.xy[:, number], axis=0)
        scene = scene_of(s)
        body = scene.bodies[number]
        changes = np.abs(np.diff(body.angles)) + np.abs(body.radii[1:] / body.radii[:-1] - 1)
        for t in range(24):
            x, y = np.floor(s.tracks.xy[t, number]).astype(int)
            inside = scene.wraps or (min(x, y) >= 0 and max(x, y) < 96)
            if inside and s.masks.x[t, number, y % 96, x % 96]:
                off = np.hypot(*(s.flow[t, y % 96, x % 96] - step[t]))
                assert off <= 0.75 * changes[t] + 1e-4
                count += 1
    assert count > 4000


def test_flow_brings_every_surface_to_where_it_is_seen(drawn):
    """The next frame, taken where the flow points, is this frame: objects, holes and the ground.

    Left out are rims, what is hidden in the next frame, and what a shadow of another object may
    fall on; the light does not turn with an object, so that its shading is not quite the same.
    """
    y, x = np.mgrid[:96, :96] + 0.5
    counts = dict.fromkeys(drawn, 0)
    for name, samples in drawn.items():
        for s in samples:
            several = len(s.graph.objects) > 1
            for t in range(0, 24, 5):
                to_x, to_y = x + s.flow[t, ..., 0], y + s.flow[t, ..., 1]
                change = np.abs(warped(s.clip.frames[t + 1], to_x, to_y) - s.clip.frames[t])
                for number, thing in enumerate(s.graph.objects):
                    if several and "occlusion" in name and number != s.graph.depth_order[0]:
                        continue
                    here, there = eroded(s.masks.x[t : t + 2, number], 2)
                    seen = here & (warped(there[..., None], to_x, to_y)[..., 0] == 1)
                    if seen.sum() > 10:
                        turns = scene_of(s).bodies[number].angles.any()
                        most = 12.0 if turns or "spin" in thing.motions else 5.0
                        assert change[seen].mean() < most
                        counts[name] += 1
    assert min(counts.values()) > 60


@pytest.mark.parametrize("camera", ["pan", "zoom"])
def test_flow_of_the_ground_is_that_of_the_camera(camera):
    """Seen in a picture without objects."""
    frames = Frames(count=5, height=64, width=96, fps=12.0)  # few, so that each zooms a lot
    for kind in ("stripes", "checker", "dots"):
        for way in {"pan": ("left", "right", "up", "down"), "zoom": ("in", "out")}[camera]:
            see = view(f"{camera} {way}", frames, Draws("test", 0, 0))
            ground = Background(kind=kind, names=("navy", "cream"), period=30.0, offset=(0.2, 0.7))
            pictures = draw(ground, see, 64, 96)
            scene = far_away(see, pictures)
            flow = drawing.draw_flow(scene, see)
            y, x = np.mgrid[:64, :96] + 0.5
            for t in range(4):
                to_x, to_y = x + flow[t, ..., 0], y + flow[t, ..., 1]
                inside = (to_x > 1) & (to_x < 95) & (to_y > 1) & (to_y < 63)
                still = np.abs(pictures[t + 1] - pictures[t])[inside].mean()
                change = np.abs(warped(pictures[t + 1], to_x, to_y) - pictures[t])[inside].mean()
                assert change < 0.4 * still  # what is left is due to sampling sharp edges
                there = np.stack([to_x[9, ::7], to_y[9, ::7]], axis=-1)
                here = np.stack([x[9, ::7], y[9, ::7]], axis=-1)
                world = (here - see.middle) / see.scales[t] + see.centers[t]
                again = see.middle + see.scales[t + 1] * (world - see.centers[t + 1])
                np.testing.assert_allclose(there, again, atol=1e-4)
            sign = {"left": (1, 0), "right": (-1, 0), "up": (0, 1), "down": (0, -1)}
            if camera == "pan":
                assert np.allclose(flow, flow[0, 0, 0], atol=1e-4)
                assert (np.sign(flow[0, 0, 0].round(3)) == sign[way]).all()
            else:
                assert (flow[:, 0, 0] < 0).all() == (way == "in")
                assert see.scales.max() / see.scales.min() == pytest.approx(1.3)


def far_away(see: View, pictures: np.ndarray) -> drawing.Scene:
    """A scene whose only object is nowhere near the frame."""
    count, height, width = pictures.shape[:3]
    body = drawing.Body(
        shape="circle",
        color=(0, 0, 0),
        centers=np.full((count, 2), 500.0),
        radii=np.full(count, 5.0),
        angles=np.zeros(count),
    )
    return drawing.Scene(
        bodies=(body,), depth=(0,), ground=pictures, wraps=False, height=height, width=width
    )


def test_a_static_ground_does_not_flow(drawn):
    for s in drawn["static"] + drawn["occlusion"]:
        assert not s.flow[~s.masks.x[:-1].any(axis=1)].any()


# -- outlines and grounds -------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_corners_and_pieces_are_those_of_the_outline(name):
    shape = SHAPES[name]
    at = np.linspace(-1.5, 1.5, 601, dtype=np.float32)
    inside = shape.distance(at[None, None, :], at[None, :, None])[0] < 0
    y, x = np.nonzero(inside)
    assert np.hypot(at[x], at[y]).max() == pytest.approx(shape.reach, abs=0.03)
    covered = np.zeros_like(inside)
    for piece in shape.pieces:
        corners = np.array(piece)
        ways = np.roll(corners, -1, axis=0) - corners
        sides = [
            way[0] * (at[:, None] - corner[1]) - way[1] * (at[None, :] - corner[0])
            for corner, way in zip(corners, ways)
        ]
        covered |= (np.array(sides) >= -1e-6).all(axis=0)
    if shape.pieces:  # all but rounded corners
        assert (covered != inside).sum() < 0.03 * inside.sum()


@pytest.mark.parametrize("kind", ["stripes", "checker", "dots"])
def test_patterns_have_both_colors_and_their_period(kind):
    frames = Frames(count=1, height=96, width=96, fps=12.0)
    see = view("static", frames, Draws("test", 0, 0))
    colors = [np.array(palette.BACKGROUNDS[name]) for name in ("navy", "cream")]
    ground = Background(kind=kind, names=("navy", "cream"), period=16.0, offset=(0.3, 0.6))
    picture = draw(ground, see, 96, 96)[0]
    first, second = (np.abs(picture - color).max(axis=-1) < 2 for color in colors)
    soft = 1 - (first | second).mean()
    assert soft < 0.6
    share = {"stripes": 0.5, "checker": 0.5, "dots": np.pi * 0.3**2}[kind]
    assert first.mean() / (1 - soft) == pytest.approx(share, abs=0.08)
    across = {"stripes": (8, -8), "checker": (16, 0), "dots": (16, 0)}[kind]
    moved = np.roll(picture, across, axis=(1, 0))
    assert np.abs(moved - picture)[16:-16, 16:-16].max() < 1
    half = np.roll(picture, 8, axis=1)
    assert np.abs(half - picture)[16:-16, 16:-16].max() > 100
