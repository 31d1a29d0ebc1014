"""Eight ways to move, each a closed path that is entered at a random place.

Frames are a torus: what leaves on one side comes back on the other. The start is uniform over the
frame for every motion, so the position in a single frame has the same distribution whatever the
motion is; only several frames tell it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PACE = (0.88, 1.12)  # each object is a little slower or quicker than its motion's frequency
LOWEST_FPS = 4.0  # below, a bounce or a swing falls between the frames


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


def _orbit(direction: int) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    def path(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = 2 * np.pi * direction * turns
        return 0.18 * np.cos(angle), 0.18 * np.sin(angle)

    return path


def _bounce(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u = turns % 1.0  # 0 and 1: on the ground; free fall in between
    return 0 * u, -0.28 * 4 * u * (1 - u)


def _swing(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return 0.18 * np.sin(2 * np.pi * turns), 0 * turns


MOTIONS: dict[str, Motion] = {
    "left": Motion(_line(-1, 0), 0.45),
    "right": Motion(_line(1, 0), 0.45),
    "up": Motion(_line(0, -1), 0.45),
    "down": Motion(_line(0, 1), 0.45),
    "clockwise": Motion(_orbit(1), 0.5),
    "counterclockwise": Motion(_orbit(-1), 0.5),
    "bounce": Motion(_bounce, 0.9),
    "swing": Motion(_swing, 0.8),
}


def displacement(motion: str, seconds: np.ndarray, *, phase: float, pace: float) -> np.ndarray:
    """Where an object is at `seconds` (T,) relative to where it is at the first of them.

    Args:
        motion: a name of `MOTIONS`.
        seconds: times (T,), the first is the start of the clip.
        phase: the place of the path at time 0, in turns, [0, 1).
        pace: its speed as a multiple of the motion's own.

    Returns:
        (T, 2) float64, (x, y) in units of the frame's shorter side; the first row is zero.
    """
    path, frequency = MOTIONS[motion].path, MOTIONS[motion].frequency
    places = np.stack(path(phase + frequency * pace * seconds), axis=-1)
    return places - places[0]
