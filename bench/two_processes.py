"""Trains with one process, with two, and with two, one and two in turn, and compares the curves.

python bench/two_processes.py [SYSTEM.STAGE ...] [--folder runs/two_processes] [--json FILE]

Without names: the generator of LTX-Video at its nano size takes 20 steps in float32, by `kinema
train` alone and under torchrun. The loss of two processes, and that of a run that is resumed by
another number of them twice, may differ by 1e-5 of the loss of one. With names of stages that read
a world: each takes 6 steps with one process and with two. Runs in FOLDER that are done are not run
again. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from kinema.files import write_text

BAR = 1e-5
STEPS, STOPS = 20, (7, 14)
EXACT = ("precision=float32", "optimizer=adamw", "warmup=1", "decay=0", "save_every=5")
# Adam's first steps have the size of the learning rate wherever a gradient is not exactly zero,
# and so make much of its last digits; where a critic plays, or signs of differences count, that
# grows from step to step.
SLOW = "learning_rate=5e-6"
FAST = "learning_rate=2e-3"
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
Curve = dict[tuple[int, str], float]


def kinema(processes: int, *arguments: str) -> None:
    """Runs a command with one process or two."""
    start = TORCHRUN if processes == 2 else ()
    command = [sys.executable, *start, "-m", "kinema", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")


def train(processes: int, name: str, folder: Path, steps: int, *more: str) -> None:
    """Trains a stage at its nano size until so many steps are done, unless they are."""
    if (folder / "log.jsonl").exists() and max(step for step, _ in curve(folder)) + 1 >= steps:
        return
    system, _, stage = name.partition(".")
    numbers = [f"--set=recipe.{number}" for number in (*EXACT, f"steps={steps}")]
    place = [f"--stage={stage}", "--preset=nano", f"--output={folder}", "--threads=1"]
    kinema(processes, "train", system, *place, *numbers, *more)


def curve(folder: Path) -> Curve:
    """{(step, name): training loss} of a run."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {
        (line["step"], name): value
        for line in lines
        for name, value in line.items()
        if name.endswith("/loss") and not name.startswith("held_out/")
    }


def apart(a: Curve, b: Curve) -> dict[tuple[int, str], float]:
    """How far two curves differ, relative to the second."""
    assert a.keys() == b.keys(), "the runs have other steps"
    return {place: abs(a[place] - b[place]) / abs(b[place]) for place in b}


def latents(folder: Path) -> tuple[str, str]:
    """What the generator starts from and reads, as options."""
    codec, encoded = folder / "codec", folder / "latents"
    train(1, "ltx_video.codec", codec, 2)
    model = codec / "model.safetensors"
    counts = ("--count=64", "--held-out=4")
    kinema(1, "encode", "shapes", f"--model=ltx_video@{model}", f"--output={encoded}", *counts)
    return f"--start-from={model}", f"--data={encoded}"


def generator(folder: Path) -> dict[str, dict[tuple[int, str], float]]:
    """How far the curves of the generator are from that of one process."""
    given = (*latents(folder), f"--set=recipe.{FAST}")
    legs = {
        "one process": [(1, STEPS)],
        "two": [(2, STEPS)],
        "two, one, two": [(2, STOPS[0]), (1, STOPS[1]), (2, STEPS)],
    }
    for name, parts in legs.items():
        for processes, steps in parts:
            place = folder / name.replace(", ", "-").replace(" ", "-")
            train(processes, "ltx_video.generator", place, steps, *given)
    curves = {name: curve(folder / name.replace(", ", "-").replace(" ", "-")) for name in legs}
    whole = curves.pop("one process")
    found = {name: apart(own, whole) for name, own in curves.items()}
    print(f"{'step':>4} {'loss':>10} " + " ".join(f"{name:>14}" for name in found))
    for place, loss in whole.items():
        print(
            f"{place[0]:4d} {loss:10.6f} " + " ".join(f"{d[place]:14.1e}" for d in found.values())
        )
    return found


def stages(names: list[str], folder: Path) -> dict[str, dict[tuple[int, str], float]]:
    """How far the curves of two processes are from those of one, for each stage."""
    found = {}
    for name in names:
        for processes in (1, 2):
            train(processes, name, folder / f"{name}-{processes}", 6, f"--set=recipe.{SLOW}")
        found[name] = apart(curve(folder / f"{name}-2"), curve(folder / f"{name}-1"))
    return found


def main() -> None:
    """Trains, prints how far the curves are apart, and says whether that is within the bar."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stages", nargs="*", metavar="SYSTEM.STAGE")
    parser.add_argument("--folder", type=Path, default=Path("runs/two_processes"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = stages(options.stages, options.folder) if options.stages else generator(options.folder)
    largest = {name: max(differences.values()) for name, differences in found.items()}
    for name, difference in largest.items():
        verdict = "within" if difference <= BAR else "MISSED"
        print(f"{name}: at most {difference:.1e} of the loss, bar {BAR:.0e}: {verdict}")
    if options.json:
        write_text(options.json, json.dumps(largest, indent=1) + "\n", overwrite=True)
    sys.exit(any(difference > BAR for difference in largest.values()))


if __name__ == "__main__":
    main()
