"""The world `shapes`, level two: what its samples say is what they show."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest
from test_shapes import digest, recognized

from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.worlds import backgrounds, load, palette, physics
from kinema.worlds.motions import CHANGES, CROSSING, PATHS, TURNABLE
from kinema.worlds.outlines import SHAPES
from kinema.worlds.shapes import ATTRIBUTES, VOCABULARY, Shapes, labels
from kinema.worlds.shapes_captions import canonical
from kinema.worlds.shapes_details import detailed
from kinema.worlds.shapes_scenes import GROUNDS, KINDS, LevelTwo
from kinema.worlds.shapes_splits import combinations, held_out, stories
from kinema.worlds.world import Draws, Frames, SceneGraph

SIZE = {"seed": 3, "split": "all", "num_frames": 25, "height": 96, "width": 96, "fps": 12.0}
FRAMES = Frames(count=25, height=96, width=96, fps=12.0)
REFERENCES = (
    "shapes:level=2",
    "shapes:level=2,occlusion=1",
    "shapes:level=2,camera=pan",
    "shapes:level=2,camera=zoom,occlusion=1",
)
SAMPLES = 300
SOLO = (*PATHS, *CHANGES, "stop", "fall")


@pytest.fixture(scope="module")
def samples():
    world = load(REFERENCES[0], **SIZE)
    return [world.sample(i) for i in range(SAMPLES)]


def compositions(count: int, split: str = "all", **options):
    """Scenes that are not drawn."""
    chosen = {"camera": "static", "occlusion": False, "frames": FRAMES, **options}
    composer = LevelTwo(split=split, **chosen)
    return [composer.compose(Draws("test", 0, i)) for i in range(count)]


@pytest.fixture(scope="module")
def many():
    return compositions(4000)


def motion_of(actor) -> str:
    return " then ".join(phase.motion for phase in actor.phases)


# -- samples --------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_sample_depends_on_seed_and_index_alone(reference):
    world = load(reference, **SIZE)
    world.sample(1)
    assert digest(world, (7, 2)) == digest(load(reference, **SIZE), (7, 2))
    assert digest(world, (2,)) != digest(load(reference, **{**SIZE, "seed": 4}), (2,))
    assert digest(world, (2,)) != digest(world, (3,))


def test_levels_differ():
    assert digest(load("shapes", **SIZE), (0,)) != digest(load("shapes:level=2", **SIZE), (0,))


def test_neither_blank_nor_frozen(samples):
    for s in samples:
        ground = np.median(s.clip.frames.reshape(-1, 3), axis=0)
        assert np.abs(s.clip.frames[0] - ground).max() > 20
        changed = np.abs(np.diff(s.clip.frames.astype(np.int16), axis=0)).max(axis=(1, 2, 3)) > 4
        assert changed.sum() >= 12


@pytest.mark.parametrize(
    "size", [(32, 32, 1), (32, 80, 5), (135, 48, 30), (64, 64, 97), (40, 40, 13)]
)
@pytest.mark.parametrize("reference", REFERENCES)
def test_any_size_and_length(size, reference):
    height, width, count = size
    if count / 12 < 1 and "occlusion" in reference:
        with pytest.raises(InputError, match="too short for occlusion; take 1 seconds or more"):
            load(reference, **{**SIZE, "num_frames": count})
        return
    world = load(reference, **{**SIZE, "num_frames": count, "height": height, "width": width})
    for i in range(12):
        s = world.sample(i)
        n = len(s.graph.objects)
        assert s.clip.frames.shape == (count, height, width, 3)
        assert s.masks.x.shape == (count, n, height, width)
        assert s.tracks.xy.shape == (count, n, 2)
        assert s.flow.shape == (count - 1, height, width, 2)
        assert all(0 <= event.seconds <= count / 12 for event in s.graph.events)


def test_too_small():
    with pytest.raises(InputError, match="31x96 are too small to show a shape; take 32 pixels"):
        load("shapes:level=2", **{**SIZE, "height": 31})


def test_graph_labels_and_captions_agree(samples):
    for s in samples:
        assert from_dict(SceneGraph, to_dict(s.graph)) == s.graph
        assert s.labels == labels(s.graph)
        assert set(s.labels) == set(ATTRIBUTES)
        assert s.captions[0] == canonical(s.graph)
        assert s.detailed == detailed(s.graph)
        for text in (*s.captions, s.detailed):
            assert set(text.split()) <= set(VOCABULARY)
        for text in (s.captions[0], s.detailed):
            told = set(text.split())
            grounds = backgrounds.names_in(s.labels["background"], s.labels["background_kind"])
            assert told.issuperset(grounds)
            for thing in s.graph.objects:
                assert told.issuperset((thing.size, thing.color, thing.shape))
        times = [event.seconds for event in s.graph.events]
        assert times == sorted(times)


def test_every_name_occurs_as_often_as_it_should(many):
    kinds = Counter(one.kind for one in many)
    grounds = Counter(one.background.kind for one in many)
    for found, shares in ((kinds, KINDS), (grounds, GROUNDS)):
        assert set(found) == set(shares)
        for name, share in shares.items():
            assert found[name] / len(many) == pytest.approx(share, abs=0.03)
    motions = Counter(motion_of(one.cast.actors[0]) for one in many if one.kind == "one")
    assert set(motions) == set(SOLO)
    assert min(motions.values()) > 0.6 * max(motions.values())
    sizes = Counter(one.cast.actors[0].look.size for one in many if one.kind == "one")
    assert min(sizes.values()) > 0.8 * max(sizes.values())


# -- splits ---------------------------------------------------------------------------------


def test_splits_are_disjoint_and_meet_every_pair():
    motions = (*SOLO, "collide", "rest")
    train, kept_out = (set(combinations(split, motions)) for split in ("train", "held_out"))
    assert not train & kept_out
    assert train | kept_out == set(combinations("all", motions))
    assert 0.07 < len(kept_out) / len(train | kept_out) < 0.13
    assert {motion for _, _, motion in kept_out} == set(motions)
    names = SHAPES, palette.COLORS, motions
    for i, j in ((0, 1), (0, 2), (1, 2)):
        every = set(itertools.product(names[i], names[j]))
        every -= {(shape, "spin") for shape in SHAPES if shape not in TURNABLE}
        assert {(c[i], c[j]) for c in train} == every


def test_a_later_color_is_never_held_out_and_changes_nothing(monkeypatch):
    every = list(itertools.product(SHAPES, palette.COLORS, SOLO))
    before = [held_out(*one) for one in every]
    monkeypatch.setitem(palette.COLORS, "turquoise", (24, 190, 150))
    assert [held_out(*one) for one in every] == before
    assert not any(held_out(shape, "turquoise", motion) for shape, _, motion in every)


@pytest.mark.parametrize("camera", ["static", "pan", "zoom"])
@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_object_and_phase_is_of_the_split(split, camera):
    scenes = compositions(300, split, camera=camera)
    if camera == "static":
        scenes += compositions(100, split, occlusion=True)
    for one in scenes:
        for actor in one.cast.actors:
            for phase in actor.phases:
                kept = held_out(actor.look.shape, actor.look.color, phase.motion)
                assert kept == (split == "held_out")
    assert {one.kind for one in scenes} >= {"one", "story", "pair", "orbit", "trio"}


def test_stories_have_two_phases_of_their_split():
    for split in ("train", "held_out"):
        every = stories(split, tuple(PATHS))
        assert all(first != second for _, _, first, second in every)
        for shape, color, *phases in every:
            assert {held_out(shape, color, motion) for motion in phases} == {split == "held_out"}
    assert len(stories("held_out", (*PATHS, *CHANGES))) > 40


def test_short_clips_lack_what_takes_longer():
    kinds, motions = defaultdict(set), defaultdict(set)
    for count in (1, 12, 17, 25):
        for one in compositions(400, frames=Frames(count=count, height=64, width=64, fps=12.0)):
            kinds[count].add(one.kind)
            motions[count].add(motion_of(one.cast.actors[0]))
    assert kinds[1] == kinds[12] == {"one", "pair", "orbit", "trio"}
    assert kinds[17] == kinds[1] | {"collision"}
    assert kinds[25] == set(KINDS)
    assert not {"stop", "fall"} & motions[12]
    assert {"stop"} == {"stop", "fall"} & motions[17]
    assert {"stop", "fall"} <= motions[25]


# -- motions --------------------------------------------------------------------------------


def told_motion(s, number: int, part: slice) -> str:
    """What one object does in some frames, read from its track, its boxes and its mask."""
    track = s.tracks.xy[part, number].astype(np.float64)
    steps = np.diff(track, axis=0)
    if np.abs(steps).max() > 0.05:
        stopped = np.abs(steps).max(axis=1) < 1e-3
        if stopped.sum() >= 5 and not stopped[0] and not stopped[-1]:
            return "stop"
        return recognized(track)
    masks = s.masks.x[part, number]
    area = masks.sum(axis=(1, 2))
    if area[-1] > 1.3 * area[0]:
        return "grow"
    if area[0] > 1.3 * area[-1]:
        return "shrink"
    return "spin" if (masks != masks[0]).mean(axis=(1, 2)).max() > 0.001 else "rest"


def test_motions_are_told_by_tracks_and_masks(samples):
    met = Counter()
    for s in samples:
        if s.labels["scene"] in ("one", "pair", "trio"):
            for number, thing in enumerate(s.graph.objects):
                if thing.motions != ("fall",):
                    assert told_motion(s, number, slice(None)) == thing.motions[0]
                    met[thing.motions[0]] += 1
    assert set(met) == {*PATHS, *CHANGES, "stop"}


def test_stories_switch_when_they_say(samples):
    told = 0
    for s in samples:
        if s.labels["scene"] == "story":
            (event,) = s.graph.events
            assert event.name == "phase"
            assert 0.44 < event.seconds / (25 / 12) < 0.56
            turn = int(np.ceil(event.seconds * 12))
            parts = told_motion(s, 0, slice(turn)), told_motion(s, 0, slice(turn, None))
            assert parts == s.graph.objects[0].motions
            assert s.labels["motion"] == " then ".join(parts)
            gone = np.hypot(*np.diff(s.tracks.xy[:, 0], axis=0).T)
            assert gone.max() < 0.12 * 96  # continuous
            told += 1
    assert told > 50


def test_stops_are_when_they_say(samples):
    stops = [s for s in samples if s.labels["motion"] == "stop"]
    assert len(stops) > 4
    for s in stops:
        stop, go = s.graph.events
        assert (stop.name, go.name) == ("stop", "go")
        assert 0.5 <= go.seconds - stop.seconds <= 0.7
        steps = np.diff(s.tracks.xy[:, 0].astype(np.float64), axis=0)
        starts = np.arange(24) / 12
        resting = (starts >= stop.seconds) & (starts + 1 / 12 <= go.seconds)
        moving = (starts + 1 / 12 <= stop.seconds) | (starts >= go.seconds)
        assert np.abs(steps[resting]).max() < 1e-3
        speed = steps[moving, 0]
        assert np.abs(speed - np.median(speed)).max() < 1e-3
        way = s.graph.objects[0].phases[0].direction
        assert way == ("right" if speed[0] > 0 else "left")
        assert not steps[:, 1].any()


def test_directions_and_paces_are_true(many):
    paces = defaultdict(list)
    for one in many:
        for actor in one.cast.actors:
            phase = actor.phases[0]
            if phase.motion == "spin":
                turned = actor.angles[5] - actor.angles[0]
                assert phase.direction == ("clockwise" if turned > 0 else "counterclockwise")
            if one.kind == "one" and phase.motion == "left":
                paces[phase.pace].append(actor.centers[0, 0] - actor.centers[-1, 0])
    assert max(paces["slow"]) < min(paces["steady"]) < max(paces["steady"]) < min(paces["quick"])


def test_sizes_are_those_halfway_through_a_change(many):
    for one in many:
        for actor in one.cast.actors:
            low, high = actor.radii.min() / 96, actor.radii.max() / 96
            radius = {"small": 0.1, "medium": 0.13, "large": 0.17}[actor.look.size]
            assert np.sqrt(low * high) == pytest.approx(radius, rel=0.01)
            changes = {"grow", "shrink"} & set(motion_of(actor).split(" then "))
            assert (1.6 < high / low < 1.95) if changes else (high == pytest.approx(low))


def test_only_what_moves_straight_is_cut_by_an_edge(many):
    for one in many:
        for actor in one.cast.actors if one.cast.wraps else ():
            turn = dict(actor.turns).get("phase", 9.0)
            for number, phase in enumerate(actor.phases):
                frames = (np.arange(25) / 12 >= turn) == bool(number)
                near = np.minimum(actor.centers, 96 - actor.centers)[frames]
                cut = (near < actor.reach[frames, None] - 1e-9).any(axis=0)
                assert set(np.flatnonzero(cut)) <= {CROSSING.get(phase.motion)}


def test_straight_motions_start_anywhere_along_their_axis(many):
    """Chi-square over 4 bins, 3 degrees of freedom: 21.1 is exceeded with probability 1e-4."""
    starts = defaultdict(list)
    for one in many:
        motion = motion_of(one.cast.actors[0])
        if one.kind == "one" and motion in CROSSING:
            starts[motion].append(one.cast.actors[0].centers[0, CROSSING[motion]])
    assert set(starts) == set(CROSSING)
    for found in starts.values():
        counts, _ = np.histogram(found, bins=4, range=(0, 96))
        assert counts.sum() == len(found)
        assert ((counts - len(found) / 4) ** 2 / (len(found) / 4)).sum() < 21.1


# -- several objects ------------------------------------------------------------------------


def apart(one, a: int, b: int) -> np.ndarray:
    """Distance of the outlines' outer circles over time, in pixels."""
    actors = one.cast.actors
    way = actors[a].centers - actors[b].centers
    if one.cast.wraps:
        way = (way + 48) % 96 - 48
    return np.hypot(*way.T) - actors[a].reach - actors[b].reach


