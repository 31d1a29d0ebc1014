"""The attribute reader: right on fresh clips, steady on soft ones, calm on broken ones."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from kinema.clip import Clip
from kinema.errors import InputError
from kinema.metrics.attributes import ObjectReading, Reading, agrees, expected, read
from kinema.metrics.attributes_scores import Share, measured, tally
from kinema.worlds import load

SIZE = {"num_frames": 25, "height": 96, "width": 96, "fps": 12.0}
QUOTAS = {"one": 60, "pair": 18, "story": 18}
BACKWARDS = {
    "left": "right",
    "right": "left",
    "up": "down",
    "down": "up",
    "clockwise": "counterclockwise",
    "counterclockwise": "clockwise",
    "grow": "shrink",
    "shrink": "grow",
}
MIRRORED = {name: BACKWARDS[name] for name in ("left", "right", "clockwise", "counterclockwise")}


@pytest.fixture(scope="module")
def samples():
    """(scene, sample) of all that is measured, in its proportion, from both splits."""
    return list(measured(load("shapes:level=2", seed=77, split="all", **SIZE), QUOTAS))


def shares(results) -> dict[tuple[str, str], float]:
    return {(line.scene, line.attribute): line.share.value for line in tally(results)}


def softened(frames: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Blurred over about three pixels, a little paler, a little noisy."""
    x = frames.astype(float)
    for axis, shift in itertools.product((1, 2), (1, -1)):
        x = 0.6 * x + 0.4 * np.roll(x, shift, axis)
    x = 8 + 0.94 * x + draws.normal(0, 3, x.shape)
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def test_fresh_clips_are_read_right(samples):
    found = shares((scene, agrees(read(s.clip, scene), expected(s.graph))) for scene, s in samples)
    kinds = Counter(s.graph.background_kind for _, s in samples)
    motions = {motion for _, s in samples for o in s.graph.objects for motion in o.motions}
    assert len(kinds) == 5
    assert {"fall", "stop", "spin", "grow", "shrink"} < motions
    names = {"color", "shape", "size", "motion", "background", "all"}
    assert {name for scene, name in found if scene == "one"} == names
    assert {name for scene, name in found if scene == "story"} == names | {"order"}
    assert {name for scene, name in found if scene == "pair"} == names | {"objects"}
    assert min(found.values()) >= 0.94, found
    assert min(value for (scene, _), value in found.items() if scene == "every") >= 0.98, found


def test_level_one_at_another_size_and_rate():
    size = {"num_frames": 20, "height": 64, "width": 80, "fps": 10.0}
    world = load("shapes", seed=1, split="all", **size)
    drawn = list(measured(world, {"one": 40}))
    found = shares((scene, agrees(read(s.clip, scene), expected(s.graph))) for scene, s in drawn)
    assert min(found.values()) >= 0.95, found


def test_soft_clips_keep_what_can_be_seen(samples):
    draws = np.random.Generator(np.random.Philox(key=3))
    results = []
    for scene, s in samples[::2]:
        soft = replace(s.clip, frames=softened(s.clip.frames, draws))
        results.append((scene, agrees(read(soft, scene), expected(s.graph))))
    found = shares(results)
    for name in ("color", "motion", "background", "shape"):
        assert found["every", name] >= 0.94, found


def test_a_story_told_backwards_is_read_backwards(samples):
    stories = [s for scene, s in samples if scene == "story"]
    told = []
    for s in stories:
        back = Clip(np.ascontiguousarray(s.clip.frames[::-1]), s.clip.fps)
        (thing,) = s.graph.objects
        wanted = tuple(BACKWARDS.get(motion, motion) for motion in reversed(thing.motions))
        if "spin" not in thing.motions:  # one that ends upright begins turned: another world
            told.append(read(back, "story").objects[0].motions == wanted)
    assert len(told) >= 10
    assert np.mean(told) >= 0.9


def test_a_mirror_changes_sides_only(samples):
    right = []
    for scene, s in samples[:40]:
        mirror = Clip(np.ascontiguousarray(s.clip.frames[:, :, ::-1]), s.clip.fps)
        wanted = expected(s.graph)
        turned = tuple(
            replace(thing, motions=tuple(MIRRORED.get(m, m) for m in thing.motions))
            for thing in wanted.objects
        )
        right.append(agrees(read(mirror, scene), replace(wanted, objects=turned))["all"])
    assert np.mean(right) >= 0.95


def test_what_does_not_move_rests(samples):
    plain = [s for scene, s in samples if scene == "one" and "spin" not in s.labels["motion"]]
    for s in plain[:12]:
        still = Clip(np.repeat(s.clip.frames[:1], 25, axis=0), s.clip.fps)
        (thing,) = read(still, "one").objects
        assert thing.motions == ("rest",), s.labels


