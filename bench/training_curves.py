"""Curves of training runs: thins their logs and draws the losses.

    python bench/training_curves.py docs/shapes-model codec=runs/codec generator=runs/generator

Writes FOLDER/<name>.jsonl (every fiftieth step and every held-out line of the run's log) and
FOLDER/curves.png, one panel per run: the training loss, averaged over 50 steps, and held-out
losses. Prints the steps of each log and how many minutes they took together.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

EVERY, WINDOW = 50, 50


def thin(log: Path, to: Path) -> list[dict[str, Any]]:
    """Copies the lines that are kept; returns all."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    kept = [x for x in lines if x["step"] % EVERY == 0 or any("held_out" in key for key in x)]
    to.write_text("".join(json.dumps(x) + "\n" for x in kept), encoding="utf-8")
    return lines


def draw(axes: Any, name: str, lines: list[dict[str, Any]]) -> None:
    """One panel."""
    for key in ("codec/mse", "generator/loss"):
        values = [(x["step"], x[key]) for x in lines if key in x]
        means = [
            sum(v for _, v in values[i : i + WINDOW]) / len(values[i : i + WINDOW])
            for i in range(0, len(values), WINDOW)
        ]
        if values:
            steps = [values[i][0] for i in range(0, len(values), WINDOW)]
            axes.plot(steps, means, label=key, color="0.6", lw=1)
    held = sorted(
        {key for x in lines for key in x if key.startswith(("held_out/mse", "held_out/loss"))}
    )
    for key in held:
        points = [(x["step"], x[key]) for x in lines if key in x]
        axes.plot(*zip(*points), "o-", ms=3, lw=1, label=key)
    axes.set(title=name, xlabel="step", yscale="log")
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)


def taken(lines: Iterable[dict[str, Any]]) -> tuple[int, float]:
    """How many steps a log has, and the minutes that they took."""
    seconds = [line["seconds"] for line in lines if "seconds" in line]
    return len(seconds), sum(seconds) / 60


def main(arguments: Sequence[str]) -> int:
    """Thinned logs and one picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the thinned logs and the picture")
    parser.add_argument("runs", nargs="+", metavar="NAME=FOLDER", help="of a run, with its log")
    options = parser.parse_args(arguments)
    size = 5 * len(options.runs), 4
    figure, panels = plt.subplots(1, len(options.runs), figsize=size, squeeze=False)
    for axes, run in zip(panels[0], options.runs):
        name, _, path = run.partition("=")
        lines = thin(Path(path) / "log.jsonl", options.folder / f"{name}.jsonl")
        steps, minutes = taken(lines)
        print(f"{name}: {steps} steps, {minutes:.1f} minutes")
        draw(axes, name, lines)
    figure.tight_layout()
    figure.savefig(options.folder / "curves.png", dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
