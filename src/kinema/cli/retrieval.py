"""`kinema score R@1,MdR`: how well a retriever finds the clips of a folder by their captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kinema.cli.accuracy import refuse_views
from kinema.cli.terminal import invocation
from kinema.errors import InputError, unknown

if TYPE_CHECKING:
    from kinema.metrics.retrieval_scores import Searched

NAMES = ("R@1", "R@5", "R@10", "geometric_mean", "MdR", "MeanR")


def is_retrieval(names: Sequence[str]) -> bool:
    """Whether the scores are those of retrievers.

    Raises:
        InputError: some are, and others are not.
    """
    own = [name for name in names if name in NAMES]
    if own and (others := [name for name in names if name not in NAMES]):
        raise InputError(f"{own[0]} is of a retriever, {others[0]} is not; score them apart")
    return bool(own)


def find(
    context: typer.Context,
    names: Sequence[str],
    places: Sequence[Path],
    *,
    system: str | None,
    cache: Path,
    seed: int,
    device: str,
    threads: int | None,
    strict: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Scores as an answer and as lines.

    Raises:
        InputError: an option is missing or belongs to other scores, or the folder or the model
            cannot be used.
    """
    refuse_views(context, names)
    if system is None:
        raise InputError(f"{names[0]} is of a retriever: pass --system NAME@FILE")
    if len(places) != 1:
        raise InputError(f"{names[0]} takes one folder of captioned clips, not {len(places)}")
    from kinema.cli.progress import progress
    from kinema.data.media_folder import read_folder
    from kinema.metrics import retrieval_scores
    from kinema.metrics.passport import as_json
    from kinema.sample import Table

    files, faults = read_folder(places[0], captioned=True)
    searched = loaded(system, device=device, threads=threads)
    done = 0
    with progress(len(files), "score", "clips") as advance:

        def one_more(clips: int) -> None:
            nonlocal done
            advance(clips)
            done += clips
            invocation(context).saved = f"{done} of {len(files)} clips are known in {cache}"

        found = retrieval_scores.embedded(
            searched, files, faults, cache=cache, strict=strict, progress=one_more
        )
    scores = retrieval_scores.scores(names, searched, found, seed)
    rows = tuple((s.name, s.value, "{:.4g} .. {:.4g}".format(*s.interval)) for s in scores)
    table = Table(("score", "value", "95 % interval"), rows)
    told = f"{len(found.clips)} clips with {len(found.texts)} captions, by {searched.name}"
    answer = {"scores": as_json(scores), "skipped": list(found.skipped)}
    return answer, [*str(table).splitlines(), "", told]


def loaded(system: str, *, device: str, threads: int | None) -> Searched:
    """The retriever of a name.

    Args:
        system: name:tag or name@file.
        device, threads: as the options say.

    Raises:
        InputError: there is none.
    """
    from kinema import registry
    from kinema.cli.machine import load_model
    from kinema.metrics.passport import made_by
    from kinema.metrics.retrieval_scores import Searched
    from kinema.systems.retriever import Retriever
    from kinema.weights.digest import digest

    name = system.partition("@")[0].partition(":")[0]
    if not issubclass(registry.system_class(name), Retriever):
        known = [n for n in registry.cards() if issubclass(registry.system_class(n), Retriever)]
        raise unknown("retriever", name, known)
    model = load_model(system, device=device, dtype="float32", threads=threads)
    num_frames, size = model.seen
    return Searched(
        name=name,
        weights=digest(model.parts),
        num_frames=num_frames,
        size=size,
        made_by=made_by(device),
        embed_file=model.embed_file,
        embed_text=model.embed_query,
    )
