"""World `shapes`: simple objects that move over simple grounds, and all that is true of them.

Level one shows a single object in one of eight motions over a flat or gradient ground. Level two
has more motions, some of them by the laws of mechanics, stories of two phases, up to three objects,
grounds with a pattern, and, if asked for, occlusion and a camera that moves. A motion cannot be
told from one frame (see `kinema.worlds.motions`). About a tenth of the combinations of shape, color
and motion is held out (see `kinema.worlds.shapes_splits`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import get_args

import numpy as np

from kinema.clip import Clip
from kinema.errors import InputError, unknown
from kinema.sample import Boxes, Tracks
from kinema.worlds import (
    backgrounds,
    drawing,
    motions,
    outlines,
    palette,
    shapes_captions,
    shapes_details,
    views,
)
from kinema.worlds.shapes_scenes import KINDS, RADII, Actor, Composition, LevelOne, LevelTwo
from kinema.worlds.shapes_splits import Split
from kinema.worlds.views import Camera, View
from kinema.worlds.world import Draws, Event, Frames, Object, SceneGraph, WorldSample, place_name

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "scene": tuple(KINDS),
    "shape": tuple(outlines.SHAPES),
    "color": tuple(palette.COLORS),
    "size": tuple(RADII),
    "motion": motions.MOTIONS,
    "background": tuple(palette.BACKGROUNDS),
    "background_kind": backgrounds.KINDS,
    "camera": views.NAMES,
}
VOCABULARY = shapes_captions.vocabulary(shapes_details.words())
SMALLEST_SIDE = {1: 16, 2: 32}


class Shapes:
    """The world `shapes`.

    Args:
        seed: worlds of different seeds draw different samples.
        split: `train` never draws a held-out combination, `held_out` draws nothing else.
        num_frames: of every clip, 1 or more.
        height, width: of every frame in pixels, 16 or more; at level two 32 or more.
        fps: frames per second, 4 or more.
        level: 1 or 2.
        camera: "static", "pan" in one of four directions, or "zoom" in or out.
        occlusion: whether in every scene something passes behind or in front of something else.

    Raises:
        InputError: an option is out of range, or level one is to have a camera or occlusion.
    """

    name = "shapes"

    def __init__(
        self,
        *,
        seed: int,
        split: Split,
        num_frames: int,
        height: int,
        width: int,
        fps: float,
        level: int = 1,
        camera: Camera = "static",
        occlusion: bool = False,
    ) -> None:
        if num_frames < 1:
            raise InputError(f"num_frames is {num_frames}; a clip needs at least 1 frame")
        if level not in SMALLEST_SIDE:
            raise InputError(f"level is {level}; the world shapes has the levels 1 and 2")
        if min(height, width) < SMALLEST_SIDE[level]:
            raise InputError(
                f"frames of {height}x{width} are too small to show a shape; "
                f"take {SMALLEST_SIDE[level]} pixels or more on either side"
            )
        if not (math.isfinite(fps) and fps >= motions.LOWEST_FPS):
            raise InputError(
                f"fps is {fps}; the motions of this world need at least {motions.LOWEST_FPS:g}"
            )
        if camera not in get_args(Camera):
            raise unknown("camera of the world shapes", camera, get_args(Camera))
        if level == 1 and (camera != "static" or occlusion):
            raise InputError(
                f"level 1 has a static camera and no occlusion; for camera={camera}, "
                f"occlusion={int(occlusion)} take level=2"
            )
        self.seed, self.split, self.level = seed, split, level
        self.camera, self.occlusion = camera, occlusion
        self.frames = Frames(count=num_frames, height=height, width=width, fps=fps)
        self._composer: LevelOne | LevelTwo
        if level == 1:
            self._composer = LevelOne(split=split, frames=self.frames)
        else:
            self._composer = LevelTwo(
                split=split, camera=camera, occlusion=occlusion, frames=self.frames
            )

    @property
    def options(self) -> dict[str, str | int | float]:
        """The options it was made with; those of level two only where they are not the default."""
        frames = self.frames
        options: dict[str, str | int | float] = {
            "seed": self.seed,
            "split": self.split,
            "num_frames": frames.count,
            "height": frames.height,
            "width": frames.width,
            "fps": frames.fps,
        }
        defaults = {"level": 1, "camera": "static", "occlusion": False}
        own = {name: getattr(self, name) for name in defaults}
        return options | {k: value for k, value in own.items() if value != defaults[k]}

    def sample(self, index: int) -> WorldSample:
        """Draws one sample.

        Labels are those of `ATTRIBUTES`: scene, background and camera, and shape, color, size and
        motion of the first object. The motion of a story reads "left then bounce"; the background
        of a gradient "navy to teal", from top to bottom, of a pattern "navy and teal".

        Raises:
            InputError: the index is negative.
        """
        if index < 0:
            raise InputError(f"sample {index} of the world shapes does not exist; count from 0")
        draws = Draws(self.name if self.level == 1 else "shapes/2", self.seed, index)
        composed = self._composer.compose(draws)
        scene = self._scene(composed)
        graph = self._graph(composed, scene)
        frames = drawing.draw_frames(scene)
        self._check_visible(frames, scene)
        return WorldSample(
            clip=Clip(frames=frames, fps=self.frames.fps, sound=None),
            captions=shapes_captions.captions(graph, draws),
            detailed=shapes_details.detailed(graph),
            labels=labels(graph),
            graph=graph,
            tracks=Tracks(
                np.stack([body.centers for body in scene.bodies], axis=1).astype(np.float32),
                drawing.seen_centers(scene),
            ),
            boxes=Boxes(drawing.boxes(scene)),
            draw_masks=functools.partial(drawing.draw_masks, scene),
            draw_flow=functools.partial(drawing.draw_flow, scene, composed.view),
        )

    def _scene(self, composed: Composition) -> drawing.Scene:
        cast, see = composed.cast, composed.view
        height, width = self.frames.height, self.frames.width
        return drawing.Scene(
            bodies=tuple(self._body(actor, see, wraps=cast.wraps) for actor in cast.actors),
            depth=cast.depth,
            ground=backgrounds.draw(composed.background, see, height, width),
            wraps=cast.wraps,
            height=height,
            width=width,
        )

    def _body(self, actor: Actor, see: View, *, wraps: bool) -> drawing.Body:
        centers = see.seen(actor.centers)
        if wraps:
            centers = centers - self.frames.size * np.floor(centers[0] / self.frames.size)
        return drawing.Body(
            shape=actor.look.shape,
            color=palette.COLORS[actor.look.color],
            centers=centers,
            radii=see.scales * actor.radii,
            angles=actor.angles,
        )

    def _graph(self, composed: Composition, scene: drawing.Scene) -> SceneGraph:
        cast = composed.cast
        events = [
            Event(name=name, seconds=seconds, objects=(number,))
            for number, actor in enumerate(cast.actors)
            for name, seconds in actor.turns
        ]
        if self.occlusion:
            events += passings(scene, self.frames.times)
        return SceneGraph(
            kind=composed.kind,
            objects=tuple(
                Object(
                    shape=actor.look.shape,
                    color=actor.look.color,
                    size=actor.look.size,
                    place=place_name(body.centers[0] / self.frames.size),
                    phases=actor.phases,
                )
                for actor, body in zip(cast.actors, scene.bodies)
            ),
            relations=cast.relations,
            events=tuple(sorted((*cast.events, *events), key=lambda event: event.seconds)),
            depth_order=cast.depth,
            background_kind=composed.background.kind,
            background=composed.background.label,
            camera=composed.camera,
        )

    def _check_visible(self, frames: np.ndarray, scene: drawing.Scene) -> None:
        """Neither blank nor frozen.

        Shorter than a quarter of a second, a bounce may well turn around between the frames and
        look frozen.
        """
        # A camera that zooms may see nobody at first.
        looked_at = slice(None) if self.camera == "zoom" else slice(1)
        ground = np.rint(scene.ground[looked_at]).astype(np.uint8)
        assert (frames[looked_at] != ground).any(), "no frame shows an object"
        if self.frames.count >= 3 and self.frames.seconds >= 0.25:
            moved = (frames[len(frames) // 2] != frames[0]).any()
            assert moved or (frames[1:] != frames[0]).any(), "a clip is frozen"


def passings(scene: drawing.Scene, times: np.ndarray) -> Iterator[Event]:
    """When the first object passes the second: once for each time that its center is over it."""
    distance = np.hypot(*scene.apart(0, 1).T)
    over = distance < scene.bodies[1].radii * outlines.SHAPES[scene.bodies[1].shape].reach
    for start, end in np.flatnonzero(np.diff(over, prepend=False, append=False)).reshape(-1, 2):
        nearest = start + int(distance[start:end].argmin())
        yield Event(name="pass", seconds=float(times[nearest]), objects=(0, 1))


def labels(graph: SceneGraph) -> dict[str, str]:
    """What a graph says in one word for each of `ATTRIBUTES`."""
    first = graph.objects[0]
    return {
        "shape": first.shape,
        "color": first.color,
        "motion": " then ".join(first.motions),
        "size": first.size,
        "background_kind": graph.background_kind,
        "background": graph.background,
        "scene": graph.kind,
        "camera": graph.camera,
    }
