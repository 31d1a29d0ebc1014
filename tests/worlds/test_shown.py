"""What parts of clips show agrees with their masks, words and turns."""

import numpy as np
import pytest

from kinema.worlds import load
from kinema.worlds.backgrounds import KINDS, names_in
from kinema.worlds.palette import BACKGROUNDS
from kinema.worlds.shown import CHANNELS, LARGEST, NAMES, shown

SIZE = {"num_frames": 25, "height": 96, "width": 96, "fps": 12.0}
PARTS = (7, 6, 6)


def drawn(kind, world="shapes:level=2"):
    source = load(world, seed=3, split="train", **SIZE)
    return next(s for s in map(source.sample, range(500)) if s.graph.kind == kind)


def part(x, name):
    return x[NAMES.index(name)].astype(float) / LARGEST


def test_names_are_told_once():
    assert len(set(NAMES)) == len(NAMES) == CHANNELS - 32


def test_objects_and_ground_share_each_part():
    sample = drawn("one")
    x, (thing,) = shown(sample, PARTS), sample.graph.objects
    assert (x.shape, x.dtype) == ((CHANNELS, *PARTS), np.uint8)
    covered = part(x, thing.shape)
    for name in (thing.color, thing.size, thing.motions[0]):
        np.testing.assert_array_equal(part(x, name), covered)
    kind = part(x, sample.graph.background_kind)
    np.testing.assert_allclose(kind + covered, 1, atol=1.01 / LARGEST)
    told = {NAMES[k] for k in range(len(NAMES)) if x[k].any()}
    assert thing.shape in told
    assert not told & {"circle", "square", "triangle", "star", "cross", "ring"} - {thing.shape}


@pytest.mark.parametrize("kind", KINDS)
def test_colors_of_the_ground_are_where_they_are(kind):
    """As many of its pixels are near each color as is told of each row."""
    source = load("shapes:level=2", seed=3, split="train", **SIZE)
    drawn = (source.sample(i) for i in range(500))
    sample = next(s for s in drawn if s.graph.background_kind == kind and s.graph.kind == "one")
    x, names = shown(sample, PARTS), names_in(sample.graph.background, kind)
    free = ~sample.masks.x.any((0, 1))  # never covered
    pixels = sample.clip.frames[0].astype(float)
    first, last = (np.array(BACKGROUNDS[name]) for name in (names[0], names[-1]))
    along = (pixels - last) @ (first - last) / max(((first - last) ** 2).sum(), 1)
    middle = np.median if kind == "gradient" else np.mean  # edges of objects are soft
    lines = [middle(own[seen]) for own, seen in zip(along, free)]
    rows = np.reshape(lines, (6, 16)).mean(1)
    told = part(x, names[0]) / part(x, kind).clip(1 / LARGEST)
    if len(names) == 1:
        np.testing.assert_allclose(told[part(x, kind) > 0.5], 1, atol=0.01)
        return
    near = 0.05 if kind == "gradient" else 0.25  # a pattern's period is longer than a row
    np.testing.assert_allclose(told[0].max(1), rows, atol=near)
    assert kind != "gradient" or told[0, 0].max() - told[0, -1].max() > 0.7
    both = part(x, names[0]) + part(x, names[1])
    np.testing.assert_allclose(both, part(x, kind), atol=1.51 / LARGEST)


def test_shares_are_those_of_the_masks():
    sample = drawn("pair")
    x, masks = shown(sample, PARTS), sample.masks.x
    first, later = masks[0, 0], masks[9:13, 0]  # of the parts 0 and 3
    shape = sample.graph.objects[0].shape
    for number, own in ((0, first[None]), (3, later)):
        expected = own.reshape(-1, 6, 16, 6, 16).mean((0, 2, 4))
        np.testing.assert_allclose(part(x, shape)[number], expected, atol=0.51 / LARGEST)
    pieces = x[len(NAMES) :].reshape(2, 4, 4, *PARTS) / LARGEST
    expected = masks[11:13].any(1).reshape(2, 6, 4, 4, 6, 4, 4).mean((0, 3, 6))
    np.testing.assert_allclose(
        pieces[1, :, :, 3].transpose(2, 0, 3, 1), expected, atol=0.51 / LARGEST
    )


def test_a_story_tells_each_phase_in_its_time():
    sample = drawn("story")
    x, (thing,) = shown(sample, PARTS), sample.graph.objects
    first, second = (part(x, motion).sum((1, 2)) > 0 for motion in thing.motions)
    (turn,) = (event.seconds for event in sample.graph.events if event.name == "phase")
    assert first[0]
    assert second[-1]
    assert (first ^ second).all()
    frames = 4 * np.flatnonzero(second)[0]  # its last; the part shows four frames
    assert abs(frames / SIZE["fps"] - turn) <= 4 / SIZE["fps"]


@pytest.mark.parametrize("size", [(25, 12, 12), (4, 3, 3)])
def test_parts_may_be_single_frames_or_long(size):
    assert shown(drawn("trio"), size).shape == (CHANNELS, *size)
