"""What falls and what collides in the world `shapes` obeys mechanics, and its events are true."""

from __future__ import annotations

import numpy as np
import pytest

from kinema.worlds import physics
from kinema.worlds.outlines import SHAPES
from kinema.worlds.world import Draws, Frames

FRAMES = Frames(count=25, height=96, width=96, fps=12.0)
SIZES = [FRAMES, Frames(count=61, height=64, width=128, fps=24.0)]


def falls(frames: Frames, count: int = 40):
    for index in range(count):
        draws = Draws("fall", 0, index)
        shape, radius = draws.choice(tuple(SHAPES)), draws.choice((0.085, 0.12, 0.17))
        yield shape, radius, physics.fall(shape, radius, frames, draws)


def collisions(count: int = 40):
    for index in range(count):
        draws = Draws("collision", 0, index)
        shapes = draws.pick(tuple(SHAPES), 2)
        radii = draws.choice((0.085, 0.12)), draws.choice((0.085, 0.12))
        found = None
        while found is None:
            found = physics.collision(shapes, radii, FRAMES, draws)
        yield shapes, radii, found


@pytest.mark.parametrize("frames", SIZES)
def test_what_falls_stays_in_the_frame_and_touches_the_floor_at_impacts(frames):
    width, height = frames.size / frames.side
    for shape, radius, found in falls(frames):
        left, top, right, bottom = (radius * e for e in SHAPES[shape].extent)
        x, y = found.places[:, 0].T
        assert -1e-6 <= (x + left).min() <= (x + right).max() <= width + 1e-6
        assert -0.01 <= (y + top).min() <= (y + bottom).max() <= height + 0.01
        assert not found.angles.any()
        assert np.ptp(np.diff(x)) < 1e-6
        for name, seconds, who in found.events:
            assert (name, who) == ("impact", (0,))
            # A parabola through the two frames before and after, half a frame away at most.
            nearest = y[round(seconds * frames.fps)] + bottom
            assert nearest > height - 2.7 * 0.5 / frames.fps - 0.03


@pytest.mark.parametrize("frames", SIZES)
def test_between_impacts_the_fall_is_free(frames):
    free = 0
    for _, _, found in falls(frames):
        times = np.arange(frames.count) / frames.fps
        second = np.diff(found.places[:, 0, 1], n=2) * frames.fps**2
        impacts = [seconds for _, seconds, _ in found.events]
        quiet = [
            a
            for a, start, end in zip(second, times, times[2:])
            if not any(start - 0.02 <= at <= end + 0.02 for at in impacts)
        ]
        if len(quiet) > 1 and min(physics.GRAVITY) < np.median(quiet) * 1.02:
            near = np.abs(np.array(quiet) - np.median(quiet)) < 0.05 * np.median(quiet)
            assert near.mean() > 0.6  # at the end of its life it rests
            assert np.median(quiet) < 1.02 * max(physics.GRAVITY)
            free += 1
    assert free > 30


def test_a_clip_shows_that_something_falls():
    lower = 0
    for shape, radius, found in falls(FRAMES):
        altitude = 1 - radius * SHAPES[shape].extent[3] - found.places[:, 0, 1]
        down = np.diff(altitude)
        impacts = [seconds for _, seconds, _ in found.events]
        assert impacts
        # It goes down before each impact, and up after it.
        first = round(impacts[0] * 12)
        if 1 <= first < 24:
            assert down[max(first - 2, 0)] < 0.02
        tops = [
            k
            for k in range(1, 24)
            if altitude[k] > altitude[k - 1] and altitude[k] > altitude[k + 1]
        ]
        heights = altitude[tops]
        assert (np.diff(heights) < 0.02).all()
        longest = run = 0.0
        for step in down:
            run = run - step if step < 0 else 0.0
            longest = max(longest, run)
        two_hops = len(heights) >= 2 and heights[0] - heights[-1] > 0.05
        assert longest > 0.25 or two_hops
        lower += two_hops
    assert lower > 5


def test_clips_start_at_all_moments_of_a_life():
    ways = [found.places[1, 0, 1] > found.places[0, 0, 1] for _, _, found in falls(FRAMES, 80)]
    assert 0.2 < np.mean(ways) < 0.9


def test_objects_go_straight_until_they_meet_and_change_their_way_then():
    for shapes, radii, found in collisions():
        name, seconds, who = found.events[0]
        assert (name, who) == ("collision", (0, 1))
        assert 0.3 < seconds / FRAMES.seconds < 0.7
        steps = np.diff(found.places, axis=0)
        before = int(np.floor(seconds * 12))
        assert np.abs(steps[:before] - steps[0]).max() < 1e-4
        assert not found.angles[: before + 1].any()
        after = steps[before + 1]
        speed = np.hypot(*steps[0].T)
        assert (np.hypot(*(after - steps[0]).T) > 0.25 * speed).all()
        # They touch when they meet: no farther than their outer circles, no nearer than inner ones.
        meet = found.places[0] + steps[0] * seconds * 12
        apart = np.hypot(*(meet[0] - meet[1]))
        reach = sum(r * SHAPES[s].reach for s, r in zip(shapes, radii))
        assert 0.4 * reach < apart < reach + 0.01


def test_momentum_is_kept():
    """Of objects whose mass is that of their area, until one hits an edge."""
    checked = 0
    for shapes, radii, found in collisions():
        masses = np.array([area(s) * r**2 for s, r in zip(shapes, radii)])
        steps = np.diff(found.places, axis=0)
        edge = min((at for name, at, _ in found.events if name == "impact"), default=9.0)
        contacts = [at for name, at, _ in found.events if name == "collision"]
        last = max(at for at in contacts if at < edge)
        free = [k for k in range(24) if last < k / 12 and (k + 1) / 12 < edge]
        for k in free[1:2]:
            total = (masses[:, None] * steps[k]).sum(axis=0)
            expected = (masses[:, None] * steps[0]).sum(axis=0)
            scale = (masses * np.hypot(*steps[0].T)).sum()
            assert np.abs(total - expected).max() < 0.02 * scale
            checked += 1
    assert checked > 20


def area(shape: str) -> float:
    """Of the outline of radius one, as mechanics has it: rounded corners are sharp, holes full."""
    if shape in ("circle", "ring"):
        return np.pi * SHAPES[shape].reach ** 2
    total = 0.0
    for piece in SHAPES[shape].pieces:
        x, y = np.array(piece).T
        total += abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    return total


def test_everything_stays_in_the_frame():
    for shapes, radii, found in collisions():
        for number, (shape, radius) in enumerate(zip(shapes, radii)):
            inner = 0.5 * radius * SHAPES[shape].reach
            places = found.places[:, number]
            assert places.min() > inner
            assert places.max() < 1 - inner
            impacts = [at for name, at, who in found.events if (name, who) == ("impact", (number,))]
            for at in impacts:
                place = places[min(round(at * 12), 24)]
                reach = radius * SHAPES[shape].reach
                assert min(place.min(), (1 - place).min()) < reach + 0.05
