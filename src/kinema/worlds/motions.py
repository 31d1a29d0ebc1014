"""How objects of the world `shapes` move, turn and change, each entered at a random place.

Frames are a torus: what leaves on one side comes back on the other. On level 1 the start is uniform
over the frame for every motion, so the position in a single frame has the same distribution
whatever the motion is; only several frames tell it. What falls or collides is in
`kinema.worlds.physics`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kinema.worlds.world import Draws, Frames, Phase

PACE = (0.88, 1.12)  # each object is a little slower or quicker than its motion's frequency
STEADY = (0.95, 1.05)  # paces that are called neither slow nor quick
LOWEST_FPS = 4.0  # below, a bounce or a swing falls between the frames
GROWTH = (1.7, 1.9)  # the largest radius as a multiple of the smallest
SPIN = 0.4  # turns per second
REST = (0.5, 0.7)  # seconds of a stop
TURNABLE = ("square", "triangle", "star", "cross")  # shapes on which a spin is seen


@dataclass(frozen=True)
class Motion:
    """A path and how often it is gone through.

    Attributes:
        path: turns (T,) -> displacement (x, y), each (T,), in units of the frame's shorter side; x
            grows to the right and y downward. Linear paths advance by one side per turn.
        frequency: turns per second, before the object's own pace.
    """

    path: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    frequency: float


def _line(x: float, y: float) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    return lambda turns: (x * turns, y * turns)


def circle(direction: int, radius: float) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The path around a circle of this radius; direction 1 is clockwise, -1 is not."""

    def path(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = 2 * np.pi * direction * turns
        return radius * np.cos(angle), radius * np.sin(angle)

    return path


def _bounce(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u = turns % 1.0  # 0 and 1: on the ground; free fall in between
    return 0 * u, -0.28 * 4 * u * (1 - u)


def _swing(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 0.18 * np.sin(2 * np.pi * turns), 0 * turns


PATHS: dict[str, Motion] = {
    "left": Motion(_line(-1, 0), 0.45),
    "right": Motion(_line(1, 0), 0.45),
    "up": Motion(_line(0, -1), 0.45),
    "down": Motion(_line(0, 1), 0.45),
    "clockwise": Motion(circle(1, 0.18), 0.5),
    "counterclockwise": Motion(circle(-1, 0.18), 0.5),
    "bounce": Motion(_bounce, 0.9),
    "swing": Motion(_swing, 0.8),
}
CROSSING = {"left": 0, "right": 0, "stop": 0, "up": 1, "down": 1}  # the axis that is gone along
CHANGES = ("grow", "shrink", "spin")  # of an object whose center is still
MOTIONS = (*PATHS, *CHANGES, "stop", "fall", "collide", "rest")
# Of a clip, in seconds: what takes longer is not drawn.
LEAST_PHASE = 0.9  # seconds of each phase of a story
LEAST_SECONDS = {"stop": 1.2, "fall": 1.5, "collide": 1.2}


def displacement(motion: str, seconds: np.ndarray, *, phase: float, pace: float) -> np.ndarray:
    """Where an object is at `seconds` (T,) relative to where it is at the first of them.

    Args:
        motion: a name of `PATHS`.
        seconds: times (T,), the first is the start of the clip.
        phase: the place of the path at time 0, in turns, [0, 1).
        pace: its speed as a multiple of the motion's own.

    Returns:
        (T, 2) float64, (x, y) in units of the frame's shorter side; the first row is zero.
    """
    path, frequency = PATHS[motion].path, PATHS[motion].frequency
    places = np.stack(path(phase + frequency * pace * seconds), axis=-1)
    return places - places[0]


@dataclass(frozen=True, eq=False)
class Course:
    """What an object does over time, from wherever it is.

    Attributes:
        phases: what it is called, one after the other.
        places: (T, 2) relative to the first, in units of the frame's shorter side.
        growth: (T,) of its radius; 1 is halfway between the smallest and the largest.
        angles: (T,) in radians, clockwise; the first is 0.
        turns: the times at which a phase, a stop or a go begins, in seconds, by name.
    """

    phases: tuple[Phase, ...]
    places: np.ndarray
    growth: np.ndarray
    angles: np.ndarray
    turns: tuple[tuple[str, float], ...]

    def crosses(self, seconds: np.ndarray) -> np.ndarray:
        """Where it goes straight, from one edge of the frame to the other: (T, 2), for x and y."""
        then = [at for name, at in self.turns if name == "phase"]
        number = np.searchsorted(then, seconds, side="right")
        axes = np.array([CROSSING.get(phase.motion, -1) for phase in self.phases])
        return axes[number][:, None] == np.arange(2)


def course(motion: str, seconds: np.ndarray, length: float, draws: Draws) -> Course:
    """One motion, or none, for a whole clip or a phase of it.

    Args:
        motion: a name of `MOTIONS` without physics.
        seconds: times (T,), the first is the start.
        length: of the clip or the phase, in seconds.
        draws: give pace, phase and direction.
    """
    places, growth, angles = np.zeros((len(seconds), 2)), np.ones(len(seconds)), 0 * seconds
    pace, direction = None, ""
    turns: tuple[tuple[str, float], ...] = ()
    if motion in PATHS:
        entry, pace = draws.uniform(0, 1), draws.uniform(*PACE)
        places = displacement(motion, seconds, phase=entry, pace=pace)
    elif motion == "spin":
        pace, direction = draws.uniform(*PACE), draws.choice(("clockwise", "counterclockwise"))
        angles = 2 * np.pi * SPIN * pace * seconds * (1 if direction == "clockwise" else -1)
    elif motion == "stop":
        pace, direction = draws.uniform(*PACE), draws.choice(("left", "right"))
        pause = draws.uniform(*REST)
        stop, go = (length - pause) / 2, (length + pause) / 2
        moving = np.minimum(seconds, stop) + np.maximum(seconds - go, 0)
        places = displacement(direction, moving, phase=0.0, pace=pace)
        turns = ("stop", stop), ("go", go)
    elif motion in ("grow", "shrink"):
        share = seconds / length if motion == "grow" else 1 - seconds / length
        growth = draws.uniform(*GROWTH) ** (share - share.mean())
    else:
        assert motion == "rest", motion
    phase = Phase(motion=motion, pace=_pace_name(pace), direction=direction)
    return Course((phase,), places, growth, angles, turns)


def _pace_name(pace: float | None) -> str:
    if pace is None:
        return ""
    return "slow" if pace < STEADY[0] else "quick" if pace > STEADY[1] else "steady"


def then(first: str, second: str, frames: Frames, draws: Draws) -> Course:
    """One motion, then another; place, radius and angle go on where they were.

    Args:
        first, second: names of `PATHS` or `CHANGES`.
        frames: times of the clip.
        draws: give the moment between them, and what the motions need.
    """
    low, high = 0.45 * frames.seconds, 0.55 * frames.seconds
    turn = draws.uniform(max(low, LEAST_PHASE), min(high, frames.seconds - LEAST_PHASE))
    times = frames.times
    # Each phase is also asked for the moment between them, which need not be a frame.
    one = course(first, np.append(times[times < turn], turn), turn, draws)
    after = np.insert(times[times >= turn], 0, turn) - turn
    two = course(second, after, frames.seconds - turn, draws)
    growth = np.append(one.growth[:-1] / one.growth[-1], two.growth[1:] / two.growth[0])
    return Course(
        one.phases + two.phases,
        np.concatenate([one.places[:-1], one.places[-1] + two.places[1:]]),
        growth / np.sqrt(growth.min() * growth.max()),
        np.append(one.angles[:-1], one.angles[-1] + two.angles[1:]),
        (("phase", turn),),
    )


def orbit(direction: str, radius: float, seconds: np.ndarray, draws: Draws) -> Course:
    """Once around something every two seconds or so; places are relative to what is orbited.

    Args:
        direction: "clockwise" or "counterclockwise".
        radius: of the orbit, in units of the frame's shorter side.
        seconds: times (T,).
        draws: give pace and the place of the start.
    """
    entry, pace = draws.uniform(0, 1), draws.uniform(*PACE)
    turns = entry + PATHS[direction].frequency * pace * seconds
    path = circle(1 if direction == "clockwise" else -1, radius)
    phase = Phase(motion=direction, pace=_pace_name(pace), direction="")
    still = np.zeros(len(seconds))
    return Course((phase,), np.stack(path(turns), axis=-1), still + 1, still, ())