@pytest.mark.parametrize("camera", ["static", "zoom"])
def test_objects_never_overlap_and_look_different(camera, many):
    scenes = many if camera == "static" else compositions(400, camera=camera)
    for one in scenes:
        for a, b in itertools.combinations(range(len(one.cast.actors)), 2):
            first, second = (one.cast.actors[i].look for i in (a, b))
            assert first.shape != second.shape
            assert first.color != second.color
            if one.kind != "collision":
                assert apart(one, a, b).min() > 1.5


def test_what_orbits_keeps_its_distance_and_goes_its_way(many):
    orbits = [one for one in many if one.kind == "orbit"]
    assert len(orbits) > 60
    for one in orbits:
        mover, rest = one.cast.actors
        way = mover.centers - rest.centers
        assert np.ptp(np.hypot(*way.T)) < 1e-6
        turned = np.unwrap(np.arctan2(way[:, 1], way[:, 0]))
        assert motion_of(mover) == ("clockwise" if turned[-1] > turned[0] else "counterclockwise")
        assert abs(turned[-1] - turned[0]) > 0.8 * 2 * np.pi
        assert motion_of(rest) == "rest"
        assert (rest.centers == rest.centers[0]).all()
        assert [r.name for r in one.cast.relations] == ["orbits"]


@pytest.mark.parametrize("camera", ["static", "pan", "zoom"])
def test_with_occlusion_something_always_passes(camera):
    names = Counter()
    for one in compositions(200, camera=camera, occlusion=True):
        assert one.kind == "pair"
        assert motion_of(one.cast.actors[1]) == "rest"
        distance = apart(one, 0, 1)
        assert distance.min() < -0.5 * one.cast.actors[0].reach[0]
        assert distance.max() > 0
        (relation,) = one.cast.relations
        names[relation.name] += 1
        front = {"passes behind": 1, "passes in front of": 0}[relation.name]
        assert one.cast.depth == (front, 1 - front)
    assert min(names.values()) > 70


