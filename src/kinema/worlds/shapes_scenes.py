"""How scenes of the world `shapes` are composed: who is in them, and where.

Scenes lie on the torus of the frame, so that a single frame does not tell a motion. On level 2 a
camera at rest sees objects whole, but for those that move straight: they leave on one side and come
back on the other. What falls or collides lives in the box of the frame, and what a zooming camera
sees on an endless plane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from kinema.errors import InputError
from kinema.worlds import backgrounds, motions, palette, physics
from kinema.worlds.backgrounds import Background
from kinema.worlds.motions import CHANGES, PATHS, Course
from kinema.worlds.outlines import SHAPES
from kinema.worlds.shapes_splits import Split, combinations, stories
from kinema.worlds.views import MOVES, Camera, View, view
from kinema.worlds.world import Draws, Event, Frames, Phase, Relation

RADII = {"small": 0.1, "medium": 0.13, "large": 0.17}  # of the frame's shorter side
KINDS = {  # of scenes, and how many of all they are
    "one": 0.52,
    "story": 0.24,
    "pair": 0.10,
    "orbit": 0.03,
    "collision": 0.07,
    "trio": 0.04,
}
GROUNDS = {"flat": 0.35, "gradient": 0.35, "stripes": 0.10, "checker": 0.10, "dots": 0.10}
PERIODS = {"stripes": 1 / 6, "checker": 1 / 3, "dots": 1 / 6}  # of patterns, in shorter sides
FREE = (*PATHS, *CHANGES)  # for one among several, and for a phase of a story
SMALLER, LARGER = ("small", "medium"), ("medium", "large")
GAP = 0.02  # between outlines, in shorter sides
ORBIT_GAP = (0.03, 0.08)  # the same, between what orbits and what is orbited
AIM = 0.35  # of its radius: how near its center something is passed
SEEN = 0.6  # of the frames: how long an object is in the view of a zooming camera at least
TRIES = 30  # of a place among others, before other objects are taken
MOST_CASTS = 1000  # far more than are ever needed
SECONDS_TO_PASS = 1.0


class _NoRoomError(Exception):
    """These objects do not find places together; others are taken."""


class Look(NamedTuple):
    """What an object is called."""

    shape: str
    color: str
    size: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Actor:
    """An object and its path, in pixels of the world; see `world.Object` and `drawing.Body`.

    Attributes:
        turns: name and time in seconds of what happens to it alone.
    """

    look: Look
    phases: tuple[Phase, ...]
    centers: np.ndarray
    radii: np.ndarray
    angles: np.ndarray
    turns: tuple[tuple[str, float], ...]

    @property
    def reach(self) -> np.ndarray:
        """How far the outline goes from the center, (T,)."""
        return self.radii * SHAPES[self.look.shape].reach


@dataclass(frozen=True, eq=False)
class Cast:
    """Who is in a scene.

    Attributes:
        actors: the objects.
        relations, events: what is between them.
        depth: their numbers from front to back.
        wraps: whether they live on the torus of the frame.
    """

    actors: tuple[Actor, ...]
    relations: tuple[Relation, ...]
    events: tuple[Event, ...]
    depth: tuple[int, ...]
    wraps: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Composition:
    """A scene before it is drawn: its kind, of `KINDS`, who is in it, the ground and the camera."""

    kind: str
    cast: Cast
    background: Background
    camera: str
    view: View


class LevelOne:
    """Composes scenes with one object over a plain ground.

    Args:
        split: of the combinations.
        frames: size and times of the clip.
    """

    def __init__(self, *, split: Split, frames: Frames) -> None:
        self.combinations, self.frames = combinations(split, tuple(PATHS)), frames

    def compose(self, draws: Draws) -> Composition:
        """Draws a scene."""
        shape, color, motion = draws.choice(self.combinations)
        size = draws.choice(tuple(RADII))
        kind = draws.choice(backgrounds.PLAIN)
        names: tuple[str, ...]
        if kind == "gradient":
            names = draws.choice(palette.gradient_backgrounds(color))
        else:
            names = (draws.choice(palette.flat_backgrounds(color)),)
        start = np.array([draws.uniform(0, edge) for edge in self.frames.size])
        course = motions.course(motion, self.frames.times, self.frames.seconds, draws)
        alone = on_course(Look(shape, color, size), course, start, self.frames)
        return Composition(
            kind="one",
            cast=Cast((alone,), (), (), (0,), wraps=True),
            background=Background(kind=kind, names=names, period=1.0, offset=(0.0, 0.0)),
            camera="static",
            view=view("static", self.frames, draws),
        )


class LevelTwo:
    """Composes all kinds of scenes.

    Args:
        split: of the combinations.
        camera: what it does in every scene. One that moves sees no physics, whose box is the frame.
        occlusion: whether in every scene something passes behind or in front of something else.
        frames: size and times of the clip.

    Raises:
        InputError: pymunk is missing, or the clip is too short for something to pass.
    """

    def __init__(self, *, split: Split, camera: Camera, occlusion: bool, frames: Frames) -> None:
        self.split, self.camera, self.frames = split, camera, frames
        self.torus = camera != "zoom"
        physical = camera == "static" and not occlusion
        if physical:
            physics.require()
        if occlusion and frames.seconds < SECONDS_TO_PASS:
            raise InputError(
                f"a clip of {frames.seconds:.2g} seconds is too short for occlusion; "
                f"take {SECONDS_TO_PASS:g} seconds or more"
            )
        self.solo = tuple(
            motion
            for motion in (*FREE, "stop", *(("fall",) if physical else ()))
            if frames.seconds >= motions.LEAST_SECONDS.get(motion, 0)
        )
        makers: dict[str, Callable[[View, Draws], Cast]] = {
            "one": self._one,
            "pair": lambda see, draws: self._several(2, see, draws),
            "orbit": self._orbit,
            "trio": lambda see, draws: self._several(3, see, draws),
        }
        if frames.seconds >= 2 * motions.LEAST_PHASE:
            makers["story"] = self._story
        if physical and frames.seconds >= motions.LEAST_SECONDS["collide"]:
            makers["collision"] = self._collision
        self.makers = {"pair": self._passing} if occlusion else makers

    def compose(self, draws: Draws) -> Composition:
        """Draws a scene."""
        camera = draws.choice(MOVES[self.camera])
        see = view(camera, self.frames, draws)
        kind = draws.weighted({kind: KINDS[kind] for kind in self.makers})
        cast = self._cast(kind, see, draws)
        colors = [actor.look.color for actor in cast.actors]
        return Composition(
            kind=kind,
            cast=cast,
            background=ground_for(colors, self.camera, self.frames, draws),
            camera=camera,
            view=see,
        )

    def _cast(self, kind: str, see: View, draws: Draws) -> Cast:
        for _ in range(MOST_CASTS):
            try:
                return self.makers[kind](see, draws)
            except _NoRoomError:
                continue
        raise AssertionError(f"no {kind} finds room in {self.frames}")

    def _one(self, see: View, draws: Draws) -> Cast:
        motion = draws.choice(self.solo)
        look = self._look(motion, tuple(RADII), (), draws)
        if motion == "fall":
            return self._fall(look, draws)
        return self._arranged([self._enter(look, self._course(motion, draws), [], see, draws)])

    def _story(self, see: View, draws: Draws) -> Cast:
        shape, color, first, second = draws.choice(stories(self.split, FREE))
        course = motions.then(first, second, self.frames, draws)
        look = Look(shape, color, draws.choice(tuple(RADII)))
        return self._arranged([self._enter(look, course, [], see, draws)])

    def _several(self, count: int, see: View, draws: Draws) -> Cast:
        actors: list[Actor] = []
        for _ in range(count):
            motion = draws.choice(FREE)
            look = self._look(motion, SMALLER, [actor.look for actor in actors], draws)
            actors.append(self._enter(look, self._course(motion, draws), actors, see, draws))
        return self._arranged(actors)

    def _orbit(self, see: View, draws: Draws) -> Cast:
        direction = draws.choice(("clockwise", "counterclockwise"))
        look = self._look(direction, ("small",), (), draws)
        center = self._look("rest", SMALLER, [look], draws)
        near = sum(RADII[each.size] * SHAPES[each.shape].reach for each in (look, center))
        radius = near + draws.uniform(*ORBIT_GAP)
        course = motions.orbit(direction, radius, self.frames.times, draws)
        start = self._start(look, course, draws)
        mover = on_course(look, course, start, self.frames)
        rest = on_course(center, self._course("rest", draws), start, self.frames)
        if not (self._in_view(mover, see) and self._in_view(rest, see)):
            raise _NoRoomError
        return self._arranged([mover, rest], (Relation(name="orbits", subject=0, object=1),))

    def _fall(self, look: Look, draws: Draws) -> Cast:
        falls = physics.fall(look.shape, RADII[look.size], self.frames, draws)
        return self._physical([look], "fall", falls, ())

    def _collision(self, see: View, draws: Draws) -> Cast:
        looks: list[Look] = []
        for _ in range(2):
            looks.append(self._look("collide", SMALLER, looks, draws))
        shapes, radii = zip(*((look.shape, RADII[look.size]) for look in looks))
        meet = None
        for _ in range(TRIES):
            meet = meet or physics.collision(shapes, radii, self.frames, draws)
        if meet is None:
            raise _NoRoomError
        relation = Relation(name="collides with", subject=0, object=1)
        return self._physical(looks, "collide", meet, (relation,))

    def _physical(
        self,
        looks: Sequence[Look],
        motion: str,
        mechanics: physics.Mechanics,
        relations: tuple[Relation, ...],
    ) -> Cast:
        phase = Phase(motion=motion, pace="", direction="")
        places = mechanics.places * self.frames.side
        actors = [
            Actor(
                look=look,
                phases=(phase,),
                centers=places[:, number],
                radii=np.full(self.frames.count, RADII[look.size] * self.frames.side),
                angles=mechanics.angles[:, number],
                turns=(),
            )
            for number, look in enumerate(looks)
        ]
        events = [Event(name=n, seconds=at, objects=who) for n, at, who in mechanics.events]
        return Cast(tuple(actors), relations, tuple(events), tuple(range(len(actors))), False)

    def _passing(self, see: View, draws: Draws) -> Cast:
        motion = draws.choice(tuple(PATHS))
        look = self._look(motion, SMALLER, (), draws)
        mover = self._enter(look, self._course(motion, draws), [], see, draws)
        look = self._look("rest", LARGER, [mover.look], draws)
        meeting = mover.centers[int(draws.uniform(0.25, 0.75) * self.frames.count)]
        radius = RADII[look.size] * self.frames.side
        aside = np.array([draws.uniform(-AIM, AIM) * radius for _ in range(2)])
        rest = on_course(look, self._course("rest", draws), meeting + aside, self.frames)
        whole = self.camera != "static" or self._whole(rest)
        if not (whole and self._clear(mover, rest).any() and self._in_view(rest, see)):
            raise _NoRoomError
        behind = draws.choice((True, False))
        name = "passes behind" if behind else "passes in front of"
        cast = self._arranged([mover, rest], (Relation(name=name, subject=0, object=1),))
        return replace(cast, depth=(1, 0) if behind else (0, 1))

    def _arranged(self, actors: Sequence[Actor], relations: tuple[Relation, ...] = ()) -> Cast:
        return Cast(tuple(actors), relations, (), tuple(range(len(actors))), self.torus)

    def _look(
        self, motion: str, sizes: tuple[str, ...], others: Sequence[Look], draws: Draws
    ) -> Look:
        """Shape, color and size of an object that is to move so, unlike the others."""
        free = tuple(
            (shape, color)
            for shape, color, _ in combinations(self.split, (motion,))
            if all(shape != other.shape and color != other.color for other in others)
        )
        if not free:
            raise _NoRoomError
        return Look(*draws.choice(free), draws.choice(sizes))

    def _course(self, motion: str, draws: Draws) -> Course:
        return motions.course(motion, self.frames.times, self.frames.seconds, draws)

    def _enter(
        self,
        look: Look,
        course: Course,
        others: Sequence[Actor],
        see: View,
        draws: Draws,
    ) -> Actor:
        """An object whose start is uniform among those from which it meets no other."""
        for _ in range(TRIES):
            actor = on_course(look, course, self._start(look, course, draws), self.frames)
            apart = all(self._clear(actor, other).all() for other in others)
            if apart and self._in_view(actor, see):
                return actor
        raise _NoRoomError

    def _start(self, look: Look, course: Course, draws: Draws) -> np.ndarray:
        """Where a course may start, uniform over the places from which it is seen as it should."""
        low, high = np.zeros(2), self.frames.size.astype(float)
        if self.camera == "static":
            actor = on_course(look, course, low, self.frames)
            margin = actor.reach[:, None]
            inside = ~course.crosses(self.frames.times)
            least = np.where(inside, margin - actor.centers, -np.inf).max(axis=0)
            most = np.where(inside, high - margin - actor.centers, np.inf).min(axis=0)
            bound = inside.any(axis=0)
            low, high = np.where(bound, least, low), np.where(bound, most, high)
            if (low > high).any():
                raise _NoRoomError
        return np.array([draws.uniform(*ends) for ends in zip(low, high)])

    def _whole(self, actor: Actor) -> bool:
        """Whether the frame's edge never cuts an object at rest."""
        first, margin = actor.centers[0], actor.reach[0]
        return bool(((first >= margin) & (first <= self.frames.size - margin)).all())

    def _clear(self, actor: Actor, other: Actor) -> np.ndarray:
        """In which frames two objects keep clear of one another, (T,)."""
        apart = actor.centers - other.centers
        if self.torus:
            half = self.frames.size / 2
            apart = (apart + half) % self.frames.size - half
        return np.hypot(*apart.T) > actor.reach + other.reach + GAP * self.frames.side

    def _in_view(self, actor: Actor, see: View) -> bool:
        """Whether a camera that zooms sees enough of it; on the torus every place is seen."""
        if self.torus:
            return True
        seen = see.seen(actor.centers)
        return bool(((seen > 0) & (seen < self.frames.size)).all(axis=1).mean() >= SEEN)


