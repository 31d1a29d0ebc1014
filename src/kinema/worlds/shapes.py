"""World `shapes`, level one: a single object that moves over a plain background.

Six shapes, ten colors, three sizes, eight motions, flat and gradient backgrounds. The motion cannot
be told from one frame (see `kinema.worlds.motions`). About a tenth of the (shape, color, motion)
combinations is held out: a model that was trained on the others has seen every shape, color and
motion, and every pair of them, but never these three together.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from kinema.clip import Clip
from kinema.errors import InputError, unknown
from kinema.worlds import drawing, motions, palette, shapes_captions
from kinema.worlds.world import Draws, WorldSample

Split = Literal["train", "held_out", "all"]

RADII = {"small": 0.085, "medium": 0.12, "large": 0.17}  # of the frame's shorter side
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": tuple(drawing.SHAPES),
    "color": tuple(palette.COLORS),
    "size": tuple(RADII),
    "motion": tuple(motions.MOTIONS),
    "background": tuple(palette.BACKGROUNDS),
    "background_kind": ("flat", "gradient"),
}
VOCABULARY = shapes_captions.vocabulary()
SMALLEST_SIDE = 16


def held_out(shape: str, color: str, motion: str) -> bool:
    """Whether a combination is kept out of the split `train`; the same for every seed."""
    digest = hashlib.sha256(f"shapes/{shape}/{color}/{motion}".encode()).digest()
    return int.from_bytes(digest[:8], "little") % 10 == 0


@functools.cache
def combinations(split: Split) -> tuple[tuple[str, str, str], ...]:
    """The (shape, color, motion) combinations of a split.

    Raises:
        InputError: there is no such split.
    """
    if split not in get_args(Split):
        raise unknown("split of the world shapes", split, get_args(Split))
    every = itertools.product(ATTRIBUTES["shape"], ATTRIBUTES["color"], ATTRIBUTES["motion"])
    kept = {"train": (False,), "held_out": (True,), "all": (False, True)}[split]
    return tuple(combination for combination in every if held_out(*combination) in kept)


class Shapes:
    """The world `shapes`.

    Args:
        seed: worlds of different seeds draw different samples.
        split: `train` never draws a held-out combination, `held_out` draws nothing else.
        num_frames: of every clip, 1 or more.
        height, width: of every frame in pixels, 16 or more.
        fps: frames per second, 4 or more.

    Raises:
        InputError: an option is out of range, or there is no such split.
    """

    name = "shapes"

    def __init__(
        self, *, seed: int, split: Split, num_frames: int, height: int, width: int, fps: float
    ) -> None:
        if num_frames < 1:
            raise InputError(f"num_frames is {num_frames}; a clip needs at least 1 frame")
        if min(height, width) < SMALLEST_SIDE:
            raise InputError(
                f"frames of {height}x{width} are too small to show a shape; "
                f"take {SMALLEST_SIDE} pixels or more on either side"
            )
        if not (math.isfinite(fps) and fps >= motions.LOWEST_FPS):
            raise InputError(
                f"fps is {fps}; the motions of this world need at least {motions.LOWEST_FPS:g}"
            )
        self.seed, self.split, self.fps = seed, split, fps
        self.num_frames, self.height, self.width = num_frames, height, width
        self._combinations = combinations(split)

    @property
    def options(self) -> dict[str, str | int | float]:
        """The options it was made with."""
        names = ("seed", "split", "num_frames", "height", "width", "fps")
        return {name: getattr(self, name) for name in names}

    @staticmethod
    def prompt(labels: Mapping[str, str]) -> str:
        """The canonical caption of a clip with these labels."""
        return shapes_captions.canonical(labels)

    def sample(self, index: int) -> WorldSample:
        """Draws one sample.

        Labels are shape, color, size, motion, background_kind and background; the background of a
        gradient reads "navy to teal", from top to bottom.

        Raises:
            InputError: the index is negative.
        """
        if index < 0:
            raise InputError(f"sample {index} of the world shapes does not exist; count from 0")
        draws = Draws(self.name, self.seed, index)
        labels = self._labels(draws)
        scene = self._scene(labels, draws)
        frames = drawing.draw_frames(scene)
        self._check_visible(frames)
        return WorldSample(
            clip=Clip(frames=frames, fps=self.fps, sound=None),
            captions=shapes_captions.captions(labels, draws),
            labels=labels,
            tracks=scene.tracks.astype(np.float32),
            boxes=drawing.boxes(scene),
            draw_masks=functools.partial(drawing.draw_masks, scene),
        )

    def _labels(self, draws: Draws) -> dict[str, str]:
        shape, color, motion = draws.choice(self._combinations)
        labels = {"shape": shape, "color": color, "motion": motion}
        labels["size"] = draws.choice(ATTRIBUTES["size"])
        labels["background_kind"] = draws.choice(ATTRIBUTES["background_kind"])
        if labels["background_kind"] == "gradient":
            labels["background"] = " to ".join(draws.choice(palette.gradient_backgrounds(color)))
        else:
            labels["background"] = draws.choice(palette.flat_backgrounds(color))
        return labels

    def _scene(self, labels: Mapping[str, str], draws: Draws) -> drawing.Scene:
        side = min(self.height, self.width)
        start = draws.uniform(0, self.width), draws.uniform(0, self.height)
        path = motions.displacement(
            labels["motion"],
            np.arange(self.num_frames) / self.fps,
            phase=draws.uniform(0, 1),
            pace=draws.uniform(*motions.PACE),
        )
        grounds = labels["background"].split(" to ")
        return drawing.Scene(
            shape=labels["shape"],
            radius=RADII[labels["size"]] * side,
            color=palette.COLORS[labels["color"]],
            top=palette.BACKGROUNDS[grounds[0]],
            bottom=palette.BACKGROUNDS[grounds[-1]],
            tracks=start + side * path,
            height=self.height,
            width=self.width,
        )

    def _check_visible(self, frames: np.ndarray) -> None:
        """Neither blank nor frozen.

        The background of a row has one color. Shorter than a quarter of a second, a bounce may well
        turn around between the frames and look frozen.
        """
        assert (frames[0] != frames[0, :, :1]).any(), "a frame shows no object"
        if self.num_frames >= 3 and self.num_frames / self.fps >= 0.25:
            moved = (frames[self.num_frames // 2] != frames[0]).any()
            assert moved or (frames[1:] != frames[0]).any(), "a clip is frozen"
