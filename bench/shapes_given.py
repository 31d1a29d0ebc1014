"""How well a model of the world `shapes` keeps the frames that it is given.

    python bench/shapes_given.py image --model ltx_video:shapes
    python bench/shapes_given.py keyframes --model ltx_video:shapes
    python bench/shapes_given.py extend --model ltx_video:shapes

Draws held-out clips of one object, gives the model their caption and some of their frames, and
prints what came of it: the PSNR of the frames that were given, what the attribute reader says of
the new clip, and, of a clip that went on, the change at the seam beside the median change from
frame to frame. Exits with 1 where a bar is missed; those of numbers are for their means.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from shapes_bars import (
    CEILINGS,
    SIZE,
    Verdict,
    alone,
    at_least,
    at_most,
    conclude,
    read_ceilings,
    show,
    told,
)

import kinema
from kinema.clip import Clip
from kinema.metrics.attributes import agrees, expected, read
from kinema.metrics.attributes_scores import Share
from kinema.systems.image_to_video import ImageToVideo
from kinema.systems.keyframes import Keyframe
from kinema.worlds import WorldSample, load

SEED = 514
TIMES = (0, 12, 24)  # of keyframes
FIRST, SEAM, MOST = "PSNR of the first frame", "seam over median change", 1.5
BARS = {  # at least
    FIRST: 24.0,
    "color": 0.92,
    "shape": 0.92,
    **{f"PSNR of frame {time}": 24.0 for time in TIMES},
}

Numbers = dict[str, float | bool]


def main(arguments: Sequence[str]) -> int:
    """Measures one way of giving frames; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--model", required=True, help="name:tag or name@file")
    parser.add_argument("--count", type=int, default=128, help="of clips")
    parser.add_argument("--json", type=Path, help="where to write the figures; replaced")
    options = parser.parse_args(arguments)
    ceilings = read_ceilings(CEILINGS)
    model = kinema.load(options.model)
    world = load("shapes:level=2", seed=SEED, split="held_out", **SIZE)
    samples = enumerate(alone(world, options.count))
    found = [WAYS[options.way](model, sample, seed) for seed, sample in samples]
    figures = {name: summary(name, [row[name] for row in found]) for name in found[0]}
    show(ceilings.columns(), ("one",))
    return conclude(
        {"model": options.model, "way": options.way, "clips": options.count, "figures": figures},
        verdicts(figures),
        options.json,
    )


def image(model: ImageToVideo, sample: WorldSample, seed: int) -> Numbers:
    """The first frame is given."""
    made = model.generate(sample.captions[0], seed=seed, image=frame(sample.clip, 0))
    assert isinstance(made, Clip)
    right = agrees(read(made, "one"), expected(sample.graph))
    return {FIRST: psnr(made, sample.clip, 0), **right}


def keyframes(model: ImageToVideo, sample: WorldSample, seed: int) -> Numbers:
    """Frames at three times are given."""
    given = [Keyframe(clip=frame(sample.clip, time), frame=time) for time in TIMES]
    made = model.generate(sample.captions[0], seed=seed, keyframes=given)
    assert isinstance(made, Clip)
    return {f"PSNR of frame {time}": psnr(made, sample.clip, time) for time in TIMES}


def extend(model: ImageToVideo, sample: WorldSample, seed: int) -> Numbers:
    """A whole clip is given and goes on."""
    made = model.generate(sample.captions[0], seed=seed, extend=sample.clip)
    assert isinstance(made, Clip)
    frames = made.frames.astype(np.float64)
    changes = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    seam = changes[sample.clip.num_frames - 1]
    ratio = float(seam / max(np.median(changes), 1e-9))
    return {SEAM: ratio, f"seam at most {MOST} times": ratio <= MOST}


WAYS: dict[str, Callable[[ImageToVideo, WorldSample, int], Numbers]] = {
    way.__name__: way for way in (image, keyframes, extend)
}


def frame(clip: Clip, time: int) -> Clip:
    """One frame of a clip as a clip."""
    return Clip(clip.frames[time : time + 1], clip.fps)


def psnr(made: Clip, given: Clip, time: int) -> float:
    """In dB, of one frame of 8 bits."""
    error = made.frames[time].astype(np.float64) - given.frames[time]
    return float(10 * np.log10(255**2 / max(np.square(error).mean(), 1e-9)))


def summary(name: str, values: Sequence[float | bool]) -> dict[str, Any]:
    """Prints and gives the mean; of truths also their number and interval of 95 %, of numbers
    median and extremes.
    """
    mean = statistics.fmean(values)
    if isinstance(values[0], bool):
        share = Share(right=sum(map(bool, values)), clips=len(values))
        print(f"{name:26} {told(share)}")
        return {"mean": mean, "right": share.right, "interval": share.interval}
    median, least, largest = statistics.median(values), min(values), max(values)
    print(f"{name:26} mean {mean:.2f}, median {median:.2f}, {least:.2f} to {largest:.2f}")
    return {"mean": mean, "median": median, "least": least, "largest": largest}


def verdicts(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Verdict]:
    """Of each bar that a way has."""
    wanted = {name: bar for name, bar in BARS.items() if name in figures}
    found = {name: at_least(figures[name]["mean"], bar) for name, bar in wanted.items()}
    if SEAM in figures:
        found[SEAM] = at_most(figures[SEAM]["mean"], MOST)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
