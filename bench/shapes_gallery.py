"""Clips for the page of the shapes model: as they come, nothing is picked.

    python bench/shapes_gallery.py --model ltx_video:shapes -o docs/shapes-model/gallery

Of the held-out prompts the first of every motion, and the first of two objects and of stories; with
the seeds of the file. Then the world's first clip of one object, of which frames are given: the
first, three, and all, from which it goes on. Each is a GIF; index.md shows them with their prompts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shapes_bars import PROMPTS, SIZE, alone

import kinema
from kinema.clip import Clip
from kinema.files import write_text
from kinema.systems.keyframes import Keyframe
from kinema.worlds import load

EACH = {"pair": 4, "story": 4}
TIMES = (0, 12, 24)
GIVEN_SEED = 515
COLUMNS = 4
WIDTH = 144  # at which a page shows a clip of 96 pixels


def main(arguments: Sequence[str]) -> int:
    """Writes the clips and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="name:tag or name@file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    options = parser.parse_args(arguments)
    model = kinema.load(options.model)
    made = [*from_text(model), *from_frames(model)]
    for name, _, clip in made:
        clip.write(options.output / f"{name}.gif", overwrite=True)
    cells = [
        f'<img src="{name}.gif" width="{WIDTH}" alt="{text}"><br>{text}' for name, text, _ in made
    ]
    rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    command = f"python bench/shapes_gallery.py --model {options.model} -o {options.output}"
    lines = [f"# Clips of {options.model}, as they come", "", f"    {command}", ""]
    lines += ["| | | | |", "|---|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows)]
    write_text(options.output / "index.md", "\n".join(lines) + "\n", overwrite=True)
    return 0


def from_text(model: Any) -> Iterator[tuple[str, str, Clip]]:
    """(name, prompt, clip) of held-out prompts."""
    lines = [json.loads(line) for line in PROMPTS.read_text(encoding="utf-8").splitlines()]
    seen: dict[str, int] = {}
    for line in lines:
        scene = line["scene"]
        kind = scene if scene in EACH else " ".join(line["labels"]["objects"][0]["motions"])
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= EACH.get(kind, 1):
            clip = model.generate(line["prompt"], seed=line["seed"])
            yield f"{scene}-{line['seed']:03d}", line["prompt"], clip


def from_frames(model: Any) -> Iterator[tuple[str, str, Clip]]:
    """(name, what was given, clip) of clips with given frames."""
    world = load("shapes:level=2", seed=GIVEN_SEED, split="held_out", **SIZE)
    sample = next(alone(world, 1))
    clip, prompt = sample.clip, sample.captions[0]
    frames = {time: Clip(clip.frames[time : time + 1], clip.fps) for time in TIMES}
    keyframes = [Keyframe(clip=frame, frame=time) for time, frame in frames.items()]
    ways: dict[str, dict[str, Any]] = {
        "first frame given": {"image": frames[0]},
        "frames 0, 12 and 24 given": {"keyframes": keyframes},
        "a clip of 25 frames goes on": {"extend": clip},
    }
    yield "given", f"the given clip: {prompt}", clip
    for number, (text, given) in enumerate(ways.items()):
        yield f"given-{number}", text, model.generate(prompt, seed=0, **given)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
