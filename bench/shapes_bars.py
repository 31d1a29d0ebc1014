"""What the benches of the shapes model share: clips, what the reader says of them, ceilings, bars.

Ceilings are what the attribute reader says of the world's own clips, and of the same clips after a
model's codec: no score of a generator can mean more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from kinema.clip import Clip
from kinema.config import config, from_dict
from kinema.errors import InputError
from kinema.files import write_text
from kinema.metrics.attributes import Reading, Scene, agrees, expected, read
from kinema.metrics.attributes_scores import Score, Share, measured, reader_digest, tally
from kinema.noise import Noise
from kinema.worlds import World, WorldSample

PAGE = Path(__file__).parents[1] / "docs" / "shapes-model"
PROMPTS, CEILINGS = PAGE / "prompts.jsonl", PAGE / "ceilings.json"
SIZE = {"num_frames": 25, "height": 96, "width": 96, "fps": 12.0}
BATCH = 8

Line = tuple[Scene, Clip, Reading]


@config
class Ceilings:
    """What the reader says of a world's own clips.

    Attributes:
        reader: digest of its source.
        world: a reference.
        clips: how many were read.
        model: whose codec they went through; empty without.
        weights: digest of that codec.
        fresh, codec: scores before and after.
    """

    reader: str
    world: str
    clips: int
    model: str
    weights: str
    fresh: tuple[Score, ...]
    codec: tuple[Score, ...]

    def columns(self) -> dict[str, tuple[Score, ...]]:
        """For `show`."""
        found = {"fresh": self.fresh, f"codec {self.weights}": self.codec}
        return {name: scores for name, scores in found.items() if scores}


@dataclass(frozen=True)
class Verdict:
    """A figure, its bar, and whether it is within that."""

    found: float
    bar: float
    within: bool


def at_least(found: float, bar: float) -> Verdict:
    """The bar is the least that is wanted."""
    return Verdict(found, bar, found >= bar)


def at_most(found: float, bar: float) -> Verdict:
    """The bar is the most that is let through."""
    return Verdict(found, bar, found <= bar)


def conclude(figures: Mapping[str, Any], verdicts: Mapping[str, Verdict], path: Path | None) -> int:
    """Prints the verdicts, and writes figures and bars as JSON if asked; 1 if a bar is missed."""
    for name, verdict in verdicts.items():
        said = "within" if verdict.within else "MISSED"
        print(f"{name}: {verdict.found:.3f}, bar {verdict.bar:g}: {said}")
    if path:
        bars = {name: vars(verdict) for name, verdict in verdicts.items()}
        write_text(path, json.dumps({**figures, "bars": bars}, indent=1) + "\n", overwrite=True)
    return int(any(not verdict.within for verdict in verdicts.values()))


def alone(world: World, count: int) -> Iterator[WorldSample]:
    """The first samples of one object, each caption once."""
    return (sample for _, sample in measured(world, {"one": count}))


def drawn(samples: Iterable[tuple[Scene, WorldSample]]) -> Iterator[Line]:
    """The clips of samples with what a reader should say of them."""
    for scene, sample in samples:
        yield scene, sample.clip, expected(sample.graph)


def decoded(lines: Iterable[Line], model: Any) -> Iterator[Line]:
    """The same clips after the codec of a model: encoded without noise, decoded as it samples."""
    rest, done = iter(lines), 0
    while group := list(islice(rest, BATCH)):
        noise = Noise(0, tuple(range(done, done + len(group))))
        done += len(group)
        clips = torch.stack([torch.from_numpy(clip.to_float()) for _, clip, _ in group])
        with torch.inference_mode():
            latents = model.codec.encode(clips)
            pixels = model.decode(latents, noise=noise, sampling=model.config.sampling)
        for (scene, clip, wanted), one in zip(group, pixels):
            yield scene, Clip.from_float(one.float().numpy(), clip.fps), wanted


def scored(lines: Iterable[Line]) -> tuple[Score, ...]:
    """What the reader says of clips."""
    return tally((scene, agrees(read(clip, scene), wanted)) for scene, clip, wanted in lines)


def read_ceilings(path: Path) -> Ceilings:
    """Ceilings that `shapes_attributes.py` wrote.

    Raises:
        InputError: there are none, or they are of another reader.
    """
    try:
        found = from_dict(Ceilings, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON: {error}") from None
    if found.reader != reader_digest():
        raise InputError(f"{path} holds ceilings of another reader; measure them again")
    return found


def show(columns: Mapping[str, tuple[Score, ...]], scenes: tuple[str, ...]) -> None:
    """A table: a row for each attribute in these kinds of scene, in each column right ones of all,
    and a share in percent with its interval.
    """
    tables = [
        {(line.scene, line.attribute): line.share for line in scores} for scores in columns.values()
    ]
    print(f"{'':18}" + "".join(f"{name:>36}" for name in columns))
    for row in (row for row in tables[0] if row[0] in scenes):
        cells = [told(table[row]) if row in table else "--" for table in tables]
        print(f"{row[0]:6}{row[1]:12}" + "".join(f"{cell:>36}" for cell in cells))


def told(share: Share) -> str:
    """Right ones of all, and the share in percent with its interval of 95 %."""
    low, high = (100 * end for end in share.interval)
    return f"{share.right} of {share.clips} {100 * share.value:6.1f} [{low:5.1f}, {high:5.1f}]"
