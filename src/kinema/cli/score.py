"""`kinema score`: scores of folders of clips with their passports, and comparisons of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinema.cli.accuracy import is_accuracy, judge
from kinema.cli.retrieval import find, is_retrieval
from kinema.cli.terminal import (
    Device,
    Json,
    Overwrite,
    Seed,
    Settings,
    Size,
    Threads,
    invocation,
    parse_size,
    say,
)
from kinema.errors import InputError, unknown

if TYPE_CHECKING:
    from kinema.metrics.passport import Comparison, Score

COMPARE = "compare"
DRIFT = "drift"
# What scores of one run share; the table says it once.
SHARED = ("num_frames", "fps", "height", "width", "seed")
OF_ACCURACY = "top1 and top5"
OPTIONS = {
    "system": "top1, top5 and R@k",
    "root": OF_ACCURACY,
    "labels": OF_ACCURACY,
    "set": OF_ACCURACY,
    "plot": DRIFT,
}


def score(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="SCORES", help="as fvd-tiny,stream,psnr; or compare")
    ],
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="[REAL] GENERATED",
            help="folders of clips: videos, .npy of (T, H, W, 3), folders of pictures; "
            "of top1, top5 a published list, or a folder with a folder for each class; "
            "of R@1, R@5, R@10, MdR a folder of clips with captions",
        ),
    ],
    system: Annotated[
        str | None, typer.Option("--system", help="the model that top1, top5 or R@k are of")
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", help="folder of the clips that a list names")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="published names of the recognizer's classes")
    ] = None,
    settings: Settings = None,
    frames: Annotated[
        int, typer.Option("--frames", min=1, help="of each clip, from its start")
    ] = 16,
    fps: Annotated[
        float | None, typer.Option("--fps", help="to which videos are brought; as stored if absent")
    ] = None,
    size: Size = None,
    weights: Annotated[
        list[str] | None,
        typer.Option("--weights", metavar="ROLE=FILE", help="of a network; may be repeated"),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="folder of features that are known already")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="stop at a clip that cannot be used")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file of scores with passports")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="picture (.png) of the curves behind drift")
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Score generated clips, most of them beside real ones, or a recognizer or retriever on clips.

    Clips that are broken, short or of another size or rate are listed and left out; the passport
    counts them. `kinema score compare A.json B.json` sets two files of --output side by side, and
    refuses if they were not computed alike.
    """
    from kinema.files import check_writable

    names = [name.strip() for name in what.split(",")]
    if DRIFT not in names:
        refuse({"plot": plot}, names)
    if what == COMPARE:
        show_comparison(places, as_json)
        return
    for path in filter(None, (output, plot)):
        check_writable(path, overwrite=overwrite)

    from kinema.cli.machine import check_device, use_threads
    from kinema.metrics.clip_sets import View

    check_device(device)
    use_threads(threads)
    own = {"root": root, "labels": labels, "set": settings or None}
    chosen: dict[str, Any] = {
        "cache": cache or default_cache(),
        "seed": seed,
        "device": device,
        "strict": strict,
    }
    if is_accuracy(names):
        chosen |= {"system": system, "root": root, "labels": labels, "settings": settings or []}
        answer, lines = judge(context, names, places, threads=threads, **chosen)
    elif is_retrieval(names):
        refuse(own, names)
        answer, lines = find(context, names, places, system=system, threads=threads, **chosen)
    else:
        refuse({"system": system, **own}, names)
        view = View(num_frames=frames, fps=fps, size=parse_size(size) if size else None)
        chosen |= {"view": view, "weights": weight_files(weights or [])}
        answer, lines = evaluated(context, names, places, plot=plot, overwrite=overwrite, **chosen)
    for line in answer["skipped"]:
        say(f"left out: {line}")
    if output is not None:
        from kinema.files import write_text

        record = {"command": invocation(context).command, **answer}
        write_text(output, json.dumps(record, indent=1) + "\n", overwrite=overwrite)
        invocation(context).saved = f"{output} is written"
    print(json.dumps(answer, indent=1) if as_json else "\n".join(lines))


