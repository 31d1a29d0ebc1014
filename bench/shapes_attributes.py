"""How well clips of the world `shapes` show what they should, by the attribute reader.

    python bench/shapes_attributes.py prompts docs/shapes-model/prompts.jsonl
    kinema generate --prompts docs/shapes-model/prompts.jsonl -o runs/prompts
    python bench/shapes_attributes.py ceilings --model ltx_video:shapes \\
        --json docs/shapes-model/ceilings.json
    python bench/shapes_attributes.py score runs/prompts

Prompts are 512 captions of the held-out split. Ceilings are what the reader says of fresh clips of
the world, and of the same clips after a model's codec: no score of a generator can mean more. The
exit status of `score` is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from shapes_bars import (
    CEILINGS,
    PROMPTS,
    SIZE,
    Ceilings,
    Line,
    Verdict,
    at_least,
    conclude,
    decoded,
    drawn,
    read_ceilings,
    scored,
    show,
)

import kinema
from kinema.clip import Clip
from kinema.config import from_dict, to_dict
from kinema.errors import InputError
from kinema.files import write_text
from kinema.metrics.attributes import Reading, Scene, expected
from kinema.metrics.attributes_scores import QUOTAS, Score, measured, reader_digest
from kinema.weights.digest import digest
from kinema.worlds import load

PROMPT_SEED, CEILING_SEED = 512, 513
SCENES = ("every", *QUOTAS)
BARS = {  # shares of right clips that are wanted at least
    ("one", "color"): 0.92,
    ("one", "shape"): 0.85,
    ("one", "motion"): 0.85,
    ("one", "background"): 0.95,
    ("one", "all"): 0.65,
    ("story", "order"): 0.60,
}

Key = tuple[str, int]  # prompt and seed


def main(arguments: Sequence[str]) -> int:
    """Runs one of the commands; the exit status is 2 if what was given cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)

    def command(run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(run.__name__, help=text)
        made.set_defaults(run=run)
        return made

    made = command(prompts, "draw the held-out prompts")
    made.add_argument("file", type=Path)
    made.add_argument("--overwrite", action="store_true")
    made = command(ceilings, "read the world's own clips, and what a codec leaves of them")
    made.add_argument("--world", default="shapes:level=2", help="which clips")
    made.add_argument("--count", type=int, default=sum(QUOTAS.values()), help="of clips")
    made.add_argument("--model", help="name:tag or name@file, for its codec")
    made.add_argument("--json", type=Path, help="where to write them; a file there is replaced")
    made = command(score, "read the clips of folders")
    made.add_argument(
        "folders", type=Path, nargs="+", help="that `kinema generate --prompts` wrote"
    )
    made.add_argument("--prompts", type=Path, default=PROMPTS, help="with the labels")
    made.add_argument("--ceilings", type=Path, default=CEILINGS, help="to show beside")
    made.add_argument("--json", type=Path, help="where to write the scores; a file is replaced")
    return parser


def prompts(options: argparse.Namespace) -> int:
    """Writes the held-out prompts: caption, seed of the noise, scene and labels."""
    lines = [json.dumps(line) + "\n" for line in prompt_lines()]
    write_text(options.file, "".join(lines), overwrite=options.overwrite)
    print(f"{options.file}: {len(lines)} prompts")
    return 0


def prompt_lines() -> Iterator[dict[str, Any]]:
    """The lines of the file of prompts, in the order of the world."""
    world = load("shapes:level=2", seed=PROMPT_SEED, split="held_out", **SIZE)
    for seed, (scene, sample) in enumerate(measured(world, QUOTAS)):
        labels = to_dict(expected(sample.graph))
        yield {"prompt": sample.captions[0], "seed": seed, "scene": scene, "labels": labels}


def ceilings(options: argparse.Namespace) -> int:
    """Prints, and writes if asked, what the reader says of a world's own clips."""
    world = load(options.world, seed=CEILING_SEED, split="held_out", **SIZE)
    kinds: tuple[Scene, ...] = ("one",) if world.options.get("level", 1) == 1 else tuple(QUOTAS)
    share = options.count / sum(QUOTAS[kind] for kind in kinds)
    quotas = {kind: round(share * QUOTAS[kind]) for kind in kinds}
    model = kinema.load(options.model, dtype=torch.float32) if options.model else None
    found = Ceilings(
        reader=reader_digest(),
        world=options.world,
        clips=sum(quotas.values()),
        model=options.model or "",
        weights=digest(model.codec) if model else "",
        fresh=scored(drawn(measured(world, quotas))),
        codec=scored(decoded(drawn(measured(world, quotas)), model)) if model else (),
    )
    show(found.columns(), SCENES)
    if options.json:
        write_text(options.json, json.dumps(to_dict(found), indent=1) + "\n", overwrite=True)
    return 0


def score(options: argparse.Namespace) -> int:
    """Prints, and writes if asked, what the reader says of generated clips; 1 if a bar is missed,
    of those whose scenes were asked for.
    """
    limits = read_ceilings(options.ceilings)
    wanted = _read_prompts(options.prompts)
    found = scored(_generated(options.folders, wanted))
    name = "+".join(folder.name for folder in options.folders)
    show({name: found, **limits.columns()}, SCENES)
    print(f"{len(wanted)} clips; reader {reader_digest()}")
    figures = {
        "prompts": options.prompts.name,
        "clips": len(wanted),
        "reader": reader_digest(),
        "scores": to_dict(found),
        "ceilings": to_dict(limits),
    }
    return conclude(figures, verdicts(found), options.json)


def verdicts(scores: Sequence[Score]) -> dict[str, Verdict]:
    """Of each bar whose scene and attribute were scored."""
    found = {(line.scene, line.attribute): line.share.value for line in scores}
    return {" ".join(row): at_least(found[row], BARS[row]) for row in BARS if row in found}


def _generated(
    folders: Sequence[Path], wanted: Mapping[Key, tuple[Scene, Reading]]
) -> Iterator[Line]:
    """The clips of folders with what their prompts ask for, each prompt once."""
    left = dict(wanted)
    for record in sorted(path for folder in folders for path in folder.glob("*.json")):
        try:
            told = json.loads(record.read_text(encoding="utf-8"))
            key = told["prompt"], told["seed"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{record} does not tell prompt and seed of a clip") from None
        if key not in left:
            raise InputError(
                f"{record}: the prompts do not ask for {key[0]!r} with seed {key[1]}, or a clip"
                " before is of it; pass --prompts"
            )
        scene, reading = left.pop(key)
        yield scene, Clip.read(record.with_suffix(".mp4")), reading
    if left:
        prompt, seed = next(iter(left))
        raise InputError(f"no clip of {len(left)} prompts, the first {prompt!r} with seed {seed}")


def _read_prompts(path: Path) -> dict[Key, tuple[Scene, Reading]]:
    """What each prompt of a file asks for."""
    found: dict[Key, tuple[Scene, Reading]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            scene, key = fields["scene"], (fields["prompt"], fields["seed"])
            labels = from_dict(Reading, fields["labels"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}:{number} is no prompt with seed, scene and labels") from error
        found[key] = scene, labels
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