def on_course(look: Look, course: Course, start: np.ndarray, frames: Frames) -> Actor:
    """An object that starts there and goes its course."""
    return Actor(
        look=look,
        phases=course.phases,
        centers=start + frames.side * course.places,
        radii=RADII[look.size] * frames.side * course.growth,
        angles=course.angles,
        turns=course.turns,
    )


def ground_for(colors: Sequence[str], camera: Camera, frames: Frames, draws: Draws) -> Background:
    """A ground on which objects of these colors stand out everywhere.

    Under a camera that moves it has a pattern: on others it would not be seen to move.
    """
    kinds = {k: v for k, v in GROUNDS.items() if camera == "static" or k in backgrounds.PATTERNS}
    kind = draws.weighted(kinds)
    names: tuple[str, ...]
    flat = [set(palette.flat_backgrounds(color)) for color in colors]
    pairs: list[set[tuple[str, ...]]] = [set(palette.gradient_backgrounds(c)) for c in colors]
    if kind == "flat":
        names = (draws.choice(tuple(sorted(set.intersection(*flat)))),)
    else:
        names = draws.choice(tuple(sorted(set.intersection(*pairs))))
        if kind in ("stripes", "checker"):
            names = tuple(sorted(names))  # neither color is above or upon the other
    period = PERIODS.get(kind, 1.0) * frames.side * draws.uniform(0.9, 1.1)
    offset = draws.uniform(0, 1), draws.uniform(0, 1)
    return Background(kind=kind, names=names, period=period, offset=offset)