def refuse(options: Mapping[str, object], names: Sequence[str]) -> None:
    """Raises InputError if an option is given that is for other scores than these."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"--{name} is for {OPTIONS[name]}, not for {names[0]}")


def evaluated(
    context: typer.Context,
    names: Sequence[str],
    places: Sequence[Path],
    *,
    plot: Path | None,
    overwrite: bool,
    **options: Any,
) -> tuple[dict[str, Any], list[str]]:
    """Scores as an answer and as lines; the curves behind drift as a picture, where one is named.

    Raises:
        InputError: as `kinema.metrics.evaluation.evaluate`, there are not one or two folders, or
            the picture cannot be written.
    """
    from kinema.cli.progress import progress
    from kinema.metrics.evaluation import Request, count_steps, evaluate
    from kinema.metrics.passport import as_json

    if len(places) > 2:
        raise InputError(f"give REAL and GENERATED, or GENERATED alone, not {len(places)} folders")
    if plot is not None and plot.suffix.lower() != ".png":
        raise InputError(f"cannot draw {plot}; end the name in .png")
    generated, real = places[-1], places[0] if len(places) > 1 else None
    request = Request(scores=names, **options)
    total = count_steps(request, real, generated)
    done = 0
    with progress(total, "score", "clips") as advance:

        def one_more(clips: int) -> None:
            nonlocal done
            advance(clips)
            done += clips
            invocation(context).saved = f"{done} of {total} clips are known in {request.cache}"

        found = evaluate(request, real, generated, one_more)
    if plot is not None:
        from kinema.rollout.picture import write_drift_picture

        rate = found.scores[0].passport.fps
        write_drift_picture(plot, found.measured[DRIFT], (), rate, overwrite=overwrite)
        invocation(context).saved = f"{plot} is written"
    answer = {"scores": as_json(found.scores), "skipped": found.skipped}
    return answer, table(found.scores)


def table(scores: Sequence[Score]) -> list[str]:
    """Scores, one in a line, and what their passports share."""
    from kinema.sample import Table

    rows = tuple(
        (
            score.name,
            score.value,
            "{:.4g} .. {:.4g}".format(*score.interval),
            score.passport.num_real,
            score.passport.num_generated,
            score.passport.extractor,
        )
        for score in scores
    )
    columns = ("score", "value", "95 % interval", "real", "generated", "by")
    passport = scores[0].passport
    shared = ", ".join(f"{name} {getattr(passport, name)}" for name in SHARED)
    return [*str(Table(columns=columns, rows=rows)).splitlines(), "", shared]


def show_comparison(places: Sequence[Path], as_json: bool) -> None:
    """Prints two files of scores side by side.

    Raises:
        InputError: there are not two, one cannot be read, or their scores do not compare.
    """
    from kinema.metrics.passport import compare, read_scores

    if len(places) != 2:
        raise InputError(f"compare takes two files of scores, not {len(places)}")
    found = compare(*(read_scores(place) for place in places))
    if as_json:
        print(json.dumps({"comparisons": [compared(pair) for pair in found]}, indent=1))
        return
    from kinema.sample import Table

    rows = tuple(tuple(compared(pair).values()) for pair in found)
    print(Table(columns=("score", "A", "B", "B - A", "intervals"), rows=rows))


def compared(pair: Comparison) -> dict[str, Any]:
    """A comparison as an answer."""
    return {
        "score": pair.name,
        "a": pair.a.value,
        "b": pair.b.value,
        "difference": pair.b.value - pair.a.value,
        "intervals": "overlap" if pair.overlap else "apart",
    }


def weight_files(given: Sequence[str]) -> dict[str, Path]:
    """Files by role, from ``ROLE=FILE``.

    Raises:
        InputError: the form or the role is another one, or the file is missing.
    """
    from kinema.metrics.extractors import ROLES

    found = {}
    for text in given:
        role, equals, file = text.partition("=")
        if not equals:
            raise InputError(f"--weights {text!r} must be ROLE=FILE, as i3d=i3d_pretrained_400.pt")
        if role not in ROLES:
            raise unknown("role of weights", role, ROLES)
        if not Path(file).exists():
            raise InputError(f"--weights {role}: there is no file {file}")
        found[role] = Path(file)
    return found


def default_cache() -> Path:
    """Where features are kept if nothing is said: the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kinema" / "features"
