"""What claims about networks of pictures share: pictures, a plain ViT, and how they are learned.

The pictures are single frames, 48 pixels a side, of the world `motions`, whose difficulty is fixed
in docs/recognizers.md: an object with corners, 9 to 16 pixels across, and a round one of another
color, 8 to 13 pixels across, on flat, graded, striped, checkered or dotted grounds. The class is
the color, of ten, of the object with corners. Colors are easily seen; which of the two objects
counts is a matter of details inside patches of 12 pixels. So a guess has 0.1, who sees colors alone
0.5, and who tells corners from curves 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from kinema.claims.claim import Arm, Cost, Measured, arms_of
from kinema.claims.training import cost_of, initialize, train
from kinema.data.clips import ClipSize, split_of
from kinema.networks.deit import DeiT, DeiTConfig
from kinema.noise import Noise
from kinema.systems.recognizer_frames import COLORS, DRAWN
from kinema.systems.recognizer_training import FPS
from kinema.training.classification import Classification, ClassifierRecipe
from kinema.worlds.motion_classes import FEWEST_FRAMES

Networks = Mapping[str, Callable[[], nn.Module]]
SIDE, PATCH = 48, 12  # pixels
PER_CLIP = 4  # of the fewest frames that there can be, the last of which is the first


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How many pictures are learned from and held out, and how often they are looked at."""

    pictures: int
    held_out: int
    steps: int
    batch_size: int


FULL = Scale(pictures=20_480, held_out=1024, steps=1500, batch_size=64)


def plain_vit() -> DeiT:
    """The baseline: a ViT with patches of 12 pixels and learned positions, 531,510 parameters."""
    config = DeiTConfig(
        image_size=SIDE,
        patch_size=PATCH,
        width=100,
        num_layers=4,
        num_heads=4,
        num_classes=len(COLORS),
    )
    return DeiT(config)


class Pictures:
    """Batches of pictures as clips of one frame (B, 3, 1, 48, 48) in [-1, 1], with their classes.

    They are drawn once; indices beyond their number begin anew.

    Args:
        split: of the world.
        count: how many are drawn.
    """

    def __init__(self, split: str, count: int) -> None:
        size = ClipSize(num_frames=FEWEST_FRAMES, height=SIDE, width=SIDE, fps=FPS)
        world = split_of("motions", split, size)
        drawn = [world.sample(index) for index in range(-(-count // PER_CLIP))]
        # First one frame of every clip, so that no batch has two of one.
        frames = np.concatenate([[s.clip.frames[i] for s in drawn] for i in range(PER_CLIP)])
        classes = torch.tensor([COLORS.index(sample.labels["color"]) for sample in drawn])
        self.frames = torch.from_numpy(frames[:count])
        self.classes = classes.repeat(PER_CLIP)[:count]

    def __call__(self, samples: tuple[int, ...]) -> dict[str, Tensor]:
        """The batch of some sample indices."""
        rows = [sample % len(self.frames) for sample in samples]
        x = self.frames[rows].permute(0, 3, 1, 2).unsqueeze(2)
        return {"clips": x.float() / 127.5 - 1, "classes": self.classes[rows]}


@functools.cache
def pictures(split: str, count: int) -> Pictures:
    """The same pictures for all arms and seeds."""
    return Pictures(split, count)


def recipe(scale: Scale) -> ClassifierRecipe:
    """That of presets tiny of systems that read frames, for all networks."""
    return replace(DRAWN, steps=scale.steps, batch_size=scale.batch_size)


def seen(network: nn.Module, clips: Tensor) -> Tensor:
    """Logits (B, K) of clips (B, 3, 1, S, S) of one frame."""
    logits: Tensor = network(clips[:, :, 0])
    return logits


def learner(make: Callable[[], nn.Module], scale: Scale, seed: int) -> Classification:
    """What a network learns by, with its initial weights."""
    network = initialize(make, seed)
    return Classification(
        {"network": network}, logits=functools.partial(seen, network), recipe=recipe(scale)
    )


def arms(networks: Networks, scale: Scale) -> tuple[Arm, ...]:
    """One arm for each network, all on the same pictures by the same recipe."""
    run, cost = functools.partial(_run, networks), functools.partial(_cost, networks)
    return arms_of(tuple(networks), run, cost, scale)


def _run(networks: Networks, name: str, scale: Scale, seed: int) -> Measured:
    """Trains a network; how often it names what counts in held-out pictures rightly."""
    objective = learner(networks[name], scale, seed)
    train(objective, pictures("train", scale.pictures), recipe(scale), seed=seed)
    unseen = pictures("held_out", scale.held_out)(tuple(range(scale.held_out)))
    with torch.no_grad():
        logs = objective.held_out(unseen, Noise(0, (0,)))
    return {"top1": float(logs["top1"]), "loss": float(logs["loss"])}


def _cost(networks: Networks, name: str, scale: Scale) -> Cost:
    """Of a training step of a network."""
    batch = pictures("train", scale.pictures)(tuple(range(scale.batch_size)))
    return cost_of(learner(networks[name], scale, seed=0), batch, scale.batch_size)
