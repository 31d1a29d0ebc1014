"""`kinema encode`: a latent cache, written once so that every step of a training reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinema.cli.terminal import Device, Json, Threads, invocation
from kinema.errors import InputError

if TYPE_CHECKING:
    from kinema.cli.terminal import Invocation
    from kinema.data.latents import Encoded
    from kinema.worlds import World

SPLITS = ("train", "held_out")


def encode(
    context: typer.Context,
    data: Annotated[str, typer.Argument(metavar="DATA", help="the name of a world, as shapes")],
    model: Annotated[
        str, typer.Option("--model", help="whose codec: name:tag, name@file or a file")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the cache")],
    count: Annotated[int, typer.Option("--count", min=1, help="clips to train on")] = 16_384,
    held_out: Annotated[int, typer.Option("--held-out", min=1, help="clips held out")] = 256,
    batch: Annotated[int, typer.Option("--batch", min=1, help="clips encoded at once")] = 16,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Encode clips with the codec of a model.

    The clips have the size that the model generates. Writes OUTPUT/train and OUTPUT/held_out, which
    `kinema train --data OUTPUT` reads. The same command goes on where it was stopped, and makes an
    existing cache longer.
    """
    from kinema.files import check_writable

    for split in SPLITS:
        check_writable(output / split / "index.json", overwrite=True)

    from kinema.cli.machine import load_model
    from kinema.data.clips import split_of

    loaded = load_model(model, device=device, dtype="float32", threads=threads)
    codec = codec_of(loaded, model)
    size = loaded.config.sampling
    codec.latent_shape(size.num_frames, size.height, size.width)
    for split, length in zip(SPLITS, (count, held_out)):
        world = split_of(data, split, size)
        folder = output / split
        write_split(loaded, codec, world, folder, length, invocation(context), batch=batch)
        answer = {"folder": str(folder), "clips": length}
        print(json.dumps(answer) if as_json else f"{length} clips in {folder}", flush=True)


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


def write_split(
    model: Any,
    codec: Any,
    world: World,
    folder: Path,
    count: int,
    run: Invocation,
    *,
    batch: int,
) -> None:
    """Writes what a model's stages read of one split of a world."""
    from kinema.cli.progress import progress
    from kinema.data.latents import write
    from kinema.training.encode import encode_world, latent_key

    with progress(count, folder.name, "clips") as advance:

        def counted(samples: range) -> Iterator[Encoded]:
            for sample in encode_world(model.encoded, world, samples, batch_size=batch):
                yield sample
                advance(1)

        def saved(done: int) -> None:
            run.saved = f"{done} of {count} clips are in {folder}; the same command goes on"

        key = latent_key(codec, world, model.STILLS)
        write(folder, key, count, counted, progress=saved)