def test_an_object_in_two_pieces_is_followed_by_one():
    world = load("shapes", seed=2, split="all", **SIZE)
    found = (world.sample(i) for i in itertools.count())
    sample = next(
        s for s in found if s.labels["motion"] == "right" and s.labels["background_kind"] == "flat"
    )
    double = np.where(
        (sample.clip.frames == sample.clip.frames[0, 0, 0]).all(-1, keepdims=True),
        np.roll(sample.clip.frames, (48, 30), axis=(1, 2)),
        sample.clip.frames,
    )
    (thing,) = read(Clip(double, 12.0), "one").objects
    assert thing.motions == ("right",)
    assert thing.color == sample.labels["color"]


def broken_clips():
    draws = np.random.Generator(np.random.Philox(key=5))
    for length, height, width in ((1, 1, 1), (1, 96, 96), (2, 16, 3), (3, 40, 96), (25, 48, 16)):
        shape = length, height, width, 3
        yield np.zeros(shape, np.uint8)
        yield np.full(shape, 255, np.uint8)
        yield draws.integers(0, 256, shape, dtype=np.uint8)
    frames = load("shapes:level=2", seed=1, split="all", **SIZE).sample(0).clip.frames
    yield np.concatenate([frames[:9], 0 * frames[:16]])
    yield np.concatenate([frames[:3], frames[:3] // 2 + 100])
    yield frames[draws.permutation(25)]
    yield np.where(np.arange(25)[:, None, None, None] % 2 == 0, frames, 255 - frames)
    yield np.ascontiguousarray(frames[:, :30, 50:])


@pytest.mark.parametrize("scene", ["one", "story", "pair"])
@pytest.mark.parametrize("fps", [1.0, 12.0, 1000.0])
def test_broken_clips_are_read_as_something(scene, fps):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for frames in broken_clips():
            reading = read(Clip(frames, fps), scene)
            assert len(reading.objects) == (2 if scene == "pair" else 1)
            assert all(len(o.motions) == 1 + (scene == "story") for o in reading.objects)


def reading(*things: tuple[str, str, str]) -> Reading:
    objects = tuple(
        ObjectReading(shape=shape, color=color, size="small", motions=tuple(motions.split()))
        for color, shape, motions in things
    )
    return Reading(objects=objects, background_kind="flat", background="navy")


def test_two_objects_may_come_in_either_order():
    wanted = reading(("red", "circle", "left"), ("blue", "star", "up"))
    swapped = reading(("blue", "star", "up"), ("red", "circle", "left"))
    assert all(agrees(swapped, wanted).values())
    mixed = reading(("blue", "circle", "left"), ("red", "star", "up"))
    right = agrees(mixed, wanted)
    assert not right["color"]
    assert (right["shape"], right["objects"], right["all"]) == (True, False, False)


def test_the_order_of_a_story_counts():
    wanted = reading(("red", "circle", "left grow"))
    right = agrees(reading(("red", "circle", "grow left")), wanted)
    assert (right["motion"], right["order"], right["all"]) == (True, False, False)
    assert all(agrees(wanted, wanted).values())


def test_a_background_is_right_in_kind_and_colors():
    one = reading(("red", "circle", "left"))
    other = replace(one, background_kind="gradient", background="navy to black")
    assert not agrees(other, one)["background"]
    assert agrees(other, one)["motion"]


def test_intervals_are_those_of_wilson():
    assert Share(right=8, clips=10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Share(right=0, clips=10).interval == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert Share(right=10, clips=10).interval[1] == pytest.approx(1.0)
    assert Share(right=0, clips=0).interval == (0.0, 1.0)


def test_a_tally_counts_each_kind_and_all():
    lines = {
        (line.scene, line.attribute): (line.share.right, line.share.clips)
        for line in tally([("one", {"color": True}), ("pair", {"color": False, "objects": False})])
    }
    assert lines == {
        ("every", "color"): (1, 2),
        ("every", "objects"): (0, 1),
        ("one", "color"): (1, 1),
        ("pair", "color"): (0, 1),
        ("pair", "objects"): (0, 1),
    }


def test_quotas_are_filled_once_each(samples):
    assert Counter(scene for scene, _ in samples) == QUOTAS
    assert len({s.captions[0] for _, s in samples}) == len(samples)


def test_a_world_without_such_scenes_says_so():
    world = load("shapes", seed=1, split="all", num_frames=1, height=16, width=16, fps=12.0)
    with pytest.raises(InputError, match="lack scenes: pair"):
        list(measured(world, {"one": 1, "pair": 1}))
