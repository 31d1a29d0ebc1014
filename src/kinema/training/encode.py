"""What a codec makes of a world: the samples of a latent cache."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor, nn

from kinema.data.latents import Encoded, LatentKey, in_batches
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.weights.digest import digest
from kinema.worlds.world import World


class Encoder(Protocol):
    """The side of a codec that is needed here."""

    def encode(self, x: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) in [-1, 1] -> normalized latents (B, C, t, h, w), the mode."""
        ...


def latent_key(codec: nn.Module, world: World, stills: int) -> LatentKey:
    """What latents of a world and of `stills` single frames depend on: the codec's weights, the
    world and all its options.
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


@torch.no_grad()
def encode_world(
    codec: Encoder,
    world: World,
    samples: Iterable[int],
    *,
    stills: int,
    batch_size: int,
    device: str,
) -> Iterator[Encoded]:
    """Encodes samples of a world, in order.

    Args:
        codec: its mode is kept, no noise is drawn.
        world: draws the clips.
        samples: their indices.
        stills: frames after the first that are encoded alone too; which ones, the index says.
        batch_size: clips that are encoded at once.
        device: where the codec is.

    Raises:
        InputError: the codec cannot take clips of this size, or they have too few frames.
    """
    for indices in in_batches(samples, batch_size):
        drawn = [world.sample(index) for index in indices]
        clips = torch.stack([torch.from_numpy(sample.clip.to_float()) for sample in drawn])
        latents = codec.encode(clips.to(device)).cpu()
        frames = still_frames(indices, clips.shape[2], stills)
        single = encode_stills(codec, clips, frames, device) if stills else [()] * len(drawn)
        for z, sample, numbers, alone in zip(latents, drawn, frames.tolist(), single):
            own = dict(zip(numbers, alone))
            yield Encoded(latents=z, captions=sample.captions, labels=sample.labels, stills=own)


def still_frames(samples: Sequence[int], num_frames: int, count: int) -> Tensor:
    """Numbers of `count` different frames after the first, drawn for each sample: (B, count).

    Raises:
        InputError: the clips have fewer.
    """
    if count > num_frames - 1:
        raise InputError(
            f"clips of {num_frames} frames have no {count} frames after the first; lower --stills"
        )
    orders = [Noise(0, (index,)).permutation(num_frames - 1, "stills") for index in samples]
    return 1 + torch.stack(orders)[:, :count]


def encode_stills(codec: Encoder, clips: Tensor, frames: Tensor, device: str) -> Tensor:
    """Latents (B, S, C, h, w) of frames (B, S) of clips (B, 3, T, H, W), each encoded alone."""
    chosen = torch.stack([clip[:, own] for clip, own in zip(clips, frames)])
    single = rearrange(chosen, "b c s h w -> (b s) c 1 h w").to(device)
    return rearrange(codec.encode(single).cpu(), "(b s) c 1 h w -> b s c h w", b=len(clips))
