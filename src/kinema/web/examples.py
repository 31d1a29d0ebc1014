"""What the fields of the page hold at first, so that every button does something at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kinema import worlds
from kinema.clip import Clip
from kinema.files import atomic
from kinema.metrics.corruptions import blurred

PROMPTS = (
    "a small red circle moves left on a navy background",
    "a large green square moves up on a cream background",
    "a yellow triangle circles clockwise on a navy to teal gradient background",
    "a medium blue star moves right on a gray background",
)
STORY = """\
a large red circle moves left on a navy background | 2
a large red circle moves up on a navy background | 2
a large red circle moves right on a navy background | 2
"""
CLIPS = 6  # on each side of the example of a score
BLUR = 1.5  # pixels, deviation


@dataclass(frozen=True)
class Examples:
    """What stands in the fields at first: a picture and its prompt, clips real and generated."""

    picture: Path
    prompt: str
    real: tuple[Path, ...]
    generated: tuple[Path, ...]


def examples(folder: Path) -> Examples:
    """Clips of the world `shapes`; the generated ones are the real ones out of focus.

    Args:
        folder: where they are, or are written.
    """
    world = worlds.load(
        "shapes", seed=1, split="train", num_frames=16, height=96, width=96, fps=12.0
    )
    names = [f"{number}.mp4" for number in range(CLIPS)]
    found = Examples(
        folder / "picture.png",
        world.sample(0).captions[0],
        tuple(folder / "real" / name for name in names),
        tuple(folder / "generated" / name for name in names),
    )
    if all(path.is_file() for path in (found.picture, *found.real, *found.generated)):
        return found
    for number, (real, generated) in enumerate(zip(found.real, found.generated)):
        clip = world.sample(number).clip
        clip.write(real, overwrite=True)
        pixels = torch.from_numpy(clip.to_float()).transpose(0, 1)[None]
        frames = blurred(pixels, BLUR)[0].transpose(0, 1).numpy()
        Clip.from_float(np.ascontiguousarray(frames), clip.fps).write(generated, overwrite=True)
        if number == 0:
            with atomic(found.picture, overwrite=True) as partial:
                Image.fromarray(clip.frames[0]).save(partial)
    return found
