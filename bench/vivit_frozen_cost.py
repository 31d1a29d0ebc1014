"""What freezing saves in ViViT, on one CPU thread: operations, seconds and peak memory of a step.

    python bench/vivit_frozen_cost.py --json runs/vivit_frozen_cost.json

The same model of both transformers is trained by three stages: `whole` trains all of it,
`classifier` all but the spatial transformer, `cached` the same on features that are there already.
It has the sizes of B/16x2 at fewer layers and pixels. A step is loss, gradient and AdamW. The steps
take turns, medians of processor seconds; memory is what a process that takes steps of one stage has
at its peak, beyond what it had before the model was made. The exit status says whether the bars are
kept: a frozen step takes at most 0.6 of the seconds and of the memory of one that trains all. Needs
Linux.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from kinema.files import write_text
from kinema.noise import Noise
from kinema.planning.meters import flops, resident_peak
from kinema.systems.vivit_frozen import SYSTEM, ViViTFrozen
from kinema.systems.vivit_frozen_presets import CACHED, RECIPES, ViViTFrozenConfig, full
from kinema.systems.vivit_frozen_training import STAGES
from kinema.training.classification import PLAYER

WHOLE, FROZEN, KEPT = "whole", "classifier", "cached"
NAMES = (WHOLE, FROZEN, KEPT)
SAMPLES = (0, 1)
STEPS = 2  # of which memory is measured: the second has the averages of the first
BAR = 0.6  # of what a step takes that trains all, at most


def smaller(width: int) -> ViViTFrozenConfig:
    """B/16x2 for 8 frames of 96 pixels, with 6 and 2 layers in the place of 12 and 4.

    Args:
        width: of the published 768; heads are 64 wide.
    """
    config = full()
    sizes = {"width": width, "num_heads": width // 64}
    return replace(
        config,
        views=replace(config.views, num_frames=8, size=96, resize=96),
        spatial=replace(config.spatial, image_size=96, num_layers=6, **sizes),
        network=replace(config.network, num_steps=4, num_patches=36, num_layers=2, **sizes),
    )


class Steps:
    """Steps of one stage on one batch.

    Args:
        name: of the stage.
        model: what it trains.
    """

    def __init__(self, name: str, model: ViViTFrozen) -> None:
        recipe = CACHED["tiny"] if name == KEPT else RECIPES["full"]
        config, noise = model.config, Noise(0, SAMPLES)
        views, sizes = config.views, config.network
        clips = noise.uniform((len(SAMPLES), 3, views.num_frames, views.size, views.size), "clips")
        tokens = (len(SAMPLES), sizes.num_steps, 1 + sizes.num_patches, sizes.width)
        self.objective = STAGES[name].objective(model, recipe)
        self.batch = {"clips": clips * 2 - 1, "classes": torch.tensor([1, 2])}
        self.batch["features"] = noise.normal(tokens, "features")
        self.model, self.noise = model, noise
        self.trained = list(self.objective.trained(PLAYER).values())
        self.optimizer = torch.optim.AdamW(self.trained)

    def gradient(self) -> None:
        """Loss and gradient of what the stage trains, and of nothing else."""
        self.model.parts.requires_grad_(False)
        for parameter in self.trained:
            parameter.requires_grad_(True)
        loss: Tensor = self.objective.loss(PLAYER, self.batch, 0, self.noise)[0]
        loss.backward()

    def step(self) -> None:
        """A step, after which no gradient is left."""
        self.gradient()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def model_of(width: int) -> ViViTFrozen:
    """A model with its first values."""
    torch.manual_seed(0)
    return SYSTEM(smaller(width))


def peak(name: str, width: int) -> int:
    """Bytes that steps of a stage take at most, in a process that does nothing else."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what there is
    before = resident_peak()
    steps = Steps(name, model_of(width))
    for _ in range(STEPS):
        steps.step()
    return resident_peak() - before


def child(name: str, width: int) -> int:
    """`peak` in a process of its own."""
    command = [sys.executable, __file__, f"--child={name}", f"--width={width}"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def medians(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Processor seconds of each call; a first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(1 + rounds):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            seconds[name].append(time.process_time() - begin)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}


def main(words: list[str]) -> int:
    """Prints a line for each stage; the exit status says whether the bars are kept."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=768, help="of the tokens")
    parser.add_argument("--json", type=Path, help="where to write the figures; replaced")
    parser.add_argument("--child", choices=NAMES, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    if given.child:
        print(peak(given.child, given.width))
        return 0
    memory = {name: child(name, given.width) for name in NAMES}
    model = model_of(given.width)
    steps = {name: Steps(name, model) for name in NAMES}
    seconds = medians({name: each.step for name, each in steps.items()}, given.rounds)
    stages = {
        name: {
            "trained": sum(parameter.numel() for parameter in each.trained),
            "flops": flops(each.gradient),
            "seconds": seconds[name],
            "memory": memory[name],
        }
        for name, each in steps.items()
    }
    shares = {
        name: {what: row[what] / stages[WHOLE][what] for what in ("flops", "seconds", "memory")}
        for name, row in stages.items()
    }
    for name, row in stages.items():
        told = ", ".join(f"{share:.2f} of the {what}" for what, share in shares[name].items())
        print(
            f"{name:10} trains {row['trained'] / 1e6:6.2f} M, {row['flops'] / 1e9:6.1f} GFLOP, "
            f"{row['seconds']:6.2f} s, {row['memory'] / 1e6:7.1f} MB: {told}"
        )
    bars = {what: shares[FROZEN][what] <= BAR for what in ("seconds", "memory")}
    print(
        f"bars ({BAR} for {FROZEN}): {', '.join(f'{name} {kept}' for name, kept in bars.items())}"
    )
    if given.json:
        record = {"stages": stages, "shares": shares, "bars": bars}
        record["versions"] = {"kinema": version("kinema"), "torch": str(torch.__version__)}
        write_text(given.json, json.dumps(record, indent=1) + "\n", overwrite=True)
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
