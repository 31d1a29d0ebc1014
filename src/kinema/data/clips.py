"""Clips on their way to networks and back: their size, the worlds that draw them, their pixels."""

from __future__ import annotations

from torch import Tensor

from kinema import worlds
from kinema.clip import Clip
from kinema.config import config
from kinema.errors import InputError
from kinema.worlds import World

SPLITS = {"train": 0, "held_out": 1}  # and the seeds of their worlds


@config
class ClipSize:
    """Length, size in pixels and frame rate of clips."""

    num_frames: int
    height: int
    width: int
    fps: float

    def expect_multiple(self, of: int) -> None:
        """Raises InputError unless height and width are multiples of a number of pixels."""
        for name in ("height", "width"):
            if getattr(self, name) % of:
                raise InputError(f"{name} must be a multiple of {of}, not {getattr(self, name)}")


def split_of(world: str, split: str, size: ClipSize) -> World:
    """The world of this name that draws the clips of a split, at a size.

    Raises:
        InputError: there is no such world, or it draws no clips of this size.
    """
    return worlds.load(
        world,
        seed=SPLITS[split],
        split=split,
        num_frames=size.num_frames,
        height=size.height,
        width=size.width,
        fps=size.fps,
    )


def to_clip(x: Tensor, fps: float) -> Clip:
    """A clip from pixels (3, T, H, W) in [-1, 1] on any device; what lies outside is clamped."""
    return Clip.from_float(x.float().cpu().numpy(), fps)
