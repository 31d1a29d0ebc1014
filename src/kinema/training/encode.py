"""What a codec makes of a world: the samples of a latent cache."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from kinema.data.latents import Encoded, LatentKey, in_batches
from kinema.weights.digest import digest
from kinema.worlds.world import World


class Encoder(Protocol):
    """The side of a codec that is needed here."""

    def encode(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) in [-1, 1] -> normalized latents (B, C, t, h, w), the mode."""
        ...


def latent_key(codec: nn.Module, world: World) -> LatentKey:
    """What the latents of a world depend on: the codec's weights, the world and all its options."""
    clip = world.sample(0).clip
    height, width = clip.size
    return LatentKey(
        codec=digest(codec),
        source=json.dumps({"world": world.name, **world.options}, sort_keys=True),
        num_frames=clip.num_frames,
        height=height,
        width=width,
        fps=clip.fps,
    )


@torch.no_grad()
def encode_world(
    codec: Encoder, world: World, samples: Iterable[int], *, batch_size: int, device: str
) -> Iterator[Encoded]:
    """Encodes samples of a world, in order.

    Args:
        codec: its mode is kept, no noise is drawn.
        world: draws the clips.
        samples: their indices.
        batch_size: clips that are encoded at once.
        device: where the codec is.

    Raises:
        InputError: the codec cannot take clips of this size.
    """
    for indices in in_batches(samples, batch_size):
        drawn = [world.sample(index) for index in indices]
        clips = torch.stack([torch.from_numpy(sample.clip.to_float()) for sample in drawn])
        latents = codec.encode(clips.to(device)).cpu()
        for z, sample in zip(latents, drawn):
            yield Encoded(latents=z, captions=sample.captions, labels=sample.labels)
