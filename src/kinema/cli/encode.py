"""`kinema encode`: a latent cache, written once so that every step of a training reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.engines import engine_of
from kinema.cli.generate_options import Tile
from kinema.cli.terminal import Device, EngineName, Json, Threads, Workers, invocation

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
    tile: Tile = None,
    device: Device = "cpu",
    threads: Threads = None,
    engine: EngineName = "local",
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Encode clips with the codec of a model.

    The clips have the size that the model generates. Writes OUTPUT/train and OUTPUT/held_out, which
    `kinema train --data OUTPUT` reads. The same command goes on where it was stopped, and makes an
    existing cache longer. Processes of --engine ray take a shard of 256 clips each at a time.
    """
    from kinema.files import alone, check_writable

    chosen = engine_of(engine, workers, threads=threads, device=device)
    for split in SPLITS:
        check_writable(output / split / "index.json", overwrite=True)

    from kinema.cli.progress import progress
    from kinema.cli.shards import Encoder

    encoder = Encoder(
        model, data, output, device=device, threads=chosen.threads, batch=batch, tile=tile
    )
    run, counts = invocation(context), dict(zip(SPLITS, (count, held_out)))
    with alone(output):
        shards = [shard for split in SPLITS for shard in encoder.begin(split, counts[split])]
        lacking = dict.fromkeys(SPLITS, 0)
        for shard in shards:
            lacking[shard.split] += len(shard.samples)
        run.saved = f"whole shards are in {output}; the same command goes on"
        with progress(sum(lacking.values()), "encoding", "clips") as advance:
            for shard, _ in chosen.each(encoder, shards, advance):
                lacking[shard.split] -= len(shard.samples)
                done = counts[shard.split] - lacking[shard.split]
                run.saved = (
                    f"{done} of {counts[shard.split]} clips are in {output / shard.split}; "
                    "the same command goes on"
                )
    for split, length in counts.items():
        answer = {"folder": str(output / split), "clips": length}
        print(json.dumps(answer) if as_json else f"{length} clips in {output / split}", flush=True)
