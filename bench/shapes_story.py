"""A minute of held-out prompts of the world `shapes`: seams, memory, attributes of each phase.

    python bench/shapes_story.py --model ltx_video:shapes --output runs/story.mp4

One object of the held-out split, in phases of 4 to 6 seconds. Each phase has another motion of
those whose combination with its shape and color was held out; the first window is made from the
prompt alone, each other from what came before. The clip is written as it comes. The reader's
ceilings for clips of one object are printed beside. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from shapes_bars import (
    CEILINGS,
    SIZE,
    Verdict,
    at_least,
    at_most,
    conclude,
    read_ceilings,
    show,
)

import kinema
from kinema.clip import Clip
from kinema.media import Mp4Writer
from kinema.media.writing import CRF
from kinema.metrics.attributes import Reading, agrees, expected, read
from kinema.metrics.attributes_scores import Share
from kinema.metrics.drift import STILL
from kinema.rollout import Rollout, Segment
from kinema.rollout.driver import tail
from kinema.rollout.instruments import Instruments, summary
from kinema.rollout.windows import Window
from kinema.worlds import load
from kinema.worlds.motions import PATHS
from kinema.worlds.shapes_captions import canonical
from kinema.worlds.shapes_splits import combinations
from kinema.worlds.world import Phase, SceneGraph

WORLD_SEED = 515
PHASES = (4.0, 5.0, 6.0)  # seconds, in turn
SEAM, MEMORY, RIGHT = 1.5, 1.1, 0.6  # the bars


@dataclass(frozen=True, eq=False)
class Shown:
    """What was seen of a story.

    Attributes:
        changes: mean absolute change from frame to frame, in [0, 1].
        seams: those at the borders of windows, over the median.
        memory: largest resident set while each window was made, in MiB.
        right: of each phase, which attributes are.
        drift: a number of each instrument.
    """

    changes: list[float]
    seams: list[float]
    memory: list[float]
    right: list[dict[str, bool]]
    drift: dict[str, float]


def main(arguments: Sequence[str]) -> int:
    """Tells a story, prints what came of it, and says whether that is within the bars: 1 if not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="name:tag or name@file")
    parser.add_argument("--output", type=Path, required=True, help="the clip; replaced")
    parser.add_argument("--story", type=int, default=0, help="which one, from 0")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--steps", type=int, help="of the sampler; else the model's own")
    parser.add_argument("--json", type=Path, help="where to write the figures; replaced")
    options = parser.parse_args(arguments)
    ceilings = read_ceilings(CEILINGS)
    model = kinema.load(options.model)
    sampling = model.config.sampling
    if options.steps:
        sampling = replace(sampling, steps=options.steps)
    graphs = next(itertools.islice(stories(options.seconds), options.story, None))
    segments = [
        Segment(prompt=canonical(graph), seconds=seconds)
        for graph, seconds in zip(graphs, lengths(options.seconds))
    ]
    rollout = Rollout(
        model, segments, seed=options.seed, sampling=sampling, negative="", image=None
    )
    shown = tell(rollout, [expected(graph) for graph in graphs], options.output)
    report(segments, shown)
    show(ceilings.columns(), ("one",))
    figures = {"model": options.model, "steps": sampling.steps, **vars(shown)}
    return conclude(figures, verdicts(shown), options.json)


def lengths(seconds: float) -> list[float]:
    """Phases of 4 to 6 seconds that last so long together; the last takes what is left."""
    phases, found = itertools.cycle(PHASES), list[float]()
    while seconds - sum(found) >= min(PHASES) + max(PHASES):
        found.append(next(phases))
    return [*found, seconds - sum(found)]


def stories(seconds: float) -> Iterator[list[SceneGraph]]:
    """The scenes of the phases of each story: one object, each phase another held-out motion."""
    world = load("shapes:level=2", seed=WORLD_SEED, split="held_out", **SIZE)
    held_out = combinations("held_out", tuple(PATHS))
    for index in itertools.count():
        graph = world.sample(index).graph
        if graph.kind != "one":
            continue
        (thing,) = graph.objects
        motions = [
            m for shape, color, m in held_out if (shape, color) == (thing.shape, thing.color)
        ]
        if len(motions) > 1:
            turns = itertools.cycle(motions)
            yield [_moving(graph, next(turns)) for _ in lengths(seconds)]


def _moving(graph: SceneGraph, motion: str) -> SceneGraph:
    (thing,) = graph.objects
    phase = Phase(motion=motion, pace="", direction="")
    return replace(graph, objects=(replace(thing, phases=(phase,)),), events=())


