"""Objects that fall and objects that collide, in the box of the frame; pymunk does the mechanics.

Lengths are in units of the frame's shorter side; y grows downward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kinema.errors import InputError
from kinema.worlds.outlines import SHAPES
from kinema.worlds.world import Draws, Frames

if TYPE_CHECKING:
    import pymunk

GRAVITY = (2.0, 2.6)  # sides per second squared
ELASTICITY = (0.72, 0.80)  # of what falls
DRIFT = 0.12  # sides per second that something falling may go aside
HIGHEST = 1.0  # that something falls at most
LIFE = 1.6  # seconds of its life after which a clip may still start
FALL = 0.3  # a clip shows at least such a fall ...
LOWER = 0.1  # ... or two hops, the second this much lower
MEETING = (0.42, 0.58)  # of the clip: when two objects meet
OFF_MIDDLE = 0.08  # how far from the middle of the frame
SHORTEST_RUN = 0.2  # that an object goes until they meet
OPPOSED = -0.3  # the cosine of their directions at most
DEFLECTED = 0.3  # of its speed: how much each changes its velocity at least
STEPS_PER_SECOND = 240  # at least
RECORDS = 4  # places that are noted from one frame to the next
APART = 0.1  # seconds; contacts that follow faster are one
UNIT = 1000.0  # a side in pymunk, whose tolerances are made for pixels


@dataclass(frozen=True)
class Thing:
    """An object before it moves: its shape, radius, center (x, y) and velocity."""

    shape: str
    radius: float
    center: tuple[float, float]
    velocity: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Mechanics:
    """What becomes of N objects.

    Attributes:
        places: (T, N, 2) of their centers, from the upper left corner of the frame.
        angles: (T, N) in radians, clockwise.
        events: "impact" on an edge of the frame, or "collision", with the time in seconds and the
            numbers of the objects; in order of time.
    """

    places: np.ndarray
    angles: np.ndarray
    events: tuple[tuple[str, float, tuple[int, ...]], ...]


def require() -> None:
    """Checks that pymunk is there.

    Raises:
        InputError: it is not.
    """
    try:
        import pymunk  # noqa: F401
    except ImportError as error:
        raise InputError(
            "level 2 of the world shapes needs pymunk: pip install kinema[worlds]"
        ) from error


def fall(shape: str, radius: float, frames: Frames, draws: Draws) -> Mechanics:
    """Something falls on the lower edge of the frame and bounces lower and lower, without turning.

    The clip starts at a random moment of its life, from which on it shows an impact, and a long
    fall or two hops.

    Args:
        shape, radius: of the object.
        frames: size and times of the clip.
        draws: give height, gravity, elasticity, drift and the moment.
    """
    width, height = frames.size / frames.side
    left, top, right, bottom = (radius * e for e in SHAPES[shape].extent)
    drop = draws.uniform(0.8, 1.0) * min(HIGHEST, height - (bottom - top))
    velocity = draws.uniform(-DRIFT, DRIFT), 0.0
    thing = Thing(shape, radius, (0.0, height - bottom - drop), velocity)
    space = _space(draws.uniform(*GRAVITY))
    _add_body(space, thing, draws.uniform(*ELASTICITY), turns=False)
    _add_edge(space, (9.0, height), (-9.0, height))
    length = (frames.count - 1) * RECORDS + 1
    starts = math.ceil(LIFE * frames.fps) * RECORDS
    life = _run(space, starts + length, frames)
    altitudes = height - bottom - life.places[:, 0, 1]
    record = 1 / (frames.fps * RECORDS)
    impacts = np.array([seconds for _, seconds, _ in life.events]) / record
    good = [k for k in range(starts) if _shows_a_fall(altitudes[k : k + length], impacts - k)]
    start = draws.choice(tuple(good))
    places = life.places[start : start + length : RECORDS]
    x = places[:, 0, 0]
    x += draws.uniform(-left - x.min(), width - right - x.max())
    events = ((name, seconds - start * record, who) for name, seconds, who in life.events)
    kept = tuple(event for event in events if 0 <= event[1] <= (length - 1) * record)
    return Mechanics(places, np.zeros((frames.count, 1)), kept)


def _shows_a_fall(altitudes: np.ndarray, impacts: np.ndarray) -> bool:
    """Whether a stretch of records, in which impacts have these places, is seen to be a fall."""
    inside = impacts[(impacts > 0.5) & (impacts < len(altitudes) - 1.5)]
    if not len(inside):
        return False
    falls = np.split(altitudes, np.ceil(inside).astype(int))
    longest = max(part.max() - part[-1] for part in falls)
    hops = [part.max() for part in falls if 0 < part.argmax() < len(part) - 1]
    return bool(longest >= FALL or (len(hops) >= 2 and hops[0] - hops[-1] >= LOWER))


def collision(
    shapes: tuple[str, str], radii: tuple[float, float], frames: Frames, draws: Draws
) -> Mechanics | None:
    """Two objects meet about the middle of the clip, without gravity, and bounce off one another.

    None if what was drawn does not do: they start too near, or miss, or hardly deflect each other.

    Args:
        shapes, radii: of the objects.
        frames: size and times of the clip.
        draws: give places and velocities.
    """
    size = frames.size / frames.side
    meeting = size / 2 + [draws.uniform(-OFF_MIDDLE, OFF_MIDDLE) for _ in range(2)]
    when = draws.uniform(*MEETING) * frames.seconds
    things, ways = [], []
    for shape, radius in zip(shapes, radii):
        reach = radius * SHAPES[shape].reach
        start = np.array([draws.uniform(reach, edge - reach) for edge in size])
        distance = np.hypot(*(meeting - start))
        way, run = (meeting - start) / distance, distance - radius
        if run < SHORTEST_RUN:
            return None
        x, y = way * run / when
        things.append(Thing(shape, radius, (start[0], start[1]), (x, y)))
        ways.append(way)
    if ways[0] @ ways[1] > OPPOSED:
        return None
    space = _space(0.0)
    for thing in things:
        _add_body(space, thing, 0.95, turns=True)
    corners = [(0.0, 0.0), (size[0], 0.0), (size[0], size[1]), (0.0, size[1])]
    for a, b in zip(corners, corners[1:] + corners[:1]):
        _add_edge(space, a, b)
    found = _run(space, (frames.count - 1) * RECORDS + 1, frames)
    return _at_frames(found) if _deflects(found, when, frames) else None


def _at_frames(found: Mechanics) -> Mechanics:
    return Mechanics(found.places[::RECORDS], found.angles[::RECORDS], found.events)


def _deflects(found: Mechanics, when: float, frames: Frames) -> bool:
    """Whether two objects meet first of all, about when they should, and both change their way."""
    if not found.events or found.events[0][0] != "collision":
        return False
    record = found.events[0][1] * frames.fps * RECORDS
    if abs(found.events[0][1] - when) > 0.1 * frames.seconds or record > len(found.places) - 3:
        return False
    steps = np.diff(found.places, axis=0)
    before, after = steps[0], steps[math.ceil(record)]
    changed = np.hypot(*(after - before).T)
    return bool((changed >= DEFLECTED * np.hypot(*before.T)).all())


def _space(gravity: float) -> pymunk.Space:
    import pymunk

    space = pymunk.Space()
    space.gravity = 0.0, gravity * UNIT
    space.iterations = 20
    return space


def _add_body(space: pymunk.Space, thing: Thing, elasticity: float, *, turns: bool) -> None:
    import pymunk

    shape, radius = SHAPES[thing.shape], thing.radius * UNIT
    body = pymunk.Body()
    parts: list[pymunk.Shape] = [
        pymunk.Poly(body, [(radius * x, radius * y) for x, y in piece]) for piece in shape.pieces
    ]
    parts = parts or [pymunk.Circle(body, radius * shape.reach)]
    for part in parts:
        part.density, part.elasticity, part.friction = 1.0, elasticity, 0.3
        part.collision_type = 1
    space.add(body, *parts)
    body.position = UNIT * thing.center[0], UNIT * thing.center[1]
    body.velocity = UNIT * thing.velocity[0], UNIT * thing.velocity[1]
    if not turns:
        body.moment = math.inf


def _add_edge(space: pymunk.Space, a: tuple[float, float], b: tuple[float, float]) -> None:
    """A wall from a to b that bodies are kept to the right of, as one goes along it."""
    import pymunk

    thick = 0.2 * UNIT
    way = np.subtract(b, a) / math.dist(a, b)
    out = thick * np.array([way[1], -way[0]])
    first, last = (tuple((UNIT * np.array(point) + out).tolist()) for point in (a, b))
    edge = pymunk.Segment(space.static_body, first, last, thick)
    edge.elasticity, edge.friction, edge.collision_type = 1.0, 0.0, 2
    space.add(edge)


def _run(space: pymunk.Space, records: int, frames: Frames) -> Mechanics:
    """What happens in a space, noted `RECORDS` times a frame."""
    bodies = space.bodies
    numbers = {body: number for number, body in enumerate(bodies)}
    substeps = math.ceil(STEPS_PER_SECOND / (frames.fps * RECORDS))
    step = 1 / (frames.fps * RECORDS * substeps)
    events: list[tuple[str, float, tuple[int, ...]]] = []

    def note(arbiter: pymunk.Arbiter, space: pymunk.Space, data: None) -> None:
        who = tuple(sorted({numbers[s.body] for s in arbiter.shapes if s.body in numbers}))
        name = "collision" if len(who) == 2 else "impact"
        last = max((at for _, at, others in events if others == who), default=-1.0)
        if seconds - last > APART:
            events.append((name, seconds, who))

    space.on_collision(1, 1, begin=note)
    space.on_collision(1, 2, begin=note)
    places, angles, seconds = [], [], 0.0
    for record in range(records):
        places.append([body.position for body in bodies])
        angles.append([body.angle for body in bodies])
        for substep in range(substeps):
            seconds = (record + (substep + 1) / substeps) / (frames.fps * RECORDS)
            space.step(step)
    return Mechanics(np.array(places) / UNIT, np.array(angles), tuple(events))
