"""Shards of a latent cache: the hop from a loaded model to what `kinema encode` writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kinema.cli.engines import Advance
from kinema.cli.equipment import work_in_parts
from kinema.cli.machine import load_model
from kinema.data import latents
from kinema.data.clips import SPLITS, split_of
from kinema.data.latents import Encoded
from kinema.errors import InputError
from kinema.training.encode import encode_world, latent_key


@dataclass(frozen=True)
class Shard:
    """Samples of a split that go into one file."""

    split: str
    samples: range


class Encoder:
    """A loaded model that encodes a world. Pickled, it is its arguments, and loads again.

    Args:
        model: ``name:tag``, ``name@path`` or a path.
        data: the name of a world.
        output: folder of the cache; each split has a folder in it.
        device, threads: as `load_model` takes them.
        batch: clips that are encoded at once.
        tile: as `work_in_parts` takes it; None, and the codec takes clips whole.

    Raises:
        InputError: the model cannot be loaded, no stage of it reads latents, or there is no such
            world, or none of the size of its clips; or the codec does not work in parts.
    """

    def __init__(
        self,
        model: str,
        data: str,
        output: Path,
        *,
        device: str,
        threads: int | None,
        batch: int,
        tile: int | None,
    ) -> None:
        self._again = partial(
            Encoder, model, data, output, device=device, threads=threads, batch=batch, tile=tile
        )
        self.model = load_model(model, device=device, dtype="float32", threads=threads)
        self.codec, self.output, self.batch = codec_of(self.model, model), output, batch
        self.side = tile or 0
        if tile is not None:
            work_in_parts(self.codec, model, tile)
        size = self.model.config.sampling
        self.codec.latent_shape(size.num_frames, size.height, size.width)
        self.worlds = {split: split_of(data, split, size) for split in SPLITS}

    def __reduce__(self) -> tuple[Callable[[], Encoder], tuple[()]]:
        return self._again, ()

    def begin(self, split: str, count: int) -> list[Shard]:
        """Makes the folder of a split ready; gives the shards that it lacks of so many samples.

        Raises:
            InputError: the folder holds latents of another codec or world, or cannot be written.
        """
        key = latent_key(self.codec, self.worlds[split], self.model.STILLS)
        if self.side:  # tiles change latents a little; parts in time do not
            told = {**json.loads(key.source), "tile": self.side}
            key = replace(key, source=json.dumps(told, sort_keys=True))
        lacking = latents.begin(self.output / split, key, count)
        return [Shard(split, samples) for samples in lacking]

    def __call__(self, shard: Shard, advance: Advance) -> None:
        """Encodes a shard and writes it."""
        world = self.worlds[shard.split]
        make = partial(encode_world, self.model.encoded, self.model.told, world)
        encoded = make(shard.samples, batch_size=self.batch)
        latents.write_shard(self.output / shard.split, shard.samples, counted(encoded, advance))


def counted(samples: Iterable[Encoded], advance: Advance) -> Iterator[Encoded]:
    """The samples; each that was taken is told."""
    for sample in samples:
        yield sample
        advance(1)


def codec_of(loaded: Any, name: str) -> Any:
    """The network of a model whose latents a stage reads.

    Raises:
        InputError: no stage reads latents.
    """
    stages = getattr(loaded, "STAGES", {}).values()
    roles = {stage.latents_of for stage in stages if stage.latents_of}
    if not roles:
        raise InputError(f"no stage of {name} trains on latents, so there is nothing to encode")
    (role,) = roles
    return loaded.parts[role]
