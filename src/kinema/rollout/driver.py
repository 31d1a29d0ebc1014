"""The driver of long video: windows that go on from the last latent frames before them.

What is carried over are the last frames, 1 + 2 s of them at most, which a causal codec holds as
three latent frames: the next window is given them as fixed tokens, and its first new frames are
blended with what came before (`keyframes.faded`). Our own design; the plan is in `windows.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kinema.clip import Clip
from kinema.data.clips import to_clip
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.rollout.story import Segment
from kinema.rollout.windows import Window, plan
from kinema.systems.image_to_video import ImageToVideo
from kinema.systems.keyframes import HELD_LATENTS, Keyframe


@dataclass(frozen=True, kw_only=True)
class WindowNoise(Noise):
    """The noise of one window of a rollout: streams of its own, whatever the others drew.

    The first window has the streams of a clip, so that a story of one window is that clip.
    """

    window: int

    def generator(self, sample: int, stream: str) -> torch.Generator:
        """The CPU generator of one stream of one sample in this window."""
        own = f"window {self.window}/{stream}" if self.window else stream
        return super().generator(sample, own)


class Rollout:
    """A story as windows, each made from the frames before it and nothing else.

    Args:
        model: makes the windows.
        segments: the story.
        seed: of the noise; a window depends on it and on its number alone, not on the length of
            the story.
        sampling: size of a window and sampler.
        negative: what guidance moves away from; if None, what the model itself has.
        image: the first frame, a clip of one.

    Raises:
        InputError: the story cannot be cut into windows, no window of this size can be made, or
            the image is no single frame.
    """

    def __init__(
        self,
        model: ImageToVideo,
        segments: Sequence[Segment],
        *,
        seed: int,
        sampling: Any,
        negative: str | None,
        image: Clip | None,
    ) -> None:
        model.check(sampling)
        model.check_extends(sampling)
        if image is not None and image.num_frames > 1:
            raise InputError(f"a story begins with one picture, not with {image.num_frames} frames")
        stride = model.codec_stride[0]
        self.model, self.segments, self.sampling = model, tuple(segments), sampling
        self.seed, self.negative, self.image = seed, negative, image
        self.windows = plan(
            segments, num_frames=sampling.num_frames, fps=sampling.fps, stride=stride
        )
        self.carried = 1 + stride * (HELD_LATENTS - 1)

    @property
    def num_frames(self) -> int:
        """Of the whole story."""
        return self.windows[-1].start + self.windows[-1].frames

    @torch.inference_mode()
    def make(self, window: Window, before: Clip | None) -> Clip:
        """The new frames of a window.

        Args:
            window: one of `windows`.
            before: the last `carried` frames before it, or all if there are fewer; None for the
                first window.
        """
        assert (before is None) == (window.start == 0), f"what comes before {window}?"
        noise = WindowNoise(seed=0, samples=(self.seed,), window=window.number)
        extension = self.model.extension(before, self.sampling) if before else None
        given = [Keyframe(clip=self.image)] if self.image else []
        latents = self.model.latents(
            [self.segments[window.segment].prompt],
            keyframes=extension.keyframes([]) if extension else given,
            noise=noise,
            sampling=self.sampling,
            negative=self.negative,
        )
        pixels = self.model.decode(latents, noise=noise, sampling=self.sampling)[0]
        made = to_clip(pixels, self.sampling.fps)
        if extension:
            made = extension.joined(made)[extension.given.num_frames :]
        return made[: window.frames]


def tell(
    model: ImageToVideo,
    segments: Sequence[Segment],
    *,
    seed: int,
    sampling: Any = None,
    negative: str | None = None,
    image: Clip | None = None,
) -> Iterator[Clip]:
    """A story, window by window: clips of new frames that follow one another.

    Only the last frames are kept, so memory does not grow with the story. Arguments are those of
    `Rollout`, whose `make` takes up a story in its middle; `sampling` is the model's own if None.

    Raises:
        InputError: as `Rollout`, before the first window.
    """
    rollout = Rollout(
        model,
        segments,
        seed=seed,
        sampling=sampling or model.config.sampling,
        negative=negative,
        image=image,
    )
    return _told(rollout)


def _told(rollout: Rollout) -> Iterator[Clip]:
    before: Clip | None = None
    for window in rollout.windows:
        new = rollout.make(window, before)
        yield new
        before = tail([*([before] if before else []), new], rollout.carried)


def tail(clips: Sequence[Clip], count: int) -> Clip:
    """The last frames of clips that follow one another, `count` of them or all."""
    frames = np.concatenate([clip.frames[-count:] for clip in clips])
    return Clip(frames[-count:], clips[-1].fps)
