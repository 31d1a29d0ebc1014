"""`kinema generate --story`: one long clip, told window by window; killed, it goes on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from kinema.cli.clips import Maker
from kinema.cli.generate import answer, report_unknown
from kinema.cli.machine import versions
from kinema.cli.outputs import RECORD, check_clip_file, is_finished
from kinema.cli.progress import sampling
from kinema.cli.terminal import Invocation, say
from kinema.cli.told import DRIFT, Told
from kinema.errors import InputError
from kinema.files import alone, check_writable
from kinema.metrics.drift import FEWEST_FRAMES
from kinema.rollout import Rollout, Segment, read_story
from kinema.rollout.parts import Parts
from kinema.rollout.windows import Window
from kinema.systems.image_to_video import ImageToVideo


def make_story(
    file: Path,
    make_maker: Callable[[], Maker],
    place: Path,
    run: Invocation,
    *,
    seed: int,
    negative: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Tells a story, or what is left of it, and writes clip, sheet, drift and record together.

    Raises:
        InputError: the story or what is there already cannot be used, or the model cannot tell it.
    """
    segments = read_story(file)
    if place.suffix.lower() != ".mp4":
        raise InputError(f"cannot write a story as {place}; end the name in .mp4")
    folder = place.with_suffix(".parts")
    was_killed = folder.is_dir() and place.with_suffix(RECORD).exists()  # as its files appeared
    replaces = overwrite or was_killed
    check_clip_file(place, overwrite=replaces)
    check_writable(place.with_suffix(DRIFT), overwrite=replaces)
    teller = Teller(file, make_maker(), segments, seed=seed, negative=negative)
    if was_killed and not overwrite:
        is_finished(place, teller.settings)  # refuses what was made of another story
    for segment, words in zip(segments, teller.unknown_words):
        if words:
            report_unknown(segment.place, words)
    try:
        with alone(folder):
            parts = teller.parts(folder, overwrite=overwrite)
            begin = time.perf_counter()
            tell_on(teller, parts, run)
            told = Told.look(parts, teller.rollout)
            record = teller.record(told, seconds=time.perf_counter() - begin)
            del teller  # the clip is encoded when the weights are gone
            told.write(place, parts, record, overwrite=replaces)
            parts.remove()
    finally:
        with suppress(OSError):  # it holds finished windows, or was never made
            folder.rmdir()
    run.saved = f"{place} is written"
    say(told.report())
    answer(place, record, as_json=as_json)


def tell_on(teller: Teller, parts: Parts, run: Invocation) -> None:
    """Makes the windows that are not finished, and shows how far it is."""
    windows = teller.rollout.windows

    def finished(window: Window) -> None:
        done = f"{window.number + 1} of {len(windows)} windows"
        run.saved = f"{done} are in {parts.folder}; the same command goes on"

    if parts.count:
        finished(windows[parts.count - 1])
        say(f"going on after {parts.count} of {len(windows)} windows in {parts.folder}")
    with sampling(passes=len(windows) - parts.count):
        teller.tell(parts, finished)


class Teller:
    """A model that tells a story, and what must be told to repeat it.

    Args:
        file: of the story.
        maker: the loaded model.
        segments: what the file says.
        seed: of the noise.
        negative: what to move away from; None leaves it to the model.

    Attributes:
        unknown_words: of each segment, those that the model does not know.

    Raises:
        InputError: the model cannot go on from frames or cannot read a prompt, or the story does
            not fit its windows.
    """

    def __init__(
        self,
        file: Path,
        maker: Maker,
        segments: Sequence[Segment],
        *,
        seed: int,
        negative: str | None,
    ) -> None:
        if not isinstance(maker.model, ImageToVideo):
            raise InputError(f"{maker.name} cannot go on from given frames; choose another --model")
        self.file, self.maker, self.seed = file, maker, seed
        self.negative = maker.model.negative(negative, maker.sampling)
        self.unknown_words = [self._unknown(segment) for segment in segments]
        self.rollout = Rollout(
            maker.model,
            segments,
            seed=seed,
            sampling=maker.sampling,
            negative=self.negative,
            image=maker.keyframes[0].clip if maker.keyframes else None,
        )
        if self.rollout.num_frames < FEWEST_FRAMES:
            raise InputError(
                f"{file} tells {self.rollout.num_frames} frames; tell {FEWEST_FRAMES} or more"
            )

    def _unknown(self, segment: Segment) -> tuple[str, ...]:
        try:
            return self.maker.unknown_words(segment.prompt, self.negative)
        except InputError as error:
            raise InputError(f"{segment.place}: {error}") from error

    @property
    def settings(self) -> dict[str, Any]:
        """What fixes the frames."""
        return {
            **self.maker.shared_settings(),
            "story": [[segment.prompt, segment.seconds] for segment in self.rollout.segments],
            "negative": self.negative,
            "seed": self.seed,
        }

    def parts(self, folder: Path, *, overwrite: bool) -> Parts:
        """Its finished windows in a folder; raises InputError as `Parts`."""
        return Parts(
            folder,
            self.settings,
            fps=self.rollout.sampling.fps,
            lengths=[window.frames for window in self.rollout.windows],
            overwrite=overwrite,
        )

    def tell(self, parts: Parts, each: Callable[[Window], None]) -> None:
        """Makes the windows that are not finished.

        Args:
            parts: take their frames.
            each: is called with each window when its frames are there.
        """
        for window in self.rollout.windows[parts.count :]:
            before = parts.last(self.rollout.carried)
            parts.add(self.rollout.make(window, before))
            each(window)

    def record(self, told: Told, *, seconds: float) -> dict[str, Any]:
        """Everything that is needed to tell it again, and what was measured."""
        options = self.maker.options(self.seed, self.negative)
        options += [word for p in self.maker.given.pictures for word in ("--image", str(p.path))]
        return {
            "command": shlex.join(["kinema", "generate", "--story", str(self.file), *options]),
            "model": self.maker.name,
            **self.settings,
            **self.maker.adapters.names(),
            **self.maker.given.names(),
            "unknown_words": [word for words in self.unknown_words for word in words],
            "frames": self.rollout.num_frames,
            **told.record(),
            "threads": torch.get_num_threads(),
            "seconds": round(seconds, 3),
            **versions(),
        }
