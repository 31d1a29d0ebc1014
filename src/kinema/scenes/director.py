"""Directors: from a prompt to a plan, in the three turns of C3V (arXiv 2409.00558, section 3).

First the prompt is taken apart into concepts; then, looking at the empty scene, each object gets
its size, start and end; then, given these, its way in between. A language model can play the part;
the director here goes by rules and reads a small grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from kinema.errors import InputError
from kinema.scenes.assets import COLORS, HEIGHTS, MOTIONS, SCENES
from kinema.scenes.cameras import CameraPath
from kinema.scenes.composition import look_around
from kinema.scenes.plan import Box, Plan, PlannedCamera, PlannedObject, box_on
from kinema.scenes.splatting import Rendering

Foot = tuple[float, float]


@dataclass(frozen=True)
class Concept:
    """One object of a prompt: what it is and does, and the names of the places it goes between."""

    name: str
    appearance: str
    motion: str
    start: str
    goal: str


@dataclass(frozen=True)
class Concepts:
    """A prompt taken apart."""

    scene: str
    objects: tuple[Concept, ...]
    camera: PlannedCamera


@dataclass(frozen=True)
class Ends:
    """The size of an object, in heights of the picture, and the boxes where it starts and ends."""

    scale_hint: float
    start_box: Box
    end_box: Box


class Director(Protocol):
    """Who plans a film; `look` is the empty scene from the first pose of the camera."""

    def decompose(self, prompt: str) -> Concepts:
        """The concepts of a prompt; raises InputError if it says what cannot be filmed."""
        ...

    def place(self, concept: Concept, look: Rendering) -> Ends:
        """How large an object is, and where it starts and ends."""
        ...

    def way(self, concept: Concept, look: Rendering, ends: Ends) -> tuple[Box, ...]:
        """Where the object is in between."""
        ...


def direct(director: Director, prompt: str) -> Plan:
    """The plan that a director makes of a prompt.

    Raises:
        InputError: the director does not understand the prompt.
    """
    concepts = director.decompose(prompt)
    look = look_around(concepts.scene, concepts.camera)
    objects = []
    for concept in concepts.objects:
        ends = director.place(concept, look)
        planned = PlannedObject(
            name=concept.name,
            appearance=concept.appearance,
            motion=concept.motion,
            scale_hint=ends.scale_hint,
            start_box=ends.start_box,
            end_box=ends.end_box,
            boxes=director.way(concept, look, ends),
        )
        objects.append(planned)
    return Plan(scene=concepts.scene, objects=tuple(objects), camera=concepts.camera)


# -- by rules --------------------------------------------------------------------------------

PLACES: dict[str, Foot] = {  # where feet are in the picture
    "left": (0.26, 0.71),
    "right": (0.74, 0.71),
    "front": (0.5, 0.8),
    "back": (0.5, 0.6),
    "middle": (0.5, 0.7),
}
CAMERAS: dict[str, tuple[CameraPath, float]] = {
    "stays": ("static", 0.0),
    "orbits": ("orbit", 40.0),
    "comes closer": ("dolly", 30.0),
    "pans": ("pan", 12.0),
}
APPARENT = 0.33  # height of a person in the middle, in heights of the picture: the paper's example
SMALL = {"child": 0.65}  # of a person's height, as one would guess
MIDPOINTS = 3
NEARER = 1.07  # times the inverse depth of the floor: what is nearer stands on it
DOWN = 0.1  # heights of the picture, to see how depth changes on the floor
STEP = 0.03  # heights of the picture by which an obstacle is passed


def _one_of(names: Iterable[str]) -> str:
    return "|".join(names)


OBJECT = re.compile(
    rf"(?:an?|the) ({_one_of(COLORS)}) ({_one_of(HEIGHTS)}) ({_one_of(MOTIONS)})"
    rf"(?: from (?:the )?({_one_of(PLACES)}) to (?:the )?({_one_of(PLACES)})"
    rf"| (?:on|in|at) the ({_one_of(PLACES)}))?"
)
PROMPT = re.compile(
    rf"(.+) (?:in|on) (?:an?|the) ({_one_of(SCENES)})(?:, the camera ({_one_of(CAMERAS)}))?\.?"
)
EXAMPLE = "a red person walks from left to right in a room, the camera orbits"
VOCABULARY = tuple(
    dict.fromkeys(
        " ".join(
            (
                *("a , and the from to in on at camera", *COLORS, *HEIGHTS),
                *(*MOTIONS, *PLACES, *SCENES, *CAMERAS),
            )
        ).split()
    )
)


@dataclass(frozen=True)
class RuleDirector:
    """A director who goes by rules.

    Prompts are sentences such as `EXAMPLE`; several objects are joined by "and". Sizes are
    guesses: a person in the middle of the scene has a third of the picture's height, other places
    go by their depth. Ways are straight in the picture, but pass what stands on the floor.

    Args:
        frames: of the films.
    """

    frames: int

    def decompose(self, prompt: str) -> Concepts:
        """The concepts of a prompt.

        Raises:
            InputError: it is no sentence of the grammar; the part that is not understood is named.
        """
        text = " ".join(prompt.lower().split())
        whole = PROMPT.fullmatch(text)
        if whole is None:
            raise not_understood(prompt)
        clauses, scene, camera = whole.groups()
        path, degrees = CAMERAS[camera or "stays"]
        return Concepts(
            scene,
            tuple(_concept(clause) for clause in clauses.split(" and ")),
            PlannedCamera(path=path, degrees=degrees, frames=self.frames),
        )

    def place(self, concept: Concept, look: Rendering) -> Ends:
        """Size and ends from the names of the places and the depths there."""
        start, goal = PLACES[concept.start], PLACES[concept.goal]
        middle = depth_at(look, PLACES["middle"])
        height = APPARENT * SMALL.get(concept.name, 1.0) * middle / depth_at(look, start)
        at_goal = height * depth_at(look, start) / depth_at(look, goal)
        return Ends(height, box_on(start, height), box_on(goal, at_goal))

    def way(self, concept: Concept, look: Rendering, ends: Ends) -> tuple[Box, ...]:
        """Midpoints of the straight way, each moved towards the viewer until it is on the floor.

        In the picture of a floor the inverse of depth grows evenly along every line.
        """
        if concept.start == concept.goal:
            return ()
        start, goal = PLACES[concept.start], PLACES[concept.goal]
        below = (start[0], start[1] + DOWN)
        near, far, lower = (1 / depth_at(look, foot) for foot in (start, goal, below))
        boxes = []
        for i in range(1, MIDPOINTS + 1):
            share = i / (MIDPOINTS + 1)
            x, y = (a + share * (b - a) for a, b in zip(start, goal))
            floor = near + share * (far - near)  # inverse depth
            while y + STEP < 1 and 1 / depth_at(look, (x, y)) > NEARER * floor:
                y += STEP
                floor += (lower - near) / DOWN * STEP
            boxes.append(box_on((x, y), ends.scale_hint / (near * depth_at(look, (x, y)))))
        return tuple(boxes)


def _concept(clause: str) -> Concept:
    found = OBJECT.fullmatch(clause)
    if found is None:
        raise not_understood(clause)
    appearance, name, motion, start, goal, place = found.groups()
    return Concept(name, appearance, motion, start or place or "middle", goal or place or "middle")


def not_understood(text: str) -> InputError:
    """The error for words that are no sentence of the grammar."""
    return InputError(
        f"the director does not understand {text[:60]!r}; write like {EXAMPLE!r} "
        f"(colors: {', '.join(COLORS)}; motions: {', '.join(MOTIONS)}; places: "
        f"{', '.join(PLACES)}; scenes: {', '.join(SCENES)}; camera: {', '.join(CAMERAS)})"
    )


def depth_at(look: Rendering, foot: Foot) -> float:
    """The depth, in meters, of what is seen at a place of the picture."""
    height, width = look.depth.shape
    return float(look.distance()[int(foot[1] * height), int(foot[0] * width)])
