"""`kinema draw`: clips of a world, with everything that is true of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kinema.cli.terminal import Overwrite, Seed, invocation, parse_size


def draw(
    context: typer.Context,
    world: Annotated[
        str,
        typer.Argument(metavar="WORLD", help="a world, as shapes or shapes:level=2,camera=pan"),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="the folder of the clips")],
    count: Annotated[int, typer.Option("--count", min=1, help="of clips")] = 24,
    seed: Seed = 0,
    split: Annotated[str, typer.Option("--split", help="train, held_out or all")] = "all",
    num_frames: Annotated[int, typer.Option("--num-frames", help="of a clip")] = 25,
    size: Annotated[
        str, typer.Option("--size", metavar="HxW", help="height and width in pixels")
    ] = "96x96",
    fps: Annotated[float, typer.Option("--fps", help="frames per second")] = 12.0,
    overwrite: Overwrite = False,
) -> None:
    """Write clips of a world, to look at.

    Beside them go captions, labels, the scene graph with its events, boxes, masks, tracks and
    optical flow. The same command goes on where it was stopped.
    """
    from kinema import worlds
    from kinema.cli.progress import progress
    from kinema.worlds.folder import write_folder

    height, width = parse_size(size)
    drawn = worlds.load(
        world,
        seed=seed,
        split=split,
        num_frames=num_frames,
        height=height,
        width=width,
        fps=fps,
    )
    run = invocation(context)
    with progress(count, world, "clips") as advance:

        def indices() -> Iterator[int]:
            for index in range(count):
                yield index
                run.saved = (
                    f"{index + 1} of {count} clips are in {output}; the same command goes on"
                )
                advance(1)

        write_folder(drawn, indices(), output, overwrite=overwrite)
    print(f"{count} clips in {output}")
