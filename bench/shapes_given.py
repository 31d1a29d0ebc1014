"""How well a model of the world `shapes` keeps the frames that it is given.

    python bench/shapes_given.py image --model ltx_video:shapes
    python bench/shapes_given.py keyframes --model ltx_video:shapes
    python bench/shapes_given.py extend --model ltx_video:shapes

Draws held-out clips of one object, gives the model their caption and some of their frames, and
prints what came of it: the PSNR of the frames that were given, what the attribute reader says of
the new clip, and, of a clip that went on, the change at the seam beside the median change from
frame to frame.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import kinema
from kinema.clip import Clip
from kinema.files import write_text
from kinema.metrics.attributes import agrees, expected, read
from kinema.metrics.attributes_scores import Share
from kinema.systems.image_to_video import ImageToVideo
from kinema.systems.keyframes import Keyframe
from kinema.worlds import WorldSample, load

SIZE = {"num_frames": 25, "height": 96, "width": 96, "fps": 12.0}
SEED = 514
TIMES = (0, 12, 24)  # of keyframes

Numbers = dict[str, float | bool]


def main() -> None:
    """Measures one way of giving frames."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--model", required=True, help="name:tag or name@file")
    parser.add_argument("--count", type=int, default=128, help="of clips")
    parser.add_argument("--json", type=Path, help="where to write the figures; replaced")
    options = parser.parse_args()
    model = kinema.load(options.model)
    found = [
        WAYS[options.way](model, sample, seed) for seed, sample in enumerate(drawn(options.count))
    ]
    lines = {name: summary([row[name] for row in found]) for name in found[0]}
    for name, line in lines.items():
        print(f"{options.way:10} {name:24} {line}")
    if options.json:
        write_text(options.json, json.dumps(lines, indent=1) + "\n", overwrite=True)


def drawn(count: int) -> Iterator[WorldSample]:
    """Held-out samples of one object, each caption once."""
    world = load("shapes:level=2", seed=SEED, split="held_out", **SIZE)
    said, index = set[str](), 0
    while len(said) < count:
        sample = world.sample(index)
        index += 1
        if sample.labels["scene"] == "one" and sample.captions[0] not in said:
            said.add(sample.captions[0])
            yield sample


def image(model: ImageToVideo, sample: WorldSample, seed: int) -> Numbers:
    """The first frame is given."""
    made = model.generate(sample.captions[0], seed=seed, image=frame(sample.clip, 0))
    assert isinstance(made, Clip)
    right = agrees(read(made, "one"), expected(sample.graph))
    return {"PSNR of the first frame": psnr(made, sample.clip, 0), **right}


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
    return {"seam over median change": ratio, "seam at most 1.5 times": ratio <= 1.5}


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


def summary(values: list[float | bool]) -> str:
    """Of truths their share with its interval of 95 %, of numbers mean, median and extremes."""
    if isinstance(values[0], bool):
        share = Share(right=sum(map(bool, values)), clips=len(values))
        low, high = share.interval
        percents = f"{100 * share.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        return f"{share.right} of {share.clips}, {percents}"
    return (
        f"mean {statistics.fmean(values):.2f}, median {statistics.median(values):.2f}, "
        f"{min(values):.2f} to {max(values):.2f}"
    )


if __name__ == "__main__":
    main()
