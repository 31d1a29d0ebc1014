"""World `motions`: clips in twelve classes of motion that no single frame tells apart.

One object with corners moves or changes; round ones, which do not count, wander about. All lives on
the torus of the frame and goes through a whole number of turns, so that first and last frame are
alike. What is drawn at random does not depend on the class: with another class, the clip of an
index has the very same first and last frame. The classes are six pairs that are one another's
reversal, so the frames without their order never tell the two of a pair apart.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from kinema.clip import Clip
from kinema.errors import InputError, unknown
from kinema.sample import Boxes, Tracks
from kinema.worlds import backgrounds, drawing, palette, shapes_captions
from kinema.worlds.motions import TURNABLE
from kinema.worlds.shapes_scenes import ground_for
from kinema.worlds.shapes_splits import Split
from kinema.worlds.views import view
from kinema.worlds.world import (
    Draws,
    Frames,
    Object,
    Phase,
    SceneGraph,
    WorldSample,
    place_name,
)

LINES: Mapping[str, tuple[int, int]] = {  # where to, x to the right and y down
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up left": (-1, -1),
    "down right": (1, 1),
    "up right": (1, -1),
    "down left": (-1, 1),
}
CIRCLES = {"clockwise": 1, "counterclockwise": -1}
SIZES = {"grow": 1, "shrink": -1}
CLASSES = (*LINES, *CIRCLES, *SIZES)
SAID = {
    **{name: f"moves {name.replace(' ', ' and to the ')}" for name in LINES},
    **{name: f"circles {name}" for name in CIRCLES},
    "grow": "grows again and again",
    "shrink": "shrinks again and again",
}

ROUND = ("circle", "ring")
RADIUS = (0.09, 0.17)  # of the object, in shorter sides of the frame
ROUND_RADIUS = (0.08, 0.14)
ORBIT = (0.12, 0.20)  # of a circular path, in shorter sides
MOST_TURNS = 4
WOBBLE = 0.5  # the largest change of speed, as a share of the mean speed
FASTEST = 0.45  # turns from one frame to the next: beyond a half, forward looks like backward
FEWEST_FRAMES = 5
MOST_ROUND = 2
SMALLEST_SIDE = 24
PARTS = 1024  # of a pixel, a power of two


class MotionClasses:
    """The world `motions`.

    Args:
        seed: worlds of different seeds draw different samples.
        split: those of different splits do too.
        num_frames: of every clip, 5 or more.
        height, width: of every frame in pixels, 24 or more.
        fps: frames per second. The number of turns is that of a clip, whatever its seconds.
        distractors: how many round objects wander about, 0 to 2.

    Raises:
        InputError: an option is out of range.
    """

    name = "motions"

    def __init__(
        self,
        *,
        seed: int,
        split: Split,
        num_frames: int,
        height: int,
        width: int,
        fps: float,
        distractors: int = 1,
    ) -> None:
        if num_frames < FEWEST_FRAMES:
            raise InputError(
                f"num_frames is {num_frames}; a motion is told from {FEWEST_FRAMES} or more"
            )
        if min(height, width) < SMALLEST_SIDE:
            raise InputError(
                f"frames of {height}x{width} are too small for the world motions; "
                f"take {SMALLEST_SIDE} pixels or more on either side"
            )
        if not 0 <= distractors <= MOST_ROUND:
            raise InputError(f"distractors must be in 0..{MOST_ROUND}, not {distractors}")
        self.seed, self.split, self.distractors = seed, split, distractors
        self.frames = Frames(count=num_frames, height=height, width=width, fps=fps)
        fastest = FASTEST * (num_frames - 1) / (1 + WOBBLE)
        self.turns = tuple(range(1, min(MOST_TURNS, int(fastest)) + 1))

    @property
    def options(self) -> dict[str, str | int | float]:
        """The options it was made with."""
        return {
            "seed": self.seed,
            "split": self.split,
            "num_frames": self.frames.count,
            "height": self.frames.height,
            "width": self.frames.width,
            "fps": self.frames.fps,
            "distractors": self.distractors,
        }

    def sample(self, index: int) -> WorldSample:
        """Draws one sample; its label ``motion`` is its class, one of `CLASSES`.

        Raises:
            InputError: the index is negative.
        """
        if index < 0:
            raise InputError(f"sample {index} of the world motions does not exist; count from 0")
        draws = Draws(f"motions/class/{self.split}", self.seed, index)
        return self.sample_of(index, draws.choice(CLASSES))

    def sample_of(self, index: int, motion: str) -> WorldSample:
        """The sample of an index, had its class been this one.

        Raises:
            InputError: there is no such class.
        """
        if motion not in CLASSES:
            raise unknown("class of the world motions", motion, CLASSES)
        draws = Draws(f"motions/{self.split}", self.seed, index)
        looks = [(draws.choice(TURNABLE), draws.choice(tuple(palette.COLORS)))]
        for _ in range(self.distractors):
            others = tuple(c for c in palette.COLORS if c not in [color for _, color in looks])
            looks.append((draws.choice(ROUND), draws.choice(others)))
        colors = [color for _, color in looks]
        ground = ground_for(colors, "static", self.frames, draws)
        bodies = [self._mover(looks[0], motion, draws)]
        does = [motion]
        for look in looks[1:]:
            does.append(draws.choice(tuple(LINES)))
            bodies.append(self._wanderer(look, does[-1], draws))
        see = view("static", self.frames, draws)
        scene = drawing.Scene(
            bodies=tuple(bodies),
            depth=tuple(range(len(bodies))),
            ground=backgrounds.draw(ground, see, self.frames.height, self.frames.width),
            wraps=True,
            height=self.frames.height,
            width=self.frames.width,
        )
        graph = SceneGraph(
            kind="one" if len(bodies) == 1 else "among others",
            objects=tuple(
                Object(
                    shape=shape,
                    color=color,
                    size="",
                    place=place_name(body.centers[0] / self.frames.size),
                    phases=(Phase(motion=what, pace="", direction=""),),
                )
                for (shape, color), body, what in zip(looks, bodies, does)
            ),
            relations=(),
            events=(),
            depth_order=scene.depth,
            background_kind=ground.kind,
            background=ground.label,
            camera="static",
        )
        centers = np.stack([body.centers for body in bodies], axis=1).astype(np.float32)
        return WorldSample(
            clip=Clip(drawing.draw_frames(scene), fps=self.frames.fps),
            captions=(_said(graph, 1),),
            detailed=_said(graph, len(bodies)),
            labels={
                "motion": motion,
                "shape": looks[0][0],
                "color": looks[0][1],
                "background_kind": ground.kind,
                "background": ground.label,
            },
            graph=graph,
            tracks=Tracks(centers, drawing.seen_centers(scene)),
            boxes=Boxes(drawing.boxes(scene)),
            draw_masks=functools.partial(drawing.draw_masks, scene),
            draw_flow=functools.partial(drawing.draw_flow, scene, see),
        )

    def _gone(self, draws: Draws) -> np.ndarray:
        """Turns gone at each frame, (T,): from 0 to a whole number, at a speed that wobbles."""
        turns, wobble, entry = (
            draws.choice(self.turns),
            draws.uniform(0, WOBBLE),
            2 * np.pi * draws.uniform(0, 1),
        )
        share = np.linspace(0, 1, self.frames.count)
        swing = np.sin(2 * np.pi * share + entry) - np.sin(entry)
        gone = turns * (share + wobble / (2 * np.pi) * swing)
        gone[-1] = turns  # exactly
        return gone

    def _start(self, draws: Draws) -> np.ndarray:
        """A place in the first frame, (2,), in whole parts of a pixel: whole turns stay exact."""
        return np.array([int(draws.uniform(0, edge * PARTS)) / PARTS for edge in self.frames.size])

    def _mover(self, look: tuple[str, str], motion: str, draws: Draws) -> drawing.Body:
        """The object that counts. What is drawn here is the same for every class."""
        frames, gone = self.frames, self._gone(draws)
        start = self._start(draws)
        angle, size = draws.uniform(0, 2 * np.pi), draws.uniform(0, 1)
        entry, orbit = 2 * np.pi * draws.uniform(0, 1), frames.side * draws.uniform(*ORBIT)
        places = np.zeros((frames.count, 2))
        sizes = np.full(frames.count, size)
        if motion in LINES:
            places = gone[:, None] * np.array(LINES[motion]) * frames.size
        elif motion in CIRCLES:
            turned = entry + 2 * np.pi * CIRCLES[motion] * gone
            around = np.stack([np.cos(turned), np.sin(turned)], axis=1)
            places = orbit * (around - around[0])
        else:
            sizes = (size + SIZES[motion] * gone) % 1
        # The last frame is the first, to the last bit, whatever the rounding of turns.
        places[-1], sizes[-1] = _whole(places[-1], frames.size), size
        least, most = RADIUS
        return drawing.Body(
            shape=look[0],
            color=palette.COLORS[look[1]],
            centers=start + places,
            radii=frames.side * least * (most / least) ** sizes,
            angles=np.full(frames.count, angle),
        )

    def _wanderer(self, look: tuple[str, str], line: str, draws: Draws) -> drawing.Body:
        """A round object on a straight path of its own."""
        frames, gone = self.frames, self._gone(draws)
        start = self._start(draws)
        radius = frames.side * draws.uniform(*ROUND_RADIUS)
        return drawing.Body(
            shape=look[0],
            color=palette.COLORS[look[1]],
            centers=start + gone[:, None] * np.array(LINES[line]) * frames.size,
            radii=np.full(frames.count, radius),
            angles=np.zeros(frames.count),
        )


def _whole(place: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The nearest place that is a whole number of frames away."""
    return np.rint(place / size) * size


def _said(graph: SceneGraph, count: int) -> str:
    """What the first `count` objects do, such as "a red star moves left on a navy background"."""
    parts = [
        f"a {thing.color} {thing.shape} {SAID[thing.motions[0]]}" for thing in graph.objects[:count]
    ]
    over, _ = shapes_captions.ground(graph, shapes_captions.first)
    return shapes_captions.with_articles(f"{' and '.join(parts)} on {over}")
