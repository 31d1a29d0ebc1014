"""The plan of a film: what a director decides, and what a scene is composed from.

A JSON file: ``{"scene": "room", "objects": [{"name", "appearance", "motion", "scale_hint",
"start_box", "end_box", "boxes", "placed"}], "camera": {"path", "degrees", "frames"}}``. Boxes are
left, top, right, bottom in the picture of the first camera pose, from 0 to 1; objects stand on
their lower edges. ``placed`` is where an object is in the world, once that has been found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from kinema.config import config, from_dict, to_dict
from kinema.errors import InputError, unknown
from kinema.files import write_text
from kinema.scenes.assets import COLORS, HEIGHTS, MOTIONS, SCENES
from kinema.scenes.cameras import CameraPath, Point

Box = tuple[float, float, float, float]

MAX_FRAMES, MAX_OBJECTS = 256, 8
FARTHEST = 1000.0  # meters
ASPECT = 0.4  # width of a figure, in its heights
LARGEST_TURN = {"static": 0.0, "orbit": 360.0, "pan": 90.0, "dolly": 60.0}  # degrees


@config
class Placed:
    """Where an object is: its height, and its place on the ground in each frame, in meters."""

    height: float
    locations: tuple[Point, ...]

    def __post_init__(self) -> None:
        if not 0 < self.height <= FARTHEST:
            raise InputError(f"height must lie in (0, {FARTHEST:g}] meters, not be {self.height}")
        if any(abs(x) > FARTHEST for place in self.locations for x in place):
            raise InputError(f"locations must lie within {FARTHEST:g} meters")


@config
class PlannedObject:
    """What is in the scene, what it does, and where.

    Args:
        name: of the asset.
        appearance: its color.
        motion: what it does.
        scale_hint: its height at the start, in heights of the picture.
        start_box, end_box: where it starts and ends.
        boxes: where it is in between, in equal steps of time.
        placed: where it is in the world; None until that has been found.
    """

    name: str
    appearance: str
    motion: str
    scale_hint: float
    start_box: Box
    end_box: Box
    boxes: tuple[Box, ...] = ()
    placed: Placed | None = None

    def __post_init__(self) -> None:
        known = {"name": [*HEIGHTS], "appearance": [*COLORS], "motion": [*MOTIONS]}
        for field, names in known.items():
            if getattr(self, field) not in names:
                raise unknown(f"{field} of an object", getattr(self, field), names)
        if not 0 < self.scale_hint <= 1:
            raise InputError(f"scale_hint must lie in (0, 1], not be {self.scale_hint}")
        for box in self.way:
            if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
                raise InputError(
                    f"a box must be left, top, right, bottom in 0..1 with left < right and "
                    f"top < bottom, not {list(box)}"
                )

    @property
    def way(self) -> tuple[Box, ...]:
        """All boxes in the order of time."""
        return self.start_box, *self.boxes, self.end_box


@config
class PlannedCamera:
    """How the camera moves: see `kinema.scenes.cameras.poses`."""

    path: CameraPath
    degrees: float
    frames: int

    def __post_init__(self) -> None:
        most = LARGEST_TURN[self.path]
        if not abs(self.degrees) <= most:
            raise InputError(
                f"degrees of a {self.path} camera must lie in {-most:g}..{most:g}, "
                f"not be {self.degrees:g}"
            )
        if not 1 <= self.frames <= MAX_FRAMES:
            raise InputError(f"frames must lie in 1..{MAX_FRAMES}, not be {self.frames}")


@config
class Plan:
    """A film: the scene, the objects in it and the camera."""

    SUFFIXES: ClassVar[tuple[str, ...]] = (".json",)
    scene: str
    objects: tuple[PlannedObject, ...]
    camera: PlannedCamera

    def __post_init__(self) -> None:
        if self.scene not in SCENES:
            raise unknown("scene", self.scene, SCENES)
        if not 1 <= len(self.objects) <= MAX_OBJECTS:
            raise InputError(f"a plan has 1 to {MAX_OBJECTS} objects, not {len(self.objects)}")
        for item in self.objects:
            if item.placed and len(item.placed.locations) != self.camera.frames:
                raise InputError(
                    f"{item.name} is placed in {len(item.placed.locations)} frames of "
                    f"{self.camera.frames}; give a location for each, or leave placed out"
                )

    def with_places(self, places: Mapping[int, Placed]) -> Plan:
        """A copy in which objects, by their numbers, are where they were found."""
        found = (
            replace(item, placed=places.get(i, item.placed)) for i, item in enumerate(self.objects)
        )
        return replace(self, objects=tuple(found))

    @classmethod
    def given(cls, value: str) -> Self:
        """Reads a plan from a file.

        Raises:
            InputError: the file is missing, is no JSON, or says what no plan can say.
        """
        try:
            content = json.loads(Path(value).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read the plan {value}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"the plan {value} is no JSON: {error}") from error
        try:
            return from_dict(cls, content, where="plan")
        except InputError as error:
            raise InputError(f"{value}: {error}") from error

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes a JSON file.

        Raises:
            InputError: the name ends in something else, or the file cannot be written.
        """
        if Path(path).suffix.lower() not in self.SUFFIXES:
            raise InputError(f"cannot write a plan as {path}; end the name in .json")
        write_text(path, json.dumps(to_dict(self), indent=1) + "\n", overwrite=overwrite)


def box_on(foot: tuple[float, float], height: float) -> Box:
    """The box of something upright that stands at a place of the picture, cut at its borders."""
    x, y = foot
    half = height * ASPECT / 2
    return max(x - half, 0.0), max(y - height, 0.0), min(x + half, 1.0), y
