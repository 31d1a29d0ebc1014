"""Frames that clips are given: pictures at chosen times, clips that go on or are led up to, clips
that are made anew; see `image_to_video.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from kinema.clip import Clip
from kinema.errors import InputError

HELD_LATENTS = 3  # latent frames at the end of a clip that the next one starts with, at most
FADE_SHARE = 0.25  # of its own median change: what a fading residual may add to a change
FINEST_CHANGE = 0.25  # levels of 255 from frame to frame; a smaller median counts as this


@dataclass(frozen=True, kw_only=True, eq=False)
class Keyframe:
    """Frames that a clip is to show.

    Args:
        clip: one frame, or 1 + k s of them for a codec that makes one latent frame of s frames. The
            middle that has the proportions of the new clip is taken, and resized.
        frame: number of the frame of the new clip that the first of them becomes; that of several
            is a multiple of s.
        strength: in (0, 1]; at 1 they are kept as they are, below that they are only followed from
            noise level 1 - strength on.

    Raises:
        InputError: frame or strength is out of its range.
    """

    clip: Clip
    frame: int = 0
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.frame < 0:
            raise InputError(f"a keyframe stands at frame 0 or later, not at {self.frame}")
        if not 0 < self.strength <= 1:
            raise InputError(
                f"the strength of a keyframe lies above 0 and at most at 1, not at {self.strength}"
            )

    def pixels(self, height: int, width: int) -> Tensor:
        """(3, T, height, width) in [-1, 1], as a codec takes them."""
        return torch.from_numpy(self.clip.covering(height, width).to_float())


def check_keyframes(keyframes: Sequence[Keyframe], num_frames: int, stride: int) -> None:
    """Says before any work whether a clip can show all of these.

    Args:
        keyframes: what is given.
        num_frames: of the clip.
        stride: frames to one latent frame.

    Raises:
        InputError: there are more keyframes than latent frames, one lies beyond the clip or is no
            single frame where only one can stand, or two want the same frame.
    """
    most = (num_frames - 1) // stride + 1
    if len(keyframes) > most:
        raise InputError(
            f"{len(keyframes)} keyframes are too many for {num_frames} frames; give at most {most}"
        )
    taken: set[int] = set()
    for keyframe in keyframes:
        count, first = keyframe.clip.num_frames, keyframe.frame
        frames = range(first, first + count)
        if frames.stop > num_frames:
            raise InputError(
                f"a keyframe ends at frame {frames[-1]}; the clip has frames 0 to {num_frames - 1}"
            )
        if count > 1 and (first % stride or count % stride != 1 % stride):
            raise InputError(
                f"{count} frames cannot be given at frame {first}: give a single one, or, at a "
                f"frame that {stride} divides, a multiple of {stride} plus 1"
            )
        if taken.intersection(frames):
            raise InputError(f"two keyframes want frame {min(taken.intersection(frames))}")
        taken.update(frames)


def held_frames(available: int, num_frames: int, stride: int) -> int:
    """How many frames a clip that goes on from others can start with.

    Args:
        available: frames before it, at least 1.
        num_frames: of the clip.
        stride: frames to one latent frame.

    Raises:
        InputError: the clip would have no frame of its own.
    """
    room = (num_frames - 1) // stride - 1
    if room < 0:
        raise InputError(
            f"{num_frames} frames leave none after those of the clip that goes on; "
            f"make {1 + stride} or more"
        )
    return 1 + stride * min(HELD_LATENTS - 1, (available - 1) // stride, room)


@dataclass(frozen=True, kw_only=True, eq=False)
class Extension:
    """A clip that goes on, or that is led up to.

    Args:
        given: at the frame rate and in the size of the new clip.
        held: how many of its last frames the new clip starts with, or of its first ends with.
        ahead: how many new frames lead up to it; 0 where they follow it.
    """

    given: Clip
    held: int
    ahead: int = 0

    def keyframes(self, others: Sequence[Keyframe]) -> list[Keyframe]:
        """What the new clip is given: the held frames, and keyframes of the whole.

        Args:
            others: their frames are counted from the start of the whole.

        Raises:
            InputError: one of them lies in the given clip.
        """
        if self.ahead:
            return [self._led_up_to(others), *others]
        start = self.given.num_frames - self.held
        for keyframe in others:
            if keyframe.frame < self.given.num_frames:
                raise InputError(
                    f"a keyframe at frame {keyframe.frame} lies within the clip that goes on, "
                    f"which has {self.given.num_frames}; give one after it"
                )
        held = Keyframe(clip=Clip(self.given.frames[start:], self.given.fps))
        return [held, *(replace(keyframe, frame=keyframe.frame - start) for keyframe in others)]

    def _led_up_to(self, others: Sequence[Keyframe]) -> Keyframe:
        for keyframe in others:
            if keyframe.frame + keyframe.clip.num_frames > self.ahead:
                raise InputError(
                    f"a keyframe at frame {keyframe.frame} lies within the clip that is led up to, "
                    f"which begins at frame {self.ahead}; give one before it"
                )
        return Keyframe(clip=Clip(self.given.frames[: self.held], self.given.fps), frame=self.ahead)

    def joined(self, made: Clip) -> Clip:
        """The given clip with its sound, and the new frames of another beside it, see `faded`."""
        frames, sound = self.given.frames, self.given.sound
        if not self.ahead:
            new = faded(frames[-1], made.frames[self.held - 1 :])
            return Clip(np.concatenate((frames, new)), made.fps, sound)
        new = faded(frames[0], made.frames[self.ahead :: -1])[::-1]
        if sound:
            sound = sound.part(-self.ahead / made.fps, sound.seconds)
        return Clip(np.concatenate((new, frames)), made.fps, sound)


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A clip that is made anew: sampling begins with it under noise, not with noise alone.

    Args:
        clip: at the frame rate and of the length of the new clip.
        strength: in (0, 1], the share of the sampler's steps that are taken: how much becomes new.

    Raises:
        InputError: the strength is out of its range.
    """

    clip: Clip
    strength: float

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise InputError(
                f"the strength of a clip that is made anew lies above 0 and at most at 1, "
                f"not at {self.strength}"
            )

    def pixels(self, height: int, width: int) -> Tensor:
        """(3, T, height, width) in [-1, 1], as a codec takes them."""
        return torch.from_numpy(self.clip.covering(height, width).to_float())


