"""Samples as batches of tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kinema.errors import InputError
from kinema.noise import Noise
from kinema.worlds.world import World

Source = Callable[[tuple[int, ...]], Mapping[str, Any]]
"""Gives the batch of some sample indices; the same indices always give the same batch."""


class WorldClips:
    """Batches drawn by a world: clips (B, 3, T, H, W) in [-1, 1], captions and labels of each.

    Args:
        world: the program that draws.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        drawn = [self.world.sample(index) for index in samples]
        return {
            "clips": torch.stack([torch.from_numpy(sample.clip.to_float()) for sample in drawn]),
            "captions": [sample.captions for sample in drawn],
            "labels": [sample.labels for sample in drawn],
        }


class ShapesStills(WorldClips):
    """Batches of pictures of the world `shapes`, as clips of one frame (B, 3, 1, H, W).

    Captions of the world tell what moves; these say what one frame shows.

    Args:
        world: the program that draws clips of one frame.
    """

    def __init__(self, world: World) -> None:
        assert world.options["num_frames"] == 1, "stills are clips of one frame"
        super().__init__(world)

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices."""
        batch = super().__call__(samples)
        return {**batch, "captions": [(said_of_a_still(labels),) for labels in batch["labels"]]}


def said_of_a_still(labels: Mapping[str, str]) -> str:
    """What one frame of the world `shapes` shows: everything but the motion."""
    kind = "" if labels["background_kind"] == "flat" else " gradient"
    ground = f"{labels['background']}{kind} background"
    said = f"a {labels['size']} {labels['color']} {labels['shape']} on a {ground}"
    return re.sub(r"\ba (?=[aeiou])", "an ", said)


class SegmentFrames:
    """One frame of each of equally long stretches of the clips of another source.

    Source: temporal segments, Wang et al. (arXiv:1608.00859).

    Args:
        source: gives ``clips`` (B, 3, T, H, W).
        num_frames: F, how many frames are taken.
        seed: of the places within the stretches; None takes the middle of each.
    """

    def __init__(self, source: Source, *, num_frames: int, seed: int | None) -> None:
        self.source, self.num_frames, self.seed = source, num_frames, seed

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices, with clips (B, 3, F, H, W).

        Raises:
            InputError: the clips have fewer frames.
        """
        batch, places = self.source(samples), None
        if self.seed is not None:
            shape = (len(samples), self.num_frames)
            places = Noise(self.seed, samples).uniform(shape, "frames")
        frames = segment_frames(batch["clips"].shape[2], self.num_frames, places)
        chosen = frames.expand(len(samples), -1)
        clips = [clip[:, own] for clip, own in zip(batch["clips"], chosen)]
        return {**batch, "clips": torch.stack(clips)}


def segment_frames(length: int, count: int, places: Tensor | None) -> Tensor:
    """Frame numbers of a clip: one in each of `count` stretches that are as long as one another.

    Args:
        length: of the clip in frames.
        count: F.
        places: (..., F) in [0, 1), how far into its stretch a frame lies; None for the middle.

    Returns:
        (F,) or, with `places`, (..., F), int64.

    Raises:
        InputError: the clip has fewer frames than there are stretches.
    """
    if length < count:
        raise InputError(f"{count} frames cannot be taken from a clip of {length}")
    borders = torch.arange(count + 1, device="cpu") * length // count
    first, last = borders[:-1], borders[1:] - 1
    if places is None:
        return (first + last) // 2
    return first + (places * (last - first + 1)).long()


class Alternating:
    """Several sources, one for each step in turn, so that no batch mixes them.

    Args:
        sources: the first has step 0.
        batch_size: samples of a step; those of step k are k `batch_size` and the next ones.
    """

    def __init__(self, sources: Sequence[Source], batch_size: int) -> None:
        self.sources, self.batch_size = tuple(sources), batch_size

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices of one step."""
        step = samples[0] // self.batch_size
        return dict(self.sources[step % len(self.sources)](samples))


class Mixture:
    """Batches of one source, and in a share of the steps those of another.

    Each source counts its own steps, so that it visits all its samples as it would alone.

    Args:
        source: gives the other steps; the first is its.
        other: gives the share.
        share: of the steps, in [0, 1), spread evenly.
        batch_size: samples of a step; those of step k are k `batch_size` and the next ones.
    """

    def __init__(self, source: Source, other: Source, *, share: float, batch_size: int) -> None:
        self.source, self.other = source, other
        self.share, self.batch_size = share, batch_size

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices of one step."""
        step = samples[0] // self.batch_size
        others, then = (math.floor(count * self.share) for count in (step, step + 1))
        own, source = (others, self.other) if then > others else (step - others, self.source)
        back = (step - own) * self.batch_size
        return dict(source(tuple(sample - back for sample in samples)))


class RandomCrops:
    """Square windows of the clips of another source, one for each sample, drawn with its index.

    Args:
        source: gives ``clips`` (B, 3, T, H, W).
        side: of the window in pixels.
        seed: of the places.
    """

    def __init__(self, source: Source, *, side: int, seed: int) -> None:
        self.source, self.side, self.seed = source, side, seed

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Any]:
        """The batch of some sample indices.

        Raises:
            InputError: the clips are smaller than the window.
        """
        batch = self.source(samples)
        height, width = batch["clips"].shape[-2:]
        if self.side > min(height, width):
            raise InputError(
                f"a crop of {self.side} pixels does not fit in clips of {height}x{width}"
            )
        places = Noise(self.seed, samples).uniform((len(samples), 2), "crop").tolist()
        clips = [self._window(clip, *place) for clip, place in zip(batch["clips"], places)]
        return {**batch, "clips": torch.stack(clips)}

    def _window(self, clip: Tensor, down: float, right: float) -> Tensor:
        top = int(down * (clip.shape[-2] - self.side + 1))
        left = int(right * (clip.shape[-1] - self.side + 1))
        return clip[..., top : top + self.side, left : left + self.side]
