"""The world `motions`: one frame, or both ends, tell nothing; the order of frames tells all."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.worlds import load
from kinema.worlds.motion_classes import CIRCLES, CLASSES, FASTEST, LINES, SIZES, MotionClasses
from kinema.worlds.shapes import VOCABULARY
from kinema.worlds.world import WorldSample

SIZE = {"seed": 0, "split": "train", "num_frames": 8, "height": 32, "width": 32, "fps": 8.0}
WORLD = MotionClasses(**SIZE)
CHANCE = 1 / len(CLASSES)
BACK = {
    **{name: next(n for n in LINES if LINES[n] == (-x, -y)) for name, (x, y) in LINES.items()},
    **{name: next(n for n in CIRCLES if n != name) for name in CIRCLES},
    **{name: next(n for n in SIZES if n != name) for name in SIZES},
}


def test_a_reference_makes_it_and_its_options_make_it_again():
    world = load("motions:distractors=2", **SIZE)
    assert world.options == {**SIZE, "distractors": 2}
    again = load("motions", **world.options)
    assert (again.sample(3).clip.frames == world.sample(3).clip.frames).all()
    assert len(world.sample(3).graph.objects) == 3


def test_splits_and_seeds_draw_other_samples():
    others = [MotionClasses(**{**SIZE, **change}) for change in ({"split": "all"}, {"seed": 1})]
    for world in others:
        assert (world.sample(0).clip.frames != WORLD.sample(0).clip.frames).any()


@pytest.mark.parametrize("index", range(4))
def test_first_and_last_frame_are_the_same_in_every_class(index):
    clips = [WORLD.sample_of(index, motion).clip.frames for motion in CLASSES]
    for clip in clips:
        assert (clip[0] == clips[0][0]).all()
        assert (clip[-1] == clip[0]).all()
    middles = {clip[3].tobytes() for clip in clips}
    assert len(middles) == len(CLASSES)


def test_a_sample_is_that_of_its_class():
    sample = WORLD.sample(5)
    motion = sample.labels["motion"]
    assert motion in CLASSES
    assert (WORLD.sample_of(5, motion).clip.frames == sample.clip.frames).all()
    assert sample.graph.objects[0].motions == (motion,)


def test_every_class_is_drawn():
    found = [WORLD.sample(index).labels["motion"] for index in range(240)]
    counts = {motion: found.count(motion) for motion in CLASSES}
    assert min(counts.values()) > 5, counts


@pytest.mark.parametrize("motion", CLASSES)
def test_motions_are_what_they_are_called(motion):
    for index in range(5):
        sample = WORLD.sample_of(index, motion)
        steps = np.diff(sample.tracks.xy[:, 0], axis=0)
        radii = np.sqrt(sample.masks.x[:, 0].sum((1, 2)))
        if motion in LINES:
            assert (np.sign(np.round(steps, 3)) == LINES[motion]).all()
            assert np.abs(steps).max() < FASTEST * 32
        elif motion in CIRCLES:
            turn = steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0]
            assert (np.sign(turn) == CIRCLES[motion]).all()
        else:
            assert not steps.any()
            assert radii.max() > radii.min()


@pytest.mark.parametrize("motion", CLASSES)
def test_a_class_backwards_is_its_pair(motion):
    """The steps of many clips backwards have the distribution of those of the pair."""
    if motion in SIZES:
        pytest.skip("its center stays")
    own = np.stack([WORLD.sample_of(i, motion).tracks.xy[::-1, 0] for i in range(60)])
    pair = np.stack([WORLD.sample_of(i, BACK[motion]).tracks.xy[:, 0] for i in range(60)])
    for x in (own, pair):
        x -= x[:, :1]
    assert np.abs(own.mean(0) - pair.mean(0)).max() < 0.35 * max(own.std(), 1)


@functools.cache
def drawn(indices: range) -> list[WorldSample]:
    return [WORLD.sample(index) for index in indices]


def features(frame: int, indices: range) -> tuple[np.ndarray, np.ndarray]:
    """One frame of each clip, in 8 x 8 averages, and the classes."""
    samples = drawn(indices)
    x = np.stack([s.clip.frames[frame].astype(np.float32) / 255 for s in samples])
    x = x.reshape(len(x), 8, 4, 8, 4, 3).mean((2, 4)).reshape(len(x), -1)
    return x, np.array([CLASSES.index(s.labels["motion"]) for s in samples])


def test_classifiers_of_single_frames_are_at_chance():
    """Nearest neighbor and ridge regression on 600 frames, tried on 400 others."""
    bound = CHANCE + 4 * (CHANCE * (1 - CHANCE) / 400) ** 0.5
    for frame in (0, 3, 5):
        x, classes = features(frame, range(600))
        seen, expected = features(frame, range(600, 1000))
        apart = (seen**2).sum(1)[:, None] + (x**2).sum(1) - 2 * seen @ x.T
        assert (classes[apart.argmin(1)] == expected).mean() < bound
        center = x.mean(0)
        design = (x - center).T @ (x - center) + 10 * np.eye(x.shape[1])
        weights = np.linalg.solve(design, (x - center).T @ (np.eye(len(CLASSES))[classes] - CHANCE))
        assert (((seen - center) @ weights).argmax(1) == expected).mean() < bound


def test_the_same_classifier_reads_differences_of_frames():
    """The test above could see: with the order of frames, motion is read well above chance."""
    x, classes = steps_of(range(600))
    seen, expected = steps_of(range(600, 1000))
    apart = ((seen[:, None] - x[None]) ** 2).sum(-1)
    assert (classes[apart.argmin(1)] == expected).mean() > 0.6


def steps_of(indices: range) -> tuple[np.ndarray, np.ndarray]:
    samples = drawn(indices)
    steps = np.stack([np.diff(s.tracks.xy[:, 0], axis=0).sum(0) for s in samples])
    turned = np.stack([np.diff(s.tracks.xy[:3, 0], axis=0).ravel() for s in samples])
    return np.concatenate([steps, turned], 1), np.array(
        [CLASSES.index(s.labels["motion"]) for s in samples]
    )


def test_captions_are_true_and_use_the_words_of_shapes():
    known = set(VOCABULARY)
    for motion in CLASSES:
        sample = WORLD.sample_of(1, motion)
        assert set(sample.captions[0].split()) <= known
        assert set(sample.detailed.split()) <= known
        assert sample.labels["color"] in sample.captions[0]


def test_truth_fits_the_frames():
    sample = WORLD.sample(0)
    assert sample.masks.x.shape == (8, 2, 32, 32)
    assert sample.flow.shape == (7, 32, 32, 2)
    assert sample.boxes.xyxy.shape == (8, 2, 4)
    assert sample.masks.x[:, 0].any(axis=(1, 2)).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_frames": 4}, "5 or more"),
        ({"height": 16}, "24 pixels or more"),
        ({"distractors": 3}, r"0\.\.2"),
    ],
)
def test_options_out_of_range_are_named(change, said):
    with pytest.raises(InputError, match=said):
        MotionClasses(**{**SIZE, **change})


def test_what_does_not_exist_is_named():
    with pytest.raises(InputError, match="count from 0"):
        WORLD.sample(-1)
    with pytest.raises(InputError, match="unknown class"):
        WORLD.sample_of(0, "lefft")
