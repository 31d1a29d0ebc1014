"""Scores of folders of clips: features once for each clip, then the formulas, then passports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from kinema.errors import InputError
from kinema.metrics import intervals
from kinema.metrics.clip_features import ClipSet, Reader, rates_differ
from kinema.metrics.clip_sets import View, find_clips
from kinema.metrics.definitions import Definition, find, mean
from kinema.metrics.measures import Device, Files, Key, Measure, expect_frames
from kinema.metrics.passport import Passport, Score, made_by
from kinema.noise import Noise

BOOTSTRAP = f"95 %, bootstrap of generated clips, {intervals.DRAWS} draws"
JACKKNIFE = f"95 %, jackknife of generated clips, {intervals.GROUPS} groups"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came of a request.

    Attributes:
        scores: with their intervals and passports.
        skipped: a line for each clip that was left out.
        measured: score -> what its measure gave of each generated clip, (N, ...).
    """

    scores: list[Score]
    skipped: list[str]
    measured: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to compute, and how.

    Attributes:
        scores: names of `definitions.DEFINITIONS`.
        view: the part of each clip that is looked at.
        weights: files by role, for scores whose network is published.
        cache: folder in which features are kept.
        seed: of what is drawn.
        device: for networks.
        strict: whether a clip that cannot be used is an error.
    """

    scores: Sequence[str]
    view: View
    weights: Files
    cache: Path
    seed: int
    device: Device
    strict: bool


def count_steps(request: Request, real: Path | None, generated: Path) -> int:
    """How many clips and pairs of clips `evaluate` goes through. Raises as `evaluate`."""
    kinds = {definition.of for definition in find(request.scores).values()}
    count = len(find_clips(generated))
    reals = len(find_clips(real)) if real is not None and kinds != {"generated"} else 0
    return count + reals + (count if "pairs" in kinds else 0)


def evaluate(
    request: Request, real: Path | None, generated: Path, progress: Callable[[int], None]
) -> Evaluation:
    """The scores of generated clips, beside real ones where a score compares.

    Args:
        request: what to compute.
        real: a folder of clips; None if no score compares.
        generated: a folder of clips; for scores of pairs, of the same names.
        progress: told how many clips are done, each time one is.

    Raises:
        InputError: a score or file is unknown, weights are missing, there are too few clips, the
            folders differ in size or frame rate, or a clip cannot be used and the request is
            strict.
    """
    found = find(request.scores)
    comparing = [name for name, definition in found.items() if definition.of != "generated"]
    if comparing and real is None:
        raise InputError(f"{comparing[0]} compares; name a folder of real clips, then yours")
    made = _measures(found, request)
    reader = Reader(
        view=request.view,
        cache=request.cache,
        made_by=made_by(request.device),
        strict=request.strict,
        progress=progress,
    )
    kinds: dict[str, list[Measure]] = {"sets": [], "pairs": [], "generated": []}
    for name, definition in found.items():
        kinds[definition.of].append(made[name])
    theirs = reader.clips(generated, _distinct(kinds["sets"] + kinds["generated"]))
    reals = ClipSet()
    if real is not None and comparing:
        reals = reader.clips(real, _distinct(kinds["sets"]))
        _expect_alike(reals, theirs)
    sides = {"sets": (reals, theirs), "generated": (ClipSet(), theirs)}
    unmatched: list[str] = []
    if kinds["pairs"]:
        pairs = reader.pairs(reals, theirs, _distinct(kinds["pairs"]))
        unmatched = pairs.skipped
        originals = ClipSet(paths=pairs.paths, digests=pairs.digests, skipped=reals.skipped)
        sides["pairs"] = originals, replace(pairs, skipped=theirs.skipped + unmatched)
    scores: list[Score] = []
    for name, definition in found.items():
        scores += _scores(name, definition, made[name], *sides[definition.of], request)
    skipped = [*reals.skipped, *theirs.skipped, *unmatched]
    measured = {name: sides[found[name].of][1].stacked(made[name]) for name in found}
    return Evaluation(scores, skipped, measured)


def _measures(found: Mapping[str, Definition], request: Request) -> dict[str, Measure]:
    """The measure of each score; those that several share are made once."""
    made: dict[Callable[..., Measure], Measure] = {}
    for definition in found.values():
        if definition.measure not in made:
            made[definition.measure] = definition.measure(request.weights, request.device)
            expect_frames(made[definition.measure], request.view.num_frames)
    return {name: made[definition.measure] for name, definition in found.items()}


def _distinct(measures: Sequence[Measure]) -> list[Measure]:
    distinct: dict[Key, Measure] = {measure.key: measure for measure in measures}
    return [*distinct.values()]


def _expect_alike(real: ClipSet, generated: ClipSet) -> None:
    if not real.paths or not generated.paths:
        return
    if real.size != generated.size:
        (h, w), (height, width) = real.size, generated.size
        raise InputError(
            f"real clips are {h}x{w}, generated ones {height}x{width}; pass --size {height}x{width}"
        )
    if rates_differ(real.fps, generated.fps):
        raise InputError(
            f"real clips have {real.fps:g} frames per second, generated ones {generated.fps:g}; "
            f"pass --fps {generated.fps:g}"
        )


def _scores(
    name: str,
    definition: Definition,
    measure: Measure,
    real: ClipSet,
    generated: ClipSet,
    request: Request,
) -> Iterator[Score]:
    """The numbers of one score with their intervals."""
    formula, noise = definition.formula, Noise(request.seed, (0,))
    _expect_enough(name, definition, real, generated)
    features = generated.stacked(measure)
    known = real.stacked(measure) if definition.of == "sets" else None
    for side in (features, known):
        if side is not None and not side.isfinite().all():
            raise InputError(
                f"{name}: {measure.name} gives NaN or infinity; check the clips and the weights"
            )
    statistic = formula.statistic(known, noise)
    values = statistic(features)
    is_mean = formula.statistic is mean
    if is_mean:
        found = [intervals.bootstrap_mean(features, noise)]
    else:
        found = intervals.jackknife(
            lambda rows: statistic(features[rows]), values, len(features), noise
        )
    passport = Passport(
        score=name,
        variant=formula.variant,
        extractor=measure.name,
        weights=measure.weights,
        preprocessing=f"{request.view}; {measure.preprocessing}",
        interval=BOOTSTRAP if is_mean else JACKKNIFE,
        num_real=len(real.paths),
        num_generated=len(generated.paths),
        skipped_real=len(real.skipped),
        skipped_generated=len(generated.skipped),
        num_frames=request.view.num_frames,
        fps=generated.fps or real.fps,
        height=generated.size[0],
        width=generated.size[1],
        reference=_digest([*real.digests.values()]),
        seed=request.seed,
        versions=made_by(request.device),
    )
    for label, value, interval in zip(formula.labels, values.tolist(), found):
        full = f"{name}.{label}" if label else name
        yield Score(name=full, value=value, interval=interval, passport=passport)


def _expect_enough(name: str, definition: Definition, real: ClipSet, generated: ClipSet) -> None:
    sides = {"generated clips": generated}
    if definition.of == "sets":
        sides["real clips"] = real
    for kind, clips in sides.items():
        if len(clips.paths) < definition.formula.fewest:
            shown = "pairs of clips" if definition.of == "pairs" else kind
            raise InputError(
                f"{name} needs {definition.formula.fewest} {shown} or more, not {len(clips.paths)}"
                f"; {clips.skipped[0] if clips.skipped else 'add some'}"
            )


def _digest(contents: Sequence[str]) -> str:
    """A hash over contents in order; empty if there are none."""
    said = " ".join(contents).encode()
    return hashlib.blake2b(said, digest_size=8).hexdigest() if contents else ""
