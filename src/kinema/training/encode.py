"""What a model makes of clips in the place of which its stages read latents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from kinema.data.latents import Encoded, LatentKey, in_batches
from kinema.weights.digest import digest
from kinema.worlds.world import World, WorldSample

Encode = Callable[[Tensor, Sequence[int]], Mapping[str, Tensor]]
"""`Model.encoded`: clips (B, 3, T, H, W) and a number of each -> tensors (B, ...) by name."""
Tell = Callable[[WorldSample, tuple[int, ...]], Mapping[str, Tensor]]
"""`Model.told`: a sample and the size (t, h, w) of its latents -> tensors by name."""


def untold(sample: WorldSample, size: tuple[int, ...]) -> Mapping[str, Tensor]:
    """Nothing is told of a sample but what its latents are."""
    return {}


def latent_key(codec: nn.Module, world: World, stills: int) -> LatentKey:
    """What latents of a world and of `stills` frames of each clip depend on: the codec's weights,
    the world and all its options.
    """
    clip = world.sample(0).clip
    height, width = clip.size
    return LatentKey(
        codec=digest(codec),
        source=json.dumps({"world": world.name, **world.options}, sort_keys=True),
        num_frames=clip.num_frames,
        height=height,
        width=width,
        fps=clip.fps,
        stills=stills,
    )


def encode_world(
    encode: Encode, tell: Tell, world: World, samples: Iterable[int], *, batch_size: int
) -> Iterator[Encoded]:
    """Encodes samples of a world, in order.

    Args:
        encode, tell: of the model.
        world: draws the clips.
        samples: their indices.
        batch_size: clips that are encoded at once.

    Raises:
        InputError: the codec cannot take clips of this size.
    """
    for indices in in_batches(samples, batch_size):
        drawn = [world.sample(index) for index in indices]
        clips = torch.stack([torch.from_numpy(sample.clip.to_float()) for sample in drawn])
        tensors = encode(clips, indices)
        for row, sample in enumerate(drawn):
            own = {name: values[row] for name, values in tensors.items()}
            latents = own.pop("latents")
            own |= tell(sample, latents.shape[1:])
            yield Encoded(latents, captions=sample.captions, labels=sample.labels, beside=own)
