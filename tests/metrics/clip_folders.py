"""Folders of small clips for tests of scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from kinema import worlds
from kinema.clip import Clip

T, SIZE, FPS = 8, 32, 8


def drawn(seed: int, count: int) -> list[Clip]:
    """Clips of the world `shapes`."""
    world = worlds.load(
        "shapes", seed=seed, split="all", num_frames=T, height=SIZE, width=SIZE, fps=FPS
    )
    return [world.sample(i).clip for i in range(count)]


def write_arrays(folder: Path, clips: list[Clip]) -> Path:
    """The clips as .npy files clip00.npy, clip01.npy, ..."""
    folder.mkdir()
    for i, clip in enumerate(clips):
        np.save(folder / f"clip{i:02d}.npy", clip.frames)
    return folder


def write_pictures(folder: Path, clip: Clip) -> None:
    """One clip as a folder of pictures."""
    folder.mkdir()
    for t, frame in enumerate(clip.frames):
        Image.fromarray(frame).save(folder / f"{t:03d}.png")
