"""What people can start on the page. Each function checks plain values, and gives a ticket.

Values come from a browser or from a program, unchecked; whatever cannot be used raises InputError
before anything is started. A ticket's result is a `history.Run`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from kinema.cli.clips import Item, Maker
from kinema.cli.given import read_given
from kinema.cli.outputs import save_clip_with_sheet
from kinema.cli.story import Teller
from kinema.errors import InputError
from kinema.files import write_text
from kinema.media import probe
from kinema.processes.steps import Callback, Report, watching
from kinema.web.history import CLIP, SCORES, Run
from kinema.web.limits import choice, number, whole
from kinema.web.scoring import Scoring
from kinema.web.story import read_lines, tell
from kinema.web.studio import Studio
from kinema.web.uploads import copied
from kinema.web.worker import Ticket

LARGEST_SEED = 2**31 - 1
SAMPLED = 0.9  # share of the time that goes into sampling, about


def generate(
    studio: Studio,
    user: str,
    *,
    prompt: Any,
    negative: Any,
    seed: Any,
    size: Any,
    num_frames: Any,
    steps: Any,
    guidance: Any,
) -> Ticket:
    """A clip from a prompt."""
    sampling = sampling_of(studio, size, num_frames, steps, guidance)
    item = item_of(studio, prompt, negative, seed)
    studio.check_room()

    def work(ticket: Ticket) -> Run:
        maker = studio.maker.settled(sampling=sampling, given=read_given(None, [], None))
        with studio.history.begin("clip", item.prompt) as place:
            make(maker, item, place, ticket)
        return studio.history.run(place.name)

    return studio.worker.submit(user, work)


def animate(
    studio: Studio,
    user: str,
    *,
    file: Any,
    prompt: Any,
    negative: Any,
    seed: Any,
    size: Any,
    num_frames: Any,
    steps: Any,
    guidance: Any,
) -> Ticket:
    """A clip that begins with a picture, or that goes on from a clip."""
    expect_pictures(studio)
    if not file:
        raise InputError("give a picture or a clip to begin with")
    sampling = sampling_of(studio, size, num_frames, steps, guidance)
    item = item_of(studio, prompt, negative, seed)
    given = studio.uploads.visual(studio.uploads.file(file), frames=studio.limits.given_frames)
    studio.check_room()

    def work(ticket: Ticket) -> Run:
        with studio.history.begin("from-picture", item.prompt) as place:
            path = copied(given, place, "given")
            still = probe(path).num_frames == 1
            begin = read_given(path if still else None, [], None if still else path)
            make(studio.maker.settled(sampling=sampling, given=begin), item, place, ticket)
        return studio.history.run(place.name)

    return studio.worker.submit(user, work)


def story(studio: Studio, user: str, *, lines: Any, seed: Any, steps: Any, guidance: Any) -> Ticket:
    """A longer clip of several segments, told as `kinema generate --story` tells it."""
    expect_pictures(studio)
    own, size = studio.maker.sampling, next(iter(studio.sizes))
    sampling = sampling_of(studio, size, own.num_frames, steps, guidance)
    segments = read_lines(lines, studio.limits)
    maker = studio.maker.settled(sampling=sampling, given=read_given(None, [], None))
    called = Path("the story")  # in errors, until the run has a folder for its file
    start = whole("the seed", seed, 0, LARGEST_SEED)
    teller = Teller(called, maker, segments, seed=start, negative=None)
    studio.check_room()

    def work(ticket: Ticket) -> Run:
        with studio.history.begin("story", segments[0].prompt) as place:
            tell(teller, place, ticket)
        return studio.history.run(place.name)

    return studio.worker.submit(user, work)


def score(
    studio: Studio, user: str, *, generated: Any, real: Any, scores: Any, num_frames: Any
) -> Ticket:
    """Scores of clips, with their passports, as `kinema score` computes them."""
    scoring = Scoring(
        scores=scores,
        generated=studio.uploads.files(generated),
        real=studio.uploads.files(real),
        num_frames=whole("the number of frames", num_frames, 2, studio.limits.scored_frames),
    )
    studio.check_room()

    def work(ticket: Ticket) -> Run:
        with studio.history.begin("scores", "-".join(scoring.scores)) as place:
            answer = scoring.run(studio.uploads, place, studio.folder / "features", ticket)
            write_text(place / SCORES, json.dumps(answer, indent=1) + "\n")
        return studio.history.run(place.name)

    return studio.worker.submit(user, work)


def sampling_of(
    studio: Studio, size: Any, num_frames: Any, steps: Any, guidance: Any
) -> dict[str, Any]:
    """The fields of a model's `Sampling`. Raises InputError if one is out of its range."""
    limits, frames = studio.limits, studio.frames
    height, width = studio.sizes[choice("size", size, list(studio.sizes))]
    count = whole("the number of frames", num_frames, frames[0], frames[-1])
    if count not in frames:
        near = min(frames, key=lambda n: abs(n - count))
        raise InputError(f"this model makes no clips of {count} frames; the nearest is {near}")
    if count * height * width > studio.pixels:
        raise InputError(f"{count} frames of {size} are too much at once; choose less of either")
    return {
        "num_frames": count,
        "height": height,
        "width": width,
        "steps": whole("the number of steps", steps, 1, limits.steps),
        "guidance": number("guidance", guidance, 0.0, limits.guidance),
    }


def item_of(studio: Studio, prompt: Any, negative: Any, seed: Any) -> Item:
    """What is to be shown; its path is given later. Raises InputError if it cannot be used."""
    said = studio.limits.prompt(prompt)
    away = studio.limits.text("the negative prompt", negative, studio.limits.prompt_letters)
    return Item(
        prompt=said,
        negative=away,
        seed=whole("the seed", seed, 0, LARGEST_SEED),
        path=Path(CLIP),
        unknown_words=studio.maker.unknown_words(said, away),
    )


def expect_pictures(studio: Studio) -> None:
    """Raises InputError if the model cannot be given frames."""
    if not studio.takes_pictures:
        raise InputError(f"{studio.maker.name} takes no pictures; start the page with another")


def make(maker: Maker, item: Item, place: Path, ticket: Ticket) -> None:
    """A clip with sheet and record, in a folder."""
    begin = time.perf_counter()
    with watching(sampled(ticket)):
        (clip,) = maker.make([item])
    record = maker.record(item, batch=1, seconds=time.perf_counter() - begin)
    save_clip_with_sheet(place / CLIP, clip, record, item.prompt, overwrite=False)


def sampled(ticket: Ticket) -> Callback:
    """Tells a ticket of each step of a sampler."""

    def told(report: Report) -> None:
        done, steps = report.step.index + 1, report.step.total
        doing = f"step {done} of {steps}" if done < steps else "drawing the frames"
        ticket.advance(SAMPLED * done / steps, doing)

    return told