def faded(last: np.ndarray, made: np.ndarray) -> np.ndarray:
    """New frames that follow the last given one without a seam (our own design).

    A codec shows the last given frame g as m0, a little different, and a cut from g to the frame m1
    after it would show that residual r = g - m0 at once. So the new frames are mk + wk r, with wk
    falling from w0 = 1 to 0: the step at the seam is m1 - m0 + (w1 - 1) r. The changes of w add up
    to -1 whatever its shape; the largest is the smallest if all are equal, which gives
    wk = 1 - k / K. Each step then has |r| / K besides its own, and K is the least number of frames
    that keeps this below `FADE_SHARE` of the median change of the new frames, at most all of them.

    Args:
        last: (H, W, 3) uint8, g.
        made: (1 + n, H, W, 3) uint8: m0, and the new frames.

    Returns:
        The n new frames, (n, H, W, 3) uint8.
    """
    residual = last - made[0].astype(np.float32)
    own = float(np.median([_change(before, after) for before, after in pairwise(made)]))
    allowed = FADE_SHARE * max(own, FINEST_CHANGE)
    new = made[1:].copy()
    length = min(math.ceil(_change(made[0], last) / allowed), len(new))
    for k in range(1, length):
        mixed = made[k] + (1 - k / length) * residual
        new[k - 1] = np.rint(mixed.clip(0, 255)).astype(np.uint8)
    return new


def _change(before: np.ndarray, after: np.ndarray) -> float:
    """Mean absolute difference of two frames, in levels of 255."""
    return float(np.abs(after.astype(np.float32) - before).mean())
