"""Trains every stage of the systems in miniature for about a minute and tabulates what it learned.

python bench/minutes.py [SYSTEM ...] [--folder runs/minutes]

Runs `kinema train SYSTEM --preset tiny` stage by stage on one thread, with the steps given here,
and writes FOLDER/minutes.md and .json: seconds of the steps, and held-out figures at the first
report, at the last, and of the trivial predictor where the stage has one. Stages that have run are
not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from kinema import registry

# Steps that take about a minute on one thread; {system: {stage: steps}}, in order.
STEPS = {
    "video2music": {"chords": 200, "curves": 400},
    "gr1": {"video": 150, "policy": 250},
    "svd": {"codec": 300, "unet": 150},
    "tgans_c": {"text": 250, "gan": 150},
    "frozen_in_time": {"retriever": 200},
    "latentwarp": {"image": 120},
    "c3v": {"prior": 500},
}
ENCODED = 1024  # clips whose latents a stage reads that is trained on latents
REPORTS = 5  # held-out reports of a run


def encode(model: str, folder: Path) -> Path:
    """Encodes clips of the world shapes, unless that is done, and returns the folder."""
    command = [sys.executable, "-m", "kinema", "encode", "shapes", f"--model={model}"]
    command += [f"--output={folder}", f"--count={ENCODED}", "--threads=1"]
    subprocess.run(command, check=True)
    return folder


def train(system: str, stage: str, steps: int, start: Path | None, folder: Path) -> Path:
    """Runs one stage, unless it has run, and returns the model that it left."""
    model = folder / "model.safetensors"
    if not model.exists():
        every = max(1, steps // REPORTS)
        numbers = {"steps": steps, "report_every": every, "save_every": steps, "ema": 0.99}
        command = [sys.executable, "-m", "kinema", "train", system, "--preset", "tiny"]
        command += ["--stage", stage, "--threads", "1", "--output", str(folder)]
        command += [f"--start-from={start}"] if start else []
        if registry.system_class(system).STAGES[stage].latents_of:
            command += [f"--data={encode(f'{system}@{start}', folder / 'latents')}"]
        command += [f"--set=recipe.{name}={value}" for name, value in numbers.items()]
        subprocess.run(command, check=True)
    return model


def figures(folder: Path) -> dict[str, Any]:
    """Seconds of all steps, and the held-out figures of the first and the last report."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    reports = [
        {key.removeprefix("held_out/"): value for key, value in line.items() if "held_out/" in key}
        for line in lines
    ]
    reports = [report for report in reports if report]
    seconds = sum(line.get("seconds", 0.0) for line in lines)
    return {"seconds": seconds, "first": reports[0], "last": reports[-1]}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| system | stage | steps | seconds | held-out figure | first report | last | trivial |"
    ]
    lines.append("|---" * 8 + "|")
    for row in rows:
        first, last = row["first"], row["last"]
        for name in (name for name in last if name != "trivial" and "/" not in name):
            trivial = f"{last['trivial']:.4g}" if name == "loss" and "trivial" in last else ""
            head = (row["system"], row["stage"], row["steps"], f"{row['seconds']:.0f}")
            cells = (*head, name, f"{first[name]:.4g}", f"{last[name]:.4g}", trivial)
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is asked for and writes the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("systems", nargs="*", default=list(STEPS), metavar="SYSTEM")
    parser.add_argument("--folder", type=Path, default=Path("runs/minutes"))
    options = parser.parse_args()
    rows = []
    for system in options.systems:
        start = None
        for stage, steps in STEPS[system].items():
            folder = options.folder / f"{system}-{stage}"
            start = train(system, stage, steps, start, folder)
            rows.append({"system": system, "stage": stage, "steps": steps, **figures(folder)})
    text = table(rows)
    (options.folder / "minutes.md").write_text(text)
    (options.folder / "minutes.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
