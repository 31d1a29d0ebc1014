"""Options that say what clips are made from, and with what memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Image = Annotated[
    Path | None, typer.Option("--image", metavar="FILE", help="a picture to begin with")
]
Pictures = Annotated[
    list[str] | None,
    typer.Option(
        "--keyframe",
        metavar="FILE@SECONDS[:STRENGTH]",
        help="a picture to show then, firmly (1) or less so; may be repeated",
    ),
]
Extend = Annotated[
    Path | None,
    typer.Option("--extend", metavar="CLIP", help="a clip that goes on; the result has both"),
]
Before = Annotated[
    bool, typer.Option("--before", help="the new frames lead up to the clip of --extend")
]
Video = Annotated[Path | None, typer.Option("--video", metavar="CLIP", help="a clip to make anew")]
Strength = Annotated[
    float | None,
    typer.Option("--strength", metavar="S", help="how much of --video becomes new, above 0 to 1"),
]
Negative = Annotated[
    str | None,
    typer.Option("--negative", help="what to move away from; if left out, as the model has it"),
]
Upsamplers = Annotated[
    list[Path] | None,
    typer.Option(
        "--upsampler",
        metavar="FILE",
        help="of latents: in space, for models with two passes; in time, for twice the frame rate",
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        "--tile",
        min=0,
        metavar="PIXELS",
        help="save memory in the codec: blended tiles of this side; 0: few whole frames at once",
    ),
]
