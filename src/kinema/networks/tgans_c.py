"""TGANs-C: To Create What You Tell: Generating Videos from Captions (arXiv 1804.08264), Pan et al.
2017: the generator, and the three critics that share a map of the frames.

No code of the authors is public; reference: github.com/miguelmartin75/txt2vid (no license, facts
only), models/tcwyt. Verified: names, counts and recorded outputs of that re-implementation.
Inferred: every size. Different: a score for each clip, where it has the mean of the batch; a last
kernel over the whole map of a frame, where its 2x2 kernel sees a corner; the norms of a frame's map
take their statistics over the frames of all times at once, where it goes frame by frame; initial
weights that suit narrow networks too.

Letters: B batch, C channels, T frames, H, W pixels, h, w places of a map, S sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor, nn

from kinema.config import config
from kinema.errors import InputError
from kinema.nn.factory import Factory
from kinema.noise import Noise

SLOPE = 0.2  # of the leaky rectifiers
CONV: Mapping[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
NORM: Mapping[int, Any] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


@config
class GeneratorConfig:
    """Sizes of the generator.

    Args:
        noise, sentence: widths of its two inputs.
        channels: of the layers; the first makes the start, each further one doubles T, H and W.
        start: frames and side after the first layer.
    """

    noise: int
    sentence: int
    channels: tuple[int, ...]
    start: tuple[int, int]

    @property
    def clip_size(self) -> tuple[int, int]:
        """Frames and side, in pixels, of the clips."""
        frames, side = (n * 2 ** (len(self.channels) - 1) for n in self.start)
        return frames, side


@config
class CriticsConfig:
    """Sizes of the three critics.

    Args:
        num_frames, side: of the clips; the layers halve them, to one frame.
        channels: of the layers of the clips' and of the frames' map.
        sentence: width of the sentence.
        width: of the maps that a sentence is joined to, and of the layer that joins them.
        frame_kernel: side of the last kernel of the frame and motion critics, and its stride; the
            side of the map takes in all of it.

    Raises:
        InputError: the layers or the last kernel leave more or less than one score.
    """

    num_frames: int
    side: int
    channels: tuple[int, ...]
    sentence: int
    width: int
    frame_kernel: int

    def __post_init__(self) -> None:
        shrinks = 2 ** len(self.channels)
        if self.num_frames != shrinks or self.side % shrinks:
            raise InputError(
                f"critics of {len(self.channels)} layers judge clips of {shrinks} frames with a "
                f"side divisible by {shrinks}, not {self.num_frames} frames of {self.side}"
            )
        if not self.map_side < 2 * self.frame_kernel <= 2 * self.map_side:
            raise InputError(
                f"frame_kernel {self.frame_kernel} must be more than half of the map's side "
                f"{self.map_side}, and no more than that"
            )

    @property
    def map_side(self) -> int:
        """Side of the last map."""
        return self.side // 2 ** len(self.channels)


class Generator(nn.Module):
    """A clip from noise and a sentence, by transposed convolutions in space and time."""

    def __init__(self, config: GeneratorConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        width, (frames, side) = config.noise + config.sentence, config.start
        self.input_map = nn.Sequential(
            nn.Linear(width, width, **factory), *activated(1, width, factory)
        )
        first, last = config.channels[0], config.channels[-1]
        layers = [
            nn.ConvTranspose3d(width, first, (frames, side, side), bias=False, **factory),
            *activated(3, first, factory),
        ]
        for before, after in pairwise(config.channels):
            layers += [
                nn.ConvTranspose3d(before, after, 4, 2, 1, bias=False, **factory),
                *activated(3, after, factory),
            ]
        layers += [nn.ConvTranspose3d(last, 3, 1, bias=False, **factory), nn.Tanh()]
        self.seq = nn.Sequential(*layers)
        self.apply(initialize)

    def forward(self, z: Tensor, sentence: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) in [-1, 1] from normal noise (B, noise) and sentences (B, S)."""
        x = self.input_map(torch.cat([z, sentence], 1))
        clips: Tensor = self.seq(x[:, :, None, None, None])
        return clips

    def make(self, sentence: Tensor, noise: Noise) -> Tensor:
        """Clips (B, 3, T, H, W) for sentences (B, S), with the noise of the samples in a batch."""
        z = noise.normal((len(sentence), self.config.noise), "z")
        clips: Tensor = self(z.to(sentence), sentence)
        return clips


class Maps(NamedTuple):
    """What the critics see of clips before any sentence is read."""

    clips: Tensor
    """(B, C, 1, h, w)"""
    frames: Tensor
    """(B, T, C, h, w)"""

    def rows(self, index: Tensor) -> Maps:
        """The maps of the clips with these indices (N,)."""
        return Maps(self.clips[index], self.frames[index])


