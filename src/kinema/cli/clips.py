"""Clips from prompts: the hop from a loaded model to frames, and what must be told to repeat it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from kinema.cli.adapters import Adapters
from kinema.cli.engines import Advance
from kinema.cli.equipment import NOTHING, Equipment
from kinema.cli.given import Given
from kinema.cli.machine import file_of, full_name, load_model, sha256, versions
from kinema.cli.outputs import save_clip
from kinema.clip import Clip
from kinema.config import to_dict
from kinema.data.clips import to_clip
from kinema.errors import InputError
from kinema.noise import Noise
from kinema.systems.text_to_video import TextToVideo
from kinema.weights.digest import digest


@dataclass(frozen=True, kw_only=True)
class Item:
    """One clip to make: what it shows, the seed of its noise, where it goes."""

    prompt: str
    negative: str
    seed: int
    path: Path
    unknown_words: tuple[str, ...]


class Maker:
    """A loaded model with its settings.

    Args:
        model: ``name:tag``, ``name@path`` or a path.
        text_encoder: folder of the text encoder, where it is not with the model.
        device, dtype, threads: as `load_model` takes them.
        sampling: fields of the model's `Sampling` that get another value.
        adapters: are added to its weights.
        given: pictures, and a clip to go on from or make anew; the same for all clips.
        equipment: is given to it beside its weights.

    Raises:
        InputError: the model cannot be loaded, makes no clips from prompts, or none of that size,
            with these adapters or with what is given.
    """

    def __init__(
        self,
        model: str,
        *,
        text_encoder: Path | None,
        device: str,
        dtype: str,
        threads: int | None,
        sampling: dict[str, Any],
        adapters: Adapters,
        given: Given,
        equipment: Equipment = NOTHING,
    ) -> None:
        self._loading: dict[str, Any] = {
            "text_encoder": text_encoder,
            "device": device,
            "dtype": dtype,
            "threads": threads,
        }
        loaded = load_model(model, **self._loading)
        self.name, self.device = full_name(model), device
        if not isinstance(loaded, TextToVideo):
            raise InputError(f"{self.name} makes no clips from prompts; `kinema run` does its job")
        self.model, self.adapters, self.equipment = loaded, adapters, equipment
        self.dtype = str(loaded.dtype).removeprefix("torch.")
        adapters.merge(loaded)
        equipment.give(loaded, self.name)
        self._settle(sampling, given)
        self._weights = {
            "model_sha256": sha256(file_of(self.name)),
            "model_digest": digest(self.model.parts),
            **adapters.settings(),
            **equipment.settings(),
        }

    def settled(self, *, sampling: dict[str, Any], given: Given) -> Maker:
        """The same loaded model with other settings.

        Raises:
            InputError: it makes no clips of that size, or none with what is given.
        """
        other = copy(self)
        other._settle(sampling, given)
        return other

    def anew(self) -> Callable[[], Maker]:
        """What loads the same with the same settings, in another process."""
        sampling = {
            field.name: getattr(self.sampling, field.name) for field in fields(self.sampling)
        }
        return partial(
            Maker,
            self.name,
            sampling=sampling,
            adapters=self.adapters,
            given=self.given,
            equipment=self.equipment,
            **self._loading,
        )

    def _settle(self, sampling: dict[str, Any], given: Given) -> None:
        self.sampling = replace(self.model.config.sampling, **sampling)
        self.model.check(self.sampling)
        self.given = given
        placed = given.place(self.model, self.name, self.sampling)
        self.keyframes, self.extension, self.source = placed

    def unknown_words(self, prompt: str, negative: str) -> tuple[str, ...]:
        """Words of both that the model does not know; raises InputError if one cannot be used."""
        words = self.model.unknown_words(prompt)
        return (*words, *(self.model.unknown_words(negative) if negative else ()))

    def make(self, items: Sequence[Item]) -> list[Clip]:
        """The clips of some items with equal negatives, as one batch.

        The seed of a clip is the index of its sample in the noise of seed 0, so that its noise does
        not depend on the batch.
        """
        noise = Noise(0, tuple(item.seed for item in items))
        given: dict[str, Any] = {"keyframes": self.keyframes} if self.keyframes else {}
        if self.source:
            given["source"] = self.source
        latents = self.model.latents(
            [item.prompt for item in items],
            noise=noise,
            sampling=self.sampling,
            negative=items[0].negative,
            **given,
        )
        decoded = self.model.decode(latents, noise=noise, sampling=self.sampling)
        fps = self.model.frame_rate(self.sampling)
        clips = [to_clip(pixels, fps) for pixels in decoded]
        return [self.extension.joined(clip) for clip in clips] if self.extension else clips

    def settings(self, item: Item) -> dict[str, Any]:
        """What fixes a clip; equal settings on the same machine give equal bytes."""
        return {
            **self.shared_settings(),
            "prompt": item.prompt,
            "negative": item.negative,
            "seed": item.seed,
        }

    def shared_settings(self) -> dict[str, Any]:
        """What fixes a clip besides prompts and seed."""
        return {
            **self._weights,
            **self.given.settings(self.keyframes),
            "sampling": to_dict(self.sampling),
            "device": self.device,
            "dtype": self.dtype,
        }

    def record(self, item: Item, *, batch: int, seconds: float) -> dict[str, Any]:
        """Everything that is needed to make a clip again."""
        return {
            "command": self.command(item),
            "model": self.name,
            **self.settings(item),
            **self.adapters.names(),
            **self.given.names(),
            "unknown_words": list(item.unknown_words),
            "batch": batch,
            "threads": torch.get_num_threads(),
            "seconds": round(seconds, 3),
            **versions(),
        }

    def command(self, item: Item) -> str:
        """The command that makes this clip alone, with every option written out."""
        words = [*self.options(item.seed, item.negative), *self.given.options()]
        if item.prompt.startswith("-"):  # else it would be taken for an option
            return shlex.join(["kinema", "generate", *words, "--", item.prompt])
        return shlex.join(["kinema", "generate", item.prompt, *words])

    def options(self, seed: int, negative: str) -> list[str]:
        """The words of a command but what to show and what is given, with every option."""
        s = self.sampling
        options = {
            "--model": self.name,
            "--seed": seed,
            "--negative": negative,
            "--num-frames": s.num_frames,
            "--size": f"{s.height}x{s.width}",
            "--fps": s.fps,
            "--steps": s.steps,
            "--guidance": s.guidance,
            "--device": self.device,
            "--dtype": self.dtype,
            "--threads": torch.get_num_threads(),
        }
        if not isinstance(s.guidance, (int, float)):  # as the model has it, step by step
            del options["--guidance"]
        if self._loading["text_encoder"] is not None:
            options["--text-encoder"] = self._loading["text_encoder"]
        words = [str(word) for pair in options.items() for word in pair]
        return [*words, *self.equipment.options(), *self.adapters.options()]


def in_batches(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """Groups of at most `size` neighbors with equal negatives."""
    for _, group in groupby(items, key=lambda item: item.negative):
        same = list(group)
        yield from (same[i : i + size] for i in range(0, len(same), size))


class ClipWriter:
    """Makes clips and writes each with its record. Pickled, it loads its model again.

    Args:
        maker: makes them.
        batch: how many are made at once, for the records.
    """

    def __init__(self, maker: Maker, batch: int) -> None:
        self.maker, self.batch = maker, batch

    def __reduce__(self) -> tuple[Any, ...]:
        return _writer, (self.maker.anew(), self.batch)

    def __call__(self, items: Sequence[Item], advance: Advance) -> list[dict[str, Any]]:
        """Makes some clips as one batch and gives their records."""
        begin = time.perf_counter()
        clips = self.maker.make(items)
        seconds = (time.perf_counter() - begin) / len(items)
        records = []
        for item, clip in zip(items, clips):
            records.append(self.maker.record(item, batch=self.batch, seconds=seconds))
            # A record without its clip is what a kill between the two left behind.
            save_clip(item.path, clip, records[-1], overwrite=True)
            advance(1)
        return records


def _writer(make: Callable[[], Maker], batch: int) -> ClipWriter:
    return ClipWriter(make(), batch)
