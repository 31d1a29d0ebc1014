"""How well clips of the world `shapes` show what they should, by the attribute reader.

    python bench/shapes_attributes.py prompts docs/shapes-model/prompts.jsonl
    kinema generate --prompts docs/shapes-model/prompts.jsonl -o runs/prompts
    python bench/shapes_attributes.py ceilings --model ltx_video:shapes \\
        --json docs/shapes-model/ceilings.json
    python bench/shapes_attributes.py score runs/prompts

Prompts are 512 captions of the held-out split. Ceilings are what the reader says of fresh clips of
the world, and of the same clips after a model's codec: no score of a generator can mean more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch

import kinema
from kinema.clip import Clip
from kinema.config import config, from_dict, to_dict
from kinema.errors import InputError
from kinema.files import write_text
from kinema.metrics.attributes import Reading, Scene, agrees, expected, read
from kinema.metrics.attributes_scores import (
    QUOTAS,
    Score,
    Share,
    measured,
    reader_digest,
    tally,
)
from kinema.noise import Noise
from kinema.weights.digest import digest
from kinema.worlds import World, load

PAGE = Path(__file__).parents[1] / "docs" / "shapes-model"
PROMPTS, CEILINGS = PAGE / "prompts.jsonl", PAGE / "ceilings.json"
SIZE = {"num_frames": 25, "height": 96, "width": 96, "fps": 12.0}
PROMPT_SEED, CEILING_SEED = 512, 513
BATCH = 8

Line = tuple[Scene, Clip, Reading]
Key = tuple[str, int]  # prompt and seed


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


def main(arguments: Sequence[str]) -> int:
    """Runs one of the commands; the exit status is 2 if what was given cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)

    def command(run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
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


def prompts(options: argparse.Namespace) -> None:
    """Writes the held-out prompts: caption, seed of the noise, scene and labels."""
    lines = [json.dumps(line) + "\n" for line in prompt_lines()]
    write_text(options.file, "".join(lines), overwrite=options.overwrite)
    print(f"{options.file}: {len(lines)} prompts")


def prompt_lines() -> Iterator[dict[str, Any]]:
    """The lines of the file of prompts, in the order of the world."""
    world = load("shapes:level=2", seed=PROMPT_SEED, split="held_out", **SIZE)
    for seed, (scene, sample) in enumerate(measured(world, QUOTAS)):
        labels = to_dict(expected(sample.graph))
        yield {"prompt": sample.captions[0], "seed": seed, "scene": scene, "labels": labels}


def ceilings(options: argparse.Namespace) -> None:
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
        fresh=_scores(_drawn(world, quotas)),
        codec=_scores(_decoded(_drawn(world, quotas), model)) if model else (),
    )
    columns = {"fresh": found.fresh, f"codec of {options.model}": found.codec}
    _show({name: scores for name, scores in columns.items() if scores})
    if options.json:
        write_text(options.json, json.dumps(to_dict(found), indent=1) + "\n", overwrite=True)


def score(options: argparse.Namespace) -> None:
    """Prints, and writes if asked, what the reader says of generated clips."""
    limits = _read_ceilings(options.ceilings)
    wanted = _read_prompts(options.prompts)
    found = _scores(_generated(options.folders, wanted))
    columns = {
        "+".join(folder.name for folder in options.folders): found,
        "fresh": limits.fresh,
        f"codec {limits.weights}": limits.codec,
    }
    _show({name: scores for name, scores in columns.items() if scores})
    print(f"{len(wanted)} clips; reader {reader_digest()}")
    if options.json:
        report = {
            "prompts": options.prompts.name,
            "clips": len(wanted),
            "reader": reader_digest(),
            "scores": to_dict(found),
            "ceilings": to_dict(limits),
        }
        write_text(options.json, json.dumps(report, indent=1) + "\n", overwrite=True)


def _scores(lines: Iterable[Line]) -> tuple[Score, ...]:
    return tally((scene, agrees(read(clip, scene), wanted)) for scene, clip, wanted in lines)


def _drawn(world: World, quotas: dict[Scene, int]) -> Iterator[Line]:
    for scene, sample in measured(world, quotas):
        yield scene, sample.clip, expected(sample.graph)


def _decoded(lines: Iterable[Line], model: Any) -> Iterator[Line]:
    """The same clips after the codec of a model: encoded without noise, decoded as it samples."""
    rest, done = iter(lines), 0
    while group := list(islice(rest, BATCH)):
        noise = Noise(0, tuple(range(done, done + len(group))))
        done += len(group)
        clips = torch.stack([torch.from_numpy(clip.to_float()) for _, clip, _ in group])
        with torch.inference_mode():
            latents = model.codec.encode(clips)
            decoded = model.decode(latents, noise=noise, sampling=model.config.sampling)
        for (scene, clip, wanted), pixels in zip(group, decoded):
            yield scene, Clip.from_float(pixels.float().numpy(), clip.fps), wanted


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
    for number, line in enumerate(_text(path).splitlines(), start=1):
        try:
            fields = json.loads(line)
            scene, key = fields["scene"], (fields["prompt"], fields["seed"])
            labels = from_dict(Reading, fields["labels"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}:{number} is no prompt with seed, scene and labels") from error
        found[key] = scene, labels
    return found


def _read_ceilings(path: Path) -> Ceilings:
    try:
        found = from_dict(Ceilings, json.loads(_text(path)))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON: {error}") from None
    if found.reader != reader_digest():
        raise InputError(f"{path} holds ceilings of another reader; measure them again")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _show(columns: dict[str, tuple[Score, ...]]) -> None:
    """A table: a row for each scene and attribute, in each column right ones of all, and a share
    in percent with its interval.
    """
    tables = [
        {(line.scene, line.attribute): line.share for line in scores} for scores in columns.values()
    ]
    print(f"{'':18}" + "".join(f"{name:>36}" for name in columns))
    for row in tables[0]:
        cells = [_cell(table[row]) if row in table else "--" for table in tables]
        print(f"{row[0]:6}{row[1]:12}" + "".join(f"{cell:>36}" for cell in cells))


def _cell(share: Share) -> str:
    low, high = (100 * end for end in share.interval)
    return f"{share.right} of {share.clips} {100 * share.value:6.1f} [{low:5.1f}, {high:5.1f}]"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