def tell(rollout: Rollout, wanted: Sequence[Reading], path: Path) -> Shown:
    """Makes all windows, and holds the frames of one phase at most."""
    sampling, instruments = rollout.sampling, Instruments(rollout.num_frames)
    before: Clip | None = None
    phase: list[Clip] = []
    changes: list[float] = []
    memory: list[float] = []
    right: list[dict[str, bool]] = []
    with Mp4Writer(
        path,
        fps=sampling.fps,
        height=sampling.height,
        width=sampling.width,
        sound=None,
        crf=CRF,
        overwrite=True,
    ) as file:
        for window, following in itertools.zip_longest(rollout.windows, rollout.windows[1:]):
            forget_peak()
            new = rollout.make(window, before)
            memory.append(peak())
            for frame in new.frames:
                file.add(frame)
            instruments.add(new.frames)
            joined = tail([*([before] if before else []), new], rollout.carried + new.num_frames)
            changes += steps(joined)[-new.num_frames :]
            before = tail([joined], rollout.carried)
            phase.append(new)
            if following is None or following.segment != window.segment:
                frames = np.concatenate([clip.frames for clip in phase])
                reading = read(Clip(frames, sampling.fps), "one")
                right.append(agrees(reading, wanted[window.segment]))
                phase = []
            print(progress(window, rollout, memory[-1]), flush=True)
    return Shown(
        changes=changes,
        seams=instruments.seams([window.start for window in rollout.windows[1:]]),
        memory=memory,
        right=right,
        drift=dict(summary(instruments.curves())),
    )


def steps(clip: Clip) -> list[float]:
    """Mean absolute change from frame to frame, in [0, 1]."""
    return (np.abs(np.diff(clip.frames / 255, axis=0)).mean((1, 2, 3))).tolist()


def progress(window: Window, rollout: Rollout, memory: float) -> str:
    """A line on a window."""
    return f"window {window.number + 1:3} of {len(rollout.windows)}  peak {memory:7.1f} MiB"


def forget_peak() -> None:
    """Lets the system (Linux) count the largest memory of this process anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """The largest resident set since then, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def within_phase(right: Mapping[str, bool]) -> Share:
    """How many attributes of a phase are right."""
    found = [value for name, value in right.items() if name != "all"]
    return Share(right=sum(found), clips=len(found))


def over_phases(shown: Shown, name: str) -> Share:
    """In how many phases an attribute, or "all", is right."""
    return Share(right=sum(right[name] for right in shown.right), clips=len(shown.right))


def verdicts(shown: Shown) -> dict[str, Verdict]:
    """Of each bar; the share of what is right is taken over the phases, and within each."""
    seam, late = max(shown.seams), _late(shown)
    growth = max(late) / min(late)
    over = over_phases(shown, "all").value
    within = min(within_phase(right).value for right in shown.right)
    return {
        "largest seam over the median change": at_most(seam, SEAM),
        "largest memory of a window over the least": at_most(growth, MEMORY),
        "share of phases with all right": at_least(over, RIGHT),
        "least share of attributes right in a phase": at_least(within, RIGHT),
    }


def _late(shown: Shown) -> list[float]:
    return shown.memory[1:]  # the first window has nothing to go on from


def report(segments: Sequence[Segment], shown: Shown) -> None:
    """Prints the phases and each figure."""
    names = list(shown.right[0])
    print(f"{'seconds':>7} " + " ".join(f"{name:>10}" for name in names) + "  share  prompt")
    for segment, right in zip(segments, shown.right):
        cells = " ".join(f"{'yes' if right[name] else 'no':>10}" for name in names)
        share = within_phase(right).value
        print(f"{segment.seconds:7g} {cells}  {share:5.0%}  {segment.prompt}")
    for name in names:
        phases = over_phases(shown, name)
        print(f"{name:10} right in {phases.right} of {phases.clips} phases")
    median = statistics.median(shown.changes)
    print(f"median change from frame to frame {255 * max(median, STILL):.2f} levels")
    good = sum(seam <= SEAM for seam in shown.seams)
    print(
        f"seams: {good} of {len(shown.seams)} at most {SEAM} times that; median "
        f"{statistics.median(shown.seams):.2f}, largest {max(shown.seams):.2f}"
    )
    late = _late(shown)
    print(f"memory: {min(late):.1f} to {max(late):.1f} MiB a window")
    print("drift: " + "  ".join(f"{name} {value:.3g}" for name, value in shown.drift.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