class Judge(nn.Module):
    """Scores (N, places) of maps (N, C, ...) under sentences: the sentence is mapped, repeated at
    every place of the map and joined to it; a last kernel takes in the map.
    """

    def __init__(
        self,
        config: CriticsConfig,
        channels: int,
        factory: Factory,
        *,
        kernel: tuple[int, ...],
        stride: int,
    ) -> None:
        super().__init__()
        dims, joined = len(kernel), channels + config.sentence
        self.sentence = nn.Sequential(
            nn.Linear(config.sentence, config.sentence, **factory),
            *activated(1, config.sentence, factory),
        )
        self.scores = nn.Sequential(
            CONV[dims](joined, config.width, 1, bias=False, **factory),
            *activated(dims, config.width, factory),
            CONV[dims](config.width, 1, kernel, stride, bias=False, **factory),
        )

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """N is a multiple of the rows B of `sentence` (B, S): T maps in a row belong to each."""
        s = self.sentence(sentence).repeat_interleave(len(x) // len(sentence), 0)
        s = s.reshape(*s.shape, *(1 for _ in x.shape[2:])).expand(-1, -1, *x.shape[2:])
        scores: Tensor = self.scores(torch.cat([x, s], 1))
        return scores.flatten(1)


class VideoCritic(nn.Module):
    """Judges whether a whole clip is real and what the sentence says."""

    def __init__(self, config: CriticsConfig, factory: Factory) -> None:
        super().__init__()
        first, last = config.channels[0], config.channels[-1]
        self.features = nn.Sequential(
            nn.Conv3d(3, first, 4, 2, 1, bias=False, **factory),
            nn.LeakyReLU(SLOPE),
            *halving(3, config.channels, factory),
            *activated(3, last, factory),
        )
        kernel = (1, config.map_side, config.map_side)
        self.judge = Judge(config, last, factory, kernel=kernel, stride=1)


class FrameCritic(nn.Module):
    """Judges maps of single frames, or the changes between them."""

    def __init__(self, config: CriticsConfig, factory: Factory) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(config.channels[-1], config.width, 1, bias=False, **factory),
            *activated(2, config.width, factory),
        )
        side = config.frame_kernel
        self.judge = Judge(config, config.width, factory, kernel=(side, side), stride=side)

    def forward(self, maps: Tensor, sentence: Tensor) -> Tensor:
        """Scores (B, T, places) of maps (B, T, C, h, w)."""
        scores: Tensor = self.judge(self.features(maps.flatten(0, 1)), sentence)
        return scores.unflatten(0, maps.shape[:2])


class Critics(nn.Module):
    """The video, frame and motion critics."""

    def __init__(self, config: CriticsConfig, **factory: Unpack[Factory]) -> None:
        super().__init__()
        self.config = config
        first = config.channels[0]
        self.video = VideoCritic(config, factory)
        self.frame_map = nn.Sequential(
            nn.Conv2d(3, first, 4, 2, 1, bias=False, **factory),
            *activated(2, first, factory),
            *halving(2, config.channels, factory),
        )
        self.frame = FrameCritic(config, factory)
        self.motion = FrameCritic(config, factory)
        self.apply(initialize)

    def maps(self, clips: Tensor) -> Maps:
        """What is seen of clips (B, 3, T, H, W) in [-1, 1]."""
        frames = self.frame_map(clips.transpose(1, 2).flatten(0, 1))
        return Maps(
            clips=self.video.features(clips),
            frames=frames.unflatten(0, (clips.shape[0], clips.shape[2])),
        )

    def scores(self, maps: Maps, sentence: Tensor) -> dict[str, Tensor]:
        """Logits that clips are real and what the sentences (B, S) say.

        Returns:
            ``video`` (B,), ``frame`` (B, T) and ``motion`` (B, T - 1).
        """
        return {
            "video": self.video.judge(maps.clips, sentence).mean(-1),
            "frame": self.frame(maps.frames, sentence).mean(-1),
            "motion": self.motion(maps.frames.diff(dim=1), sentence).mean(-1),
        }

    def forward(self, clips: Tensor, sentence: Tensor) -> dict[str, Tensor]:
        """`scores` of clips (B, 3, T, H, W)."""
        return self.scores(self.maps(clips), sentence)


def activated(dims: int, channels: int, factory: Factory) -> list[nn.Module]:
    """What follows a layer: a norm over batch and places, and the leaky rectifier."""
    return [NORM[dims](channels, **factory), nn.LeakyReLU(SLOPE)]


def halving(dims: int, channels: tuple[int, ...], factory: Factory) -> list[nn.Module]:
    """Layers that halve all axes, from each number of channels to the next; the last is bare."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        conv = CONV[dims](before, after, 4, 2, 1, bias=False, **factory)
        layers += [conv, *activated(dims, after, factory)]
    return layers[:-2]


def initialize(module: nn.Module) -> None:
    """Kernels and matrices keep the spread of their inputs; norms stay as torch makes them.

    DCGAN's N(0, 0.02) is about that at the published widths. In narrow networks it leaves nothing
    of the noise until the norms have seen data.
    """
    if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
        nn.init.normal_(module.weight, 0.0, inputs_per_value(module) ** -0.5)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def inputs_per_value(layer: nn.Module) -> int:
    """How many inputs each output of a layer of these networks is a sum of.

    A transposed convolution of stride 1 starts from a single place, or has a kernel of one.
    """
    if isinstance(layer, nn.ConvTranspose3d):
        places = math.prod(layer.kernel_size) // math.prod(layer.stride)
        return layer.in_channels * (1 if layer.stride == (1, 1, 1) else places)
    weight: Any = layer.weight
    return weight[0].numel()


def generator_48() -> GeneratorConfig:
    """16 frames of 48x48."""
    return GeneratorConfig(noise=100, sentence=256, channels=(512, 256, 128, 64), start=(2, 6))


def critics_48() -> CriticsConfig:
    """16 frames of 48x48."""
    return CriticsConfig(
        num_frames=16,
        side=48,
        channels=(64, 128, 256, 512),
        sentence=256,
        width=512,
        frame_kernel=3,
    )
