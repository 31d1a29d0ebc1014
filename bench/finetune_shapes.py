"""Does a model of the world `shapes` learn a new color from 40 clips, and keep the old ones?

    python bench/finetune_shapes.py --folder runs/new-color
    python bench/finetune_shapes.py --folder runs/new-color-lora --train "--lora 16"
    python bench/finetune_shapes.py --folder runs/alone --train "--set recipe.replay_from=model"

Draws 40 clips of one object in a color that the world does not have, trains on them with `kinema
train`, and generates prompts of the new color and held-out prompts of the old ones, the latter with
the model before and after. Prints what the attribute reader, which is told the new color, says of
them. A command that was stopped goes on where it was. The clips, prompts, models and counts stay in
the folder.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kinema.worlds import palette

NAME, RGB = "turquoise", (24, 190, 150)  # 38 in CIELAB from green and from cyan, the nearest
palette.COLORS[NAME] = RGB  # before the world and the reader are imported, which then know it

from kinema.clip import Clip  # noqa: E402
from kinema.config import to_dict  # noqa: E402
from kinema.files import write_text  # noqa: E402
from kinema.metrics.attributes import Reading, agrees, expected, read  # noqa: E402
from kinema.metrics.attributes_scores import Score, tally  # noqa: E402
from kinema.worlds import WorldSample, load  # noqa: E402

SIZE = {"num_frames": 25, "height": 96, "width": 96, "fps": 12.0}
CLIPS = 40
LEARNED, LOST = 0.80, 0.05  # the bars: of new colors right at least, of old ones lost at most


def main() -> None:
    """Runs whatever has not run yet, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where everything goes")
    parser.add_argument("--model", default="ltx_video:shapes", help="name:tag, or name@file")
    parser.add_argument("--world", default="shapes:level=2", help="what the model was trained on")
    parser.add_argument("--prompts", type=int, default=64, help="new ones, and as many old ones")
    parser.add_argument("--train", default="", help="more words for `kinema train`, in quotes")
    options = parser.parse_args()
    folder: Path = options.folder
    clips = list(samples(options.world, 1, "all", CLIPS, new=True))
    for index, sample in enumerate(clips):
        sample.clip.write(folder / "clips" / f"{index:03d}.mp4", overwrite=True)
        write_text(folder / "clips" / f"{index:03d}.txt", sample.captions[0], overwrite=True)
    wanted = {
        "new": list(samples(options.world, 2, "all", options.prompts, new=True)),
        "old": list(samples(options.world, 3, "held_out", options.prompts, new=False)),
    }
    for name, asked in wanted.items():
        said = "".join(f"{sample.captions[0]}\n" for sample in asked)
        write_text(folder / f"{name}.txt", said, overwrite=True)

    words = shlex.split(options.train)
    run = ("train", options.model, "--data", folder / "clips", "-o", folder / "run", *words)
    kinema(*run)
    adapters = folder / "run" / "lora.safetensors"
    tuned = (
        ("--model", options.model, "--lora", adapters)
        if adapters.exists()
        else ("--model", f"{options.model.partition(':')[0]}@{folder / 'run/model.safetensors'}")
    )
    made = {
        ("old", "before"): ("--model", options.model),
        ("old", "after"): tuned,
        ("new", "after"): tuned,
    }
    scores = {}
    for (name, when), model in made.items():
        place = folder / f"{name}-{when}"
        kinema("generate", "--prompts", folder / f"{name}.txt", "-o", place, "--batch", 4, *model)
        scores[f"{name} {when}"] = score(place, [expected(s.graph) for s in wanted[name]])
    report(scores, folder / "scores.json")


def samples(world: str, seed: int, split: str, count: int, *, new: bool) -> Iterator[WorldSample]:
    """Clips of one object, in the new color or in any other, each caption once."""
    drawn = load(world, seed=seed, split=split, **SIZE)
    said, index = set[str](), 0
    while len(said) < count:
        sample = drawn.sample(index)
        index += 1
        one = sample.labels["scene"] == "one" and sample.captions[0] not in said
        if one and (sample.labels["color"] == NAME) == new:
            said.add(sample.captions[0])
            yield sample


def kinema(*words: object) -> None:
    """Runs the command line in a process of its own, which does not know the new color."""
    subprocess.run([sys.executable, "-m", "kinema", *map(str, words)], check=True)


def score(folder: Path, wanted: Sequence[Reading]) -> tuple[Score, ...]:
    """What the reader says of the clips of a folder, in the order of their prompts."""
    clips = [Clip.read(path) for path in sorted(folder.glob("*.mp4"))]
    assert len(clips) == len(wanted), f"{folder} has {len(clips)} clips"
    return tally(("one", agrees(read(clip, "one"), want)) for clip, want in zip(clips, wanted))


def report(scores: Mapping[str, tuple[Score, ...]], path: Path) -> None:
    """Prints counts of right attributes with intervals of 95 %, and whether the bars are met."""
    tables = {
        name: {line.attribute: line.share for line in lines if line.scene == "every"}
        for name, lines in scores.items()
    }
    for name, table in tables.items():
        for attribute, share in table.items():
            low, high = share.interval
            print(
                f"{name:12}{attribute:12}{share.right:4} of {share.clips}"
                f"{100 * share.value:7.1f} [{100 * low:5.1f}, {100 * high:5.1f}]"
            )
    learned = tables["new after"]["color"].value
    before, after = tables["old before"], tables["old after"]
    lost = {name: before[name].value - after[name].value for name in before}
    most = max(lost, key=lambda name: lost[name])
    print(
        f"learned: {100 * learned:.1f} % of the new color, {100 * LEARNED:.0f} or more are wanted; "
        f"lost: {100 * lost[most]:.1f} points of the old prompts ({most}), {100 * LOST:.0f} or "
        "less are wanted"
    )
    found = {name: to_dict(lines) for name, lines in scores.items()}
    write_text(path, json.dumps(found, indent=1) + "\n", overwrite=True)


if __name__ == "__main__":
    main()