@pytest.mark.parametrize("camera", ["static", "pan", "zoom"])
def test_each_passing_has_its_moment(camera):
    world = load(f"shapes:level=2,camera={camera},occlusion=1", **SIZE)
    hidden = 0
    for i in range(40):
        s = world.sample(i)
        way = s.tracks.xy[:, 0] - s.tracks.xy[:, 1]
        distance = np.hypot(*(way if camera == "zoom" else (way + 48) % 96 - 48).T)
        assert {(event.name, event.objects) for event in s.graph.events} == {("pass", (0, 1))}
        moments = [round(12 * event.seconds) for event in s.graph.events]
        assert distance.argmin() in moments
        for k in moments:
            assert distance[k] == distance[max(k - 1, 0) : k + 2].min()
        behind = s.masks.x[:, s.graph.depth_order[1]].sum((1, 2))
        if camera != "zoom" and "ring" not in {thing.shape for thing in s.graph.objects}:
            assert behind[moments].max() < 0.95 * behind.max()
            hidden += 1
    assert hidden > 15 or camera == "zoom"


def test_grounds_stand_out_from_all_objects(many):
    for one in many:
        for actor in one.cast.actors:
            if one.background.kind == "flat":
                assert one.background.names[0] in palette.flat_backgrounds(actor.look.color)
            else:
                pairs = palette.gradient_backgrounds(actor.look.color)
                assert one.background.names in pairs or one.background.names[::-1] in pairs


def test_a_camera_that_moves_sees_a_pattern_and_no_physics():
    for camera in ("pan", "zoom"):
        scenes = compositions(300, camera=camera)
        assert {one.background.kind for one in scenes} == set(backgrounds.PATTERNS)
        assert {one.kind for one in scenes} == set(KINDS) - {"collision"}
        assert "fall" not in {motion_of(one.cast.actors[0]) for one in scenes}
        ways = Counter(one.camera for one in scenes)
        assert set(ways) == {name for name in ATTRIBUTES["camera"] if name.startswith(camera)}


def test_without_pymunk_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pymunk", None)
    with pytest.raises(InputError, match=r"pip install kinema\[worlds\]"):
        Shapes(**SIZE, level=2)
    Shapes(**SIZE, level=2, camera="pan").sample(0)
    with pytest.raises(InputError, match=r"pip install kinema\[worlds\]"):
        physics.require()
