"""Scores of clips that were sent to the page, by the functions of `kinema score`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinema.errors import InputError
from kinema.media import probe
from kinema.metrics.clip_sets import View, find_clips
from kinema.metrics.definitions import DEFINITIONS
from kinema.metrics.evaluation import Request, count_steps, evaluate
from kinema.metrics.passport import as_json
from kinema.web.limits import choice
from kinema.web.uploads import Uploads
from kinema.web.worker import Ticket

# Scores that need no weights of a published network, with what they tell.
SCORES: Mapping[str, str] = {
    "fvd-tiny": "how far all clips together are from the real ones; lower is better",
    "fvd-rand": "as fvd-tiny, by a network with random weights; lower is better",
    "psnr": "how close the pixels of each clip are to the real clip of its name; higher is better",
    "ssim": "how close its structures are; higher is better",
    "tof": "how far its motion is from that of the real clip; lower is better",
    "stream": "motion, fidelity and diversity of all clips beside the real ones",
    "prdc-rand": "precision, recall, density and coverage",
    "kvd-rand": "as fvd-rand, by another formula; lower is better",
    "drift": "what changes from the beginning of a clip to its end; needs no real clips",
    "warping-error": "how unsteady pixels are along the motion; needs no real clips",
    "dynamic-degree": "how much moves; needs no real clips",
}


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """A set of scores to compute.

    Args:
        scores: names of `SCORES`, one or more.
        generated, real: clips and zip files of clips; no real ones where no score compares.
        num_frames: of each clip, from its start.

    Raises:
        InputError: a score is unknown, or clips are missing that it needs.
    """

    scores: Sequence[str]
    generated: Sequence[Path]
    real: Sequence[Path]
    num_frames: int

    def __post_init__(self) -> None:
        if not isinstance(self.scores, list) or not self.scores:
            raise InputError("choose at least one score")
        for name in self.scores:
            choice("score", name, list(SCORES))
        if len(set(self.scores)) < len(self.scores):
            raise InputError("a score is chosen twice")
        if not self.generated:
            raise InputError("give the clips to score")
        if self.compares and not self.real:
            raise InputError(f"{self.compares[0]} compares with real clips; give some of these too")

    @property
    def compares(self) -> list[str]:
        """The scores that need real clips."""
        return [name for name in self.scores if DEFINITIONS[name].of != "generated"]

    def run(self, uploads: Uploads, place: Path, cache: Path, ticket: Ticket) -> dict[str, Any]:
        """The answer of `kinema score --json` with the command that gives it.

        Args:
            uploads: unpacks the clips.
            place: the folder of the run; its folders ``generated`` and ``real`` get the clips.
            cache: of features.
            ticket: is told how far it is.

        Raises:
            InputError: a file holds something else than clips, too few can be used, or the first
                is too large.
        """
        generated, real = place / "generated", place / "real" if self.compares else None
        uploads.unpack(self.generated, generated)
        if real is not None:
            uploads.unpack(self.real, real)
        first = probe(find_clips(generated)[0])
        if self.num_frames * first.height * first.width > uploads.limits.scored_pixels:
            raise InputError(
                f"{self.num_frames} frames of {first.height}x{first.width} are too much at once; "
                "take fewer frames or smaller clips"
            )
        # All are brought to size and rate of the first, so that people need not.
        view = View(num_frames=self.num_frames, fps=first.fps, size=(first.height, first.width))
        request = Request(
            scores=self.scores, view=view, weights={}, cache=cache, seed=0, device="cpu",
            strict=False,
        )  # fmt: skip
        total, done = count_steps(request, real, generated), 0

        def progress(clips: int) -> None:
            nonlocal done
            done += clips
            ticket.advance(done / total, f"clip {done} of {total}")

        found = evaluate(request, real, generated, progress)
        return {
            "command": self._command(view, real, generated),
            "scores": as_json(found.scores),
            "skipped": [line.replace(f"{place}/", "") for line in found.skipped],
        }

    def _command(self, view: View, real: Path | None, generated: Path) -> str:
        assert view.size is not None
        height, width = view.size
        options = ["--frames", view.num_frames, "--fps", view.fps, "--size", f"{height}x{width}"]
        places = [generated] if real is None else [real, generated]
        return shlex.join(map(str, ["kinema", "score", ",".join(self.scores), *places, *options]))
