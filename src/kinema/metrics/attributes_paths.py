"""Which motions of the world `shapes` a path shows; see `attributes.py`.

Paths are compared with those of the world's own motions, entered at many places and paces; of a
fall, with a simulation of it. Lengths are in sides of the frame.

Shape letters: T frames, N candidates.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kinema.worlds import physics
from kinema.worlds.motions import LEAST_PHASE, PACE, PATHS, REST, displacement

PHASES = 24  # places at which a path may be entered
PACES = 5
FALLS_FROM = (0.55, 0.70, 0.85, 1.0)  # heights
FALLS_SECONDS = 0.05  # between moments at which a fall may be entered


@dataclass(frozen=True, eq=False)
class _Bank:
    """Paths of known motions about their means."""

    names: tuple[str, ...]  # (N,)
    paths: np.ndarray  # (N, 2 T), first all x
    falls: np.ndarray  # (F, T) of heights, y downward


def nearest_motion(path: np.ndarray, fps: float) -> str:
    """The motion whose path is nearest to that of an object (T, 2); "rest" if it stays."""
    errors = path_errors(path, fps)
    return min(errors, key=errors.__getitem__)


def path_errors(path: np.ndarray, fps: float) -> dict[str, float]:
    """How far a path (T, 2) is from the nearest of each motion: mean square, in squared sides.

    "rest" is one of them: an object that grows, shrinks or spins stays where it is.
    """
    bank = _bank(len(path), fps)
    x, y = (path - path.mean(axis=0)).T
    squared = np.square(bank.paths - np.concatenate([x, y])).sum(axis=1)
    errors = {"fall": float(np.square(bank.falls - y).sum(axis=1).min() + _undrifted(x, fps))}
    for name, error in zip(bank.names, squared):
        errors[name] = min(errors.get(name, np.inf), float(error))
    return {name: error / len(path) for name, error in errors.items()}


def best_story(path: np.ndarray, fps: float) -> tuple[int, list[str]]:
    """The first frame of the second phase, and the motions of both that fit best.

    Two phases at rest are a story too: what changes in them is for others to see.
    """
    length, best, least = len(path), (len(path) // 2, ["rest", "rest"]), np.inf
    for switch in _switches(length, fps):
        parts = [path_errors(part, fps) for part in (path[:switch], path[switch:])]
        for first, second in itertools.product(*parts):
            if {first, second} & {"fall", "stop"} or first == second != "rest":
                continue
            error = switch * parts[0][first] + (length - switch) * parts[1][second]
            if error < least - 1e-12:
                best, least = (switch, [first, second]), error
    return best


def _switches(length: int, fps: float) -> Iterator[int]:
    """The frames at which a second phase may begin, those nearest to the middle first."""
    seconds = length / fps
    first = max(0.45 * seconds, LEAST_PHASE)
    last = min(0.55 * seconds, seconds - LEAST_PHASE)
    low, high = int(np.ceil(first * fps - 1e-6)), int(np.ceil(last * fps - 1e-6))
    frames = range(max(1, min(low, length // 2)), min(length, max(high, length // 2) + 1))
    yield from sorted(frames, key=lambda frame: abs(frame - length / 2))


def _undrifted(x: np.ndarray, fps: float) -> float:
    """What is left of places (T,) aside, squared, when a steady drift is taken out."""
    t = (np.arange(len(x)) - (len(x) - 1) / 2) / fps
    slope = float((t * x).sum() / max(np.square(t).sum(), 1e-9))
    limit = 1.2 * physics.DRIFT
    return float(np.square(x - np.clip(slope, -limit, limit) * t).sum())


@functools.lru_cache(maxsize=32)
def _bank(length: int, fps: float) -> _Bank:
    seconds = np.arange(length) / fps
    paths = [("rest", np.zeros((length, 2)))]
    for name, pace in itertools.product(PATHS, np.linspace(*PACE, PACES)):
        straight = name in ("left", "right", "up", "down")
        for phase in np.arange(1 if straight else PHASES) / PHASES:
            path = displacement(name, seconds, phase=float(phase), pace=float(pace))
            paths.append((name, path))
    whole = length / fps
    for way, pause, pace in itertools.product(("left", "right"), REST, np.linspace(*PACE, PACES)):
        stop, go = (whole - pause) / 2, (whole + pause) / 2
        moving = np.minimum(seconds, stop) + np.maximum(seconds - go, 0)
        paths.append(("stop", displacement(way, moving, phase=0.0, pace=float(pace))))
    stacked = np.stack([path for _, path in paths])
    stacked = (stacked - stacked.mean(axis=1, keepdims=True)).transpose(0, 2, 1)
    return _Bank(
        tuple(name for name, _ in paths), stacked.reshape(len(paths), -1), _falls(length, fps)
    )


def _falls(length: int, fps: float) -> np.ndarray:
    """Heights (F, T) about their means, y downward, of things that fall and bounce."""
    fine = 8
    steps = int((length / fps + physics.LIFE) * fps * fine) + fine
    found = []
    for gravity, elasticity, height in itertools.product(
        np.linspace(*physics.GRAVITY, 3), np.linspace(*physics.ELASTICITY, 2), FALLS_FROM
    ):
        y = np.array(_fall(gravity, elasticity, height, steps, 1 / (fps * fine)))
        step = max(1, round(FALLS_SECONDS * fps * fine))
        for start in range(0, int(physics.LIFE * fps * fine), step):
            part = y[start : start + length * fine : fine]
            if len(part) == length:
                found.append(part.mean() - part)
    return np.stack(found)


def _fall(gravity: float, elasticity: float, height: float, steps: int, dt: float) -> list[float]:
    """Heights above the floor, step by step, of something that is let go."""
    y, speed, places = height, 0.0, []
    for _ in range(steps):
        places.append(y)
        speed -= gravity * dt
        y += speed * dt
        if y < 0:
            y, speed = -y * elasticity, -speed * elasticity
    return places
