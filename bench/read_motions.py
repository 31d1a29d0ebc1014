"""Reads the motion of generated clips back from their pixels, and counts what agrees with prompts.

python bench/read_motions.py runs/held-out

The folder is what `kinema generate --prompts` writes, with canonical prompts of the world `shapes`.
An object's center is followed around the frame's borders; of the eight motions, at 24 phases and
five paces, the one that fits the path best is taken.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from kinema.clip import Clip
from kinema.worlds.motions import MOTIONS, PACE, displacement

OBJECT = 40.0  # distance in RGB from the background of a row, from which on a pixel is the object


SAID = {
    "moves left": "left",
    "moves right": "right",
    "moves up": "up",
    "moves down": "down",
    "circles clockwise": "clockwise",
    "circles counterclockwise": "counterclockwise",
    "bounces up and down": "bounce",
    "swings from side to side": "swing",
}


def path(clip: Clip) -> np.ndarray:
    """The center of the object (T, 2), x and y in units of the side, unwrapped."""
    x = clip.frames.astype(float)
    background = np.median(x, axis=(0, 2))  # one color for each row: flat or vertical gradient
    weight = np.clip(np.linalg.norm(x - background[:, None], axis=-1) - OBJECT, 0, None)
    turns = []
    for axis in (1, 2):
        mass = weight.sum(axis)
        angle = 2 * np.pi * np.arange(mass.shape[1]) / mass.shape[1]
        turns.append(np.unwrap(np.angle((mass * np.exp(1j * angle)).sum(1))) / (2 * np.pi))
    return np.stack(turns, axis=-1)


def motion(clip: Clip) -> str:
    """The motion whose path lies nearest to the object's."""
    seconds, seen = np.arange(clip.num_frames) / clip.fps, path(clip)
    candidates = itertools.product(MOTIONS, np.arange(24) / 24, np.linspace(*PACE, 5))

    def error(candidate: tuple[str, float, float]) -> float:
        name, phase, pace = candidate
        away = seen - displacement(name, seconds, phase=phase, pace=pace)
        return float(np.square(away - away.mean(0)).mean())

    return min(candidates, key=error)[0]


def main() -> None:
    """One line for each clip that is read otherwise than its prompt says, then the counts."""
    asked, right = Counter[str](), Counter[str]()
    for record in sorted(Path(sys.argv[1]).glob("*.json")):
        prompt = json.loads(record.read_text(encoding="utf-8"))["prompt"]
        (wanted,) = (name for words, name in SAID.items() if words in prompt)
        read = motion(Clip.read(record.with_suffix(".mp4")))
        asked[wanted] += 1
        right[wanted] += read == wanted
        if read != wanted:
            print(f"{record.stem}: {wanted}, read as {read}")
    for name in asked:
        print(f"{name}: {right[name]} of {asked[name]}")
    print(f"all: {right.total()} of {asked.total()}")


if __name__ == "__main__":
    main()
