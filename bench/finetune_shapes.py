"""Does a model of the world `shapes` learn a new color from 40 clips, and keep the old ones?

    python bench/finetune_shapes.py --folder runs/new-color
    python bench/finetune_shapes.py --folder runs/new-color-lora --train "--lora 16"
    python bench/finetune_shapes.py --folder runs/alone --train "--set recipe.replay_from=model"

Draws 40 clips of one object in a color that the world does not have, trains on them with `kinema
train`, and generates prompts of the new color and held-out prompts of the old ones, the latter with
the model before and after. Prints what the attribute reader, which is told the new color, says of
them, beside what it says of the world's own clips of these prompts, fresh and behind the codec.
Exits with 1 where a bar is missed. A command that was stopped goes on where it was. The clips,
prompts, models and counts stay in the folder.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from kinema.worlds import palette

NAME, RGB = "turquoise", (24, 190, 150)  # 38 in CIELAB from green and from cyan, the nearest
palette.COLORS[NAME] = RGB  # before the world and the reader are imported, which then know it

from shapes_bars import (  # noqa: E402
    SIZE,
    Line,
    Verdict,
    alone,
    at_least,
    at_most,
    conclude,
    decoded,
    drawn,
    scored,
    show,
)

from kinema.cli.machine import load_model  # noqa: E402
from kinema.clip import Clip  # noqa: E402
from kinema.config import to_dict  # noqa: E402
from kinema.files import write_text  # noqa: E402
from kinema.metrics.attributes_scores import Score  # noqa: E402
from kinema.worlds import WorldSample, load  # noqa: E402

CLIPS = 40
RARE = 1000  # clips that are drawn for each of the new color, at most
LEARNED, LOST = 0.80, 0.05  # the bars: of new colors right at least, of old ones lost at most


def main(arguments: Sequence[str]) -> int:
    """Runs whatever has not run yet, and prints the tables; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where everything goes")
    parser.add_argument("--model", default="ltx_video:shapes", help="name:tag, or name@file")
    parser.add_argument("--world", default="shapes:level=2", help="what the model was trained on")
    parser.add_argument("--prompts", type=int, default=64, help="new ones, and as many old ones")
    parser.add_argument("--train", default="", help="more words for `kinema train`, in quotes")
    parser.add_argument("--threads", type=int, default=2, help="of each command")
    options = parser.parse_args(arguments)
    folder, threads = options.folder, ("--threads", options.threads)
    for index, sample in enumerate(samples(options.world, 1, "all", CLIPS, new=True)):
        sample.clip.write(folder / "clips" / f"{index:03d}.mp4", overwrite=True)
        write_text(folder / "clips" / f"{index:03d}.txt", sample.captions[0], overwrite=True)
    wanted = {
        "new": samples(options.world, 2, "all", options.prompts, new=True),
        "old": samples(options.world, 3, "held_out", options.prompts, new=False),
    }
    for name, asked in wanted.items():
        lines = [{"prompt": s.captions[0], "seed": seed} for seed, s in enumerate(asked)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        write_text(folder / f"{name}.jsonl", text, overwrite=True)

    run = folder / "run"
    words = ("--data", folder / "clips", "-o", run, *threads, *shlex.split(options.train))
    kinema("train", options.model, *words)
    before, after = ("--model", options.model), trained(options.model, run)
    found = ceilings(options.model, options.threads, wanted)
    for name, model in {"old before": before, "old after": after, "new after": after}.items():
        kind, place = name.split()[0], folder / name.replace(" ", "-")
        prompts = folder / f"{kind}.jsonl"
        kinema("generate", "--prompts", prompts, "-o", place, "--batch", 4, *threads, *model)
        found[name] = scored(generated(place, wanted[kind]))
    for kind in wanted:
        show({name: scores for name, scores in found.items() if name.startswith(kind)}, ("one",))
    figures = {
        "model": options.model,
        "scores": {name: to_dict(scores) for name, scores in found.items()},
    }
    return conclude(figures, verdicts(found), folder / "scores.json")


def samples(world: str, seed: int, split: str, count: int, *, new: bool) -> list[WorldSample]:
    """Clips of one object, in the new color or in any other, each caption once."""
    found = alone(load(world, seed=seed, split=split, **SIZE), RARE * count)
    return list(islice((s for s in found if (s.labels["color"] == NAME) == new), count))


def kinema(*words: object) -> None:
    """Runs the command line in a process of its own, which does not know the new color."""
    subprocess.run([sys.executable, "-m", "kinema", *map(str, words)], check=True)


def trained(model: str, run: Path) -> tuple[object, ...]:
    """The words for `kinema generate` that name what a training of a model left."""
    adapters = run / "lora.safetensors"
    if adapters.exists():
        return ("--model", model, "--lora", adapters)
    system = model.partition("@")[0].partition(":")[0]
    return ("--model", f"{system}@{run / 'model.safetensors'}")


def ceilings(
    name: str, threads: int, wanted: Mapping[str, Sequence[WorldSample]]
) -> dict[str, tuple[Score, ...]]:
    """What the reader says of the world's own clips, fresh and behind the codec of a model."""
    model = load_model(name, device="cpu", dtype="float32", threads=threads)
    found = {}
    for kind, asked in wanted.items():
        lines: list[Line] = list(drawn(("one", sample) for sample in asked))
        found |= {f"{kind} fresh": scored(lines), f"{kind} codec": scored(decoded(lines, model))}
    return found


def generated(folder: Path, asked: Sequence[WorldSample]) -> list[Line]:
    """The clips of a folder, in the order of their prompts, with what these ask for."""
    clips = [Clip.read(path) for path in sorted(folder.glob("*.mp4"))]
    assert len(clips) == len(asked), f"{folder} has {len(clips)} clips"
    wanted = drawn(("one", sample) for sample in asked)
    return [(scene, clip, reading) for clip, (scene, _, reading) in zip(clips, wanted)]


def verdicts(scores: Mapping[str, Sequence[Score]]) -> dict[str, Verdict]:
    """Of both bars: the color of new prompts, and what most was lost of the old ones."""
    shares = {
        name: {line.attribute: line.share.value for line in lines if line.scene == "one"}
        for name, lines in scores.items()
    }
    before, after = shares["old before"], shares["old after"]
    return {
        "new prompts with the new color": at_least(shares["new after"]["color"], LEARNED),
        "largest loss of an attribute of old prompts": at_most(
            max(before[name] - after[name] for name in before), LOST
        ),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
